"""A host is lost with everything on it; another one with other names and ports continues from the repository."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.live.stack import Stack, until
from tests.live.test_backup import SERVER, sql, state

Record = Callable[[str], None]
Factory = pytest.TempPathFactory


@contextmanager
def production(factory: Factory, name: str, **settings: str) -> Iterator[Stack]:
    """A stack in production without monitoring, that is set up."""
    stack = Stack.create(factory.mktemp(name) / "checkout", f"netmon-{name}", COMPOSE_PROFILES="", **settings)
    try:
        stack.invoke("setup", "--profile=prod")
        yield stack
    finally:
        stack.destroy()


def set_target(stack: Stack, target: Path) -> None:
    with (stack.root / ".env").open("a") as settings:
        settings.write(f"BACKUP_TARGET={target}\nBACKUP_WAL_SECONDS=5\n")


def add_target(stack: Stack, name: str) -> str:
    """Add a target through the proxy, and wait for its first result; returns its id."""
    spec = {"kind": "http", "url": "http://app:3000/api/health/live"}
    proxy, body = stack.proxy(), {"name": name, "spec": spec, "interval_seconds": 5}
    session = proxy.session()
    added = session.post(f"{proxy.address}/api/targets", json=body, headers=stack.authorization(), timeout=10)
    assert added.status_code == 201, added.text
    address = f"{proxy.address}/api/targets/{added.json()['id']}/latest"
    until(lambda: session.get(address, timeout=10).status_code == 200, 30, "a result")
    return str(added.json()["id"])


def is_up(stack: Stack, target: str) -> bool:
    proxy = stack.proxy()
    latest = proxy.session().get(f"{proxy.address}/api/targets/{target}/latest", timeout=10)
    return latest.status_code == 200 and latest.json()["status"] == "succeeded"


def test_a_new_host_continues_where_the_lost_one_ended(tmp_path_factory: Factory, record: Record) -> None:
    target = tmp_path_factory.mktemp("target")
    os.chown(target, SERVER, SERVER)
    with production(tmp_path_factory, "lost", DOMAIN="netmon.localhost") as lost:
        set_target(lost, target)
        lost.invoke("up", "--with=backup", "--no-smoke", timeout=900)
        kept = add_target(lost, "before the backup")
        lost.invoke("backup")
        later = add_target(lost, "after the backup")
        written = time.time()
        until(lambda: state(lost)["wal_stored"] > written, 60, "a transfer")
        results = int(sql(lost, "SELECT count(*) FROM probes WHERE status <> 'queued'"))
        key = lost.root / "secrets" / "backup" / "key"
        copy = shutil.copy2(key, tmp_path_factory.mktemp("safe"))

    with production(tmp_path_factory, "found", DOMAIN="other.localhost") as found:
        found.invoke("up", "--no-smoke", timeout=900)
        set_target(found, target)
        folder = found.root / "secrets" / "backup"
        folder.mkdir(exist_ok=True)
        shutil.copy2(copy, folder / "key")
        rehearsal = found.invoke("restore", "--yes", check=False)
        began = time.monotonic()
        done = found.invoke("restore", "--take-over", "--files", "--yes", timeout=900).stdout
        record(f"restored in {time.monotonic() - began:.0f} s")
        assert "set aside as" in done
        for each in (kept, later):
            until(partial(is_up, found, each), 60, "the target to be probed from the new host")
        assert int(sql(found, "SELECT count(*) FROM probes WHERE status <> 'queued'")) >= results
        [extracted] = (found.root / ".netmon").glob("restored-*")
        assert "DOMAIN=netmon.localhost" in (extracted / "checkout" / ".env").read_text()
        made = found.invoke("backup").stdout
        assert "full" in made, "the repository is that of this host now"
    record(f"a rehearsal before, without --take-over: exit code {rehearsal.returncode}")
