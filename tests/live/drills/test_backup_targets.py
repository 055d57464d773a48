"""Backups to real SFTP and S3 servers, and what a host reports if such a server refuses, vanishes or is another."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.backups import CommandError, Host, host, write
from tests.live.storage import TARGETS, Storage, new_key, s3_credentials, storage

Record = Callable[[str], None]
ROWS = 20_000


@dataclass
class Remote:
    """A host whose target is a server."""

    kind: str
    host: Host
    server: Storage


@pytest.fixture(params=sorted(TARGETS))
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    """A host with a database, and the server of its target."""
    kind = str(request.param)
    with host(tmp_path, env={"BACKUP_TARGET": TARGETS[kind]}) as one, storage(one.name, tmp_path) as server:
        server.admit(one)
        one.start_database(ROWS)
        yield Remote(kind, one, server)


@pytest.fixture
def backed_up(remote: Remote) -> Remote:
    """With a first backup, which was verified by a restore."""
    remote.host.start_service()
    remote.host.until("the first backup", lambda state: state["verified"] and state["wal_stored"], 300)
    return remote


def test_a_database_is_restored_from_a_server(backed_up: Remote, tmp_path: Path, record: Record) -> None:
    """Full and incremental backup and WAL, checked to the last byte; on another host, which takes over."""
    one = backed_up.host
    ledger = write(one, 5)
    assert one.call("backup")["kind"] == "incremental"
    ledger += write(one, 5)
    written = time.time()
    one.until("a transfer", lambda state: state["wal_stored"] > written)
    assert one.call("check", "--part=100%") == "no errors were found"
    assert "restored and equal" in one.call("verify")
    one.stop_service(kill=True)
    one.stop_database()
    with host(tmp_path / "two", host="two", env=one.env, beside=one.name) as two:
        for each in (one.folder / "secrets").iterdir():
            two.secret(each.name, each.read_text())
        two.start_database(0)
        two.stop_database()
        began = time.monotonic()
        prepared = two.run("prepare", "--take-over")
        assert int(prepared["rows"]["public.results"]) == ROWS + len(ledger)
        record(f"{len(ledger)} writes restored in {time.monotonic() - began:.0f} s")
        with pytest.raises(CommandError, match="in use by two"):
            one.run("backup")


def test_wrong_credentials_are_refused_and_nothing_is_lost(backed_up: Remote, record: Record) -> None:
    one, file = backed_up.host, {"sftp": "ssh_key", "s3": "s3_credentials"}[backed_up.kind]
    right = (one.folder / "secrets" / file).read_text()
    new_key(backed_up.server.keys, "stranger")
    stranger = (backed_up.server.keys / "stranger").read_text()
    one.secret(file, {"sftp": stranger, "s3": s3_credentials("another-secret-0123456789")}[backed_up.kind])
    began = time.monotonic()
    with pytest.raises(CommandError, match=r"the target refuses access.*credentials in secrets/backup/") as error:
        one.run("backup")
    record(f"refused in {time.monotonic() - began:.0f} s")
    assert stranger.strip() not in str(error.value)
    assert "another-secret" not in str(error.value)
    one.until("the failure of transfers", lambda state: "refuses access" in state["failed"].get("transfer", ""))
    ledger = write(one, 3)
    one.secret(file, right)
    assert_complete(one, len(ledger))


def test_a_server_that_vanishes_is_reported_and_nothing_is_lost(backed_up: Remote, record: Record) -> None:
    one = backed_up.host
    backed_up.server.docker("stop", backed_up.server.container)
    began = time.monotonic()
    with pytest.raises(CommandError, match=r"the target does not answer.*check the address in BACKUP_TARGET"):
        one.run("backup")
    record(f"reported in {time.monotonic() - began:.0f} s")
    ledger = write(one, 3)
    backed_up.server.docker("start", backed_up.server.container)
    backed_up.server.wait()
    assert_complete(one, len(ledger))


def test_a_server_that_hangs_is_reported(backed_up: Remote, record: Record) -> None:
    one = backed_up.host
    backed_up.server.docker("pause", backed_up.server.container)
    try:
        began = time.monotonic()
        with pytest.raises(CommandError, match="the target does not answer"):
            one.run("backup")
        record(f"reported in {time.monotonic() - began:.0f} s")
    finally:
        backed_up.server.docker("unpause", backed_up.server.container)
    assert_complete(one, 0)


@pytest.mark.parametrize("remote", ["sftp"], indirect=True)
def test_another_host_key_is_refused(backed_up: Remote) -> None:
    """A stranger under the name of the server gets nothing; without a known key neither does the server."""
    one = backed_up.host
    known = (one.folder / "secrets" / "known_hosts").read_text()
    for content in (f"storage ssh-ed25519 {stranger_key(backed_up)}\n", ""):
        one.secret("known_hosts", content)
        with pytest.raises(CommandError, match=r"the host key of the target is unknown.*secrets/backup/known_hosts"):
            one.run("backup")
    one.secret("known_hosts", known)
    assert_complete(one, 0)


@pytest.mark.parametrize("remote", ["sftp"], indirect=True)
def test_a_server_that_was_replaced_is_refused(backed_up: Remote) -> None:
    one = backed_up.host
    backed_up.server.remove()
    backed_up.server.start()
    with pytest.raises(CommandError, match="the host key of the target is unknown"):
        one.run("backup")
    backed_up.server.admit(one)
    with pytest.raises(CommandError, match="there is no repository"):
        one.run("backup")


def stranger_key(remote: Remote) -> str:
    """A public key of nobody."""
    name = f"nobody-{secrets.token_hex(4)}"
    new_key(remote.server.keys, name)
    return (remote.server.keys / f"{name}.pub").read_text().split()[1]


def assert_complete(one: Host, writes: int) -> None:
    """Transfers go on, and everything that was written is restored."""
    now = time.time()
    one.until("a transfer", lambda state: "transfer" not in state["failed"] and state["wal_stored"] > now, 240)
    assert int(one.run("prepare")["rows"]["public.results"]) == ROWS + writes
