"""Upgrades of a stack in production under load, and back, also after a kill in the middle.

The next release is a made-up one: a migration, code, settings of a store, rules of Prometheus.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import releases
from tests.live.load import Load
from tests.live.stack import CHECKOUT, Stack, kill, until

Record = Callable[[str], None]

TABLE = "upgrade_drill"
EDITS = {
    "app/netmon/migrations/9999_upgrade.sql": ("", f"CREATE TABLE IF NOT EXISTS {TABLE} (number integer);\n"),
    "app/netmon/__init__.py": ('"""', '"""Upgraded. '),
    "config/redis/redis.conf": ("appendonly yes\n", "appendonly yes\ntcp-keepalive 299\n"),
    "monitoring/prometheus/rules/upgraded.yml": (
        "",
        "groups:\n  - name: upgraded\n    rules:\n      - record: netmon:upgraded\n        expr: vector(1)\n",
    ),
}
"""The next release: of each file, a text and what replaces it; a new file has none."""
RULES = "/api/v1/rules?rule_group[]=upgraded"
SERVERS = {"redis", "prometheus"}
RELEASE = {"app", "worker", "container-exporter"}
"""The services with the image of the application."""
STEPS = ("images", "silence", "servers", "migrate", "replace", "smoke")


def git(stack: Stack, *args: str) -> str:
    """The output of git in the checkout of the stack."""
    identity = ("-c", "user.name=drill", "-c", "user.email=drill@example.org", "-c", "commit.gpgsign=false")
    return stack.run("git", *identity, *args).stdout.strip()


def provide_environment(stack: Stack) -> None:
    """Let quickstart.sh use the Python environment of the tests."""
    (stack.root / ".venv").symlink_to(sys.prefix)
    fingerprint = hashlib.sha256(f"{stack.root}\n".encode() + (stack.root / "pyproject.toml").read_bytes()).hexdigest()
    (stack.root / ".netmon").mkdir(exist_ok=True)
    (stack.root / ".netmon" / "python").write_text(f"{fingerprint}  -\n")


@pytest.fixture(scope="module")
def repository(prod_stack: Stack) -> Iterator[Stack]:
    """The production stack in a repository with two releases, v1 of which runs; with the environment of the tests."""
    root = prod_stack.root
    git(prod_stack, "init", "--quiet", "--initial-branch=main")
    git(prod_stack, "add", "--all")
    git(prod_stack, "commit", "--quiet", "--message=one")
    git(prod_stack, "tag", "v1")
    for name, (old, new) in EDITS.items():
        path = root / name
        before = path.read_text() if path.exists() else ""
        assert old in before
        path.write_text(before.replace(old, new, 1) if old else new)
    git(prod_stack, "add", "--all")
    git(prod_stack, "commit", "--quiet", "--message=two")
    git(prod_stack, "tag", "v2")
    git(prod_stack, "checkout", "--quiet", "v1")
    provide_environment(prod_stack)
    prod_stack.invoke("up", "--no-smoke")
    yield prod_stack
    (root / ".venv").unlink()


@pytest.fixture
def first(repository: Stack) -> Iterator[Stack]:
    """Release v1 runs, whatever a drill before has left."""
    git(repository, "checkout", "--quiet", "v1")
    if runs(repository) != "v1" or live(repository) != git(repository, "rev-parse", "v1"):
        repository.invoke("upgrade", "--yes", timeout=900)
    assert runs(repository) == "v1"
    yield repository
    repository.compose("exec", "db", "psql", "--username=postgres", "--dbname=network_monitor",
                       f"--command=DROP TABLE IF EXISTS netmon.{TABLE}, {TABLE}")  # fmt: skip


@pytest.fixture
def load(first: Stack) -> Load:
    """Clients of the proxy."""
    proxy = first.proxy()
    return Load(proxy.address, first.authorization, session=proxy.session)


def recorded(stack: Stack) -> dict[str, Any]:
    """The record of upgrades."""
    found: dict[str, Any] = json.loads((stack.root / ".netmon" / "upgrade.json").read_text())
    return found


def live(stack: Stack) -> str:
    """The commit that runs, as recorded."""
    return str(recorded(stack)["live"])


def runs(stack: Stack) -> str:
    """The release that every part of the stack runs as; a mixture is named."""
    asked = 'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" redis-cli --user admin config get tcp-keepalive'
    keepalive = stack.exec("redis", "sh", "-c", asked)
    rules = stack.exec("prometheus", "wget", "-q", "-O", "-", f"http://127.0.0.1:9090{RULES}")
    code = [stack.exec(each, "python", "-c", "import netmon; print(netmon.__doc__)") for each in ("app", "worker")]
    assert "tcp-keepalive" in keepalive, keepalive
    parts = {
        "redis": "299" in keepalive,
        "prometheus": "netmon:upgraded" in rules,
        **{f"code {number}": "Upgraded" in text for number, text in enumerate(code)},
    }
    if len(set(parts.values())) > 1:
        return f"a mixture: {parts}"
    return "v2" if all(parts.values()) else "v1"


def started(stack: Stack) -> dict[str, str]:
    """When the container of each service was started."""
    names = stack.compose("config", "--services").split()
    return {name: stack.container(name)["State"]["StartedAt"] for name in names if stack.containers(name)}


def assert_consistent(stack: Stack, release: str) -> None:
    """Every part runs with the files of the checkout, the record has its commit, and nothing of a deploy is left."""
    until(lambda: runs(stack) == release, 30, f"every part to run as {release}, not as {runs(stack)}")
    assert git(stack, "rev-parse", "HEAD") == git(stack, "rev-parse", release) == live(stack)
    assert releases.versions(stack) == {releases.release(stack)}
    assert not releases.journal(stack).exists()
    stack.invoke("smoke")


def test_an_upgrade_goes_live_and_back(first: Stack, load: Load, record: Record) -> None:
    before, former = started(first), releases.release(first)
    git(first, "checkout", "--quiet", "v2")
    shown = first.invoke("upgrade", "--dry-run").stdout
    assert "v1 → v2" in shown
    assert "9999_upgrade.sql" in shown
    assert started(first) == before, "a dry run changes nothing"
    with load.running():
        began = time.monotonic()
        output = first.invoke("upgrade", "--yes", timeout=900).stdout
        forward = time.monotonic() - began
    assert "v2 is live; to go back: invoke upgrade --back" in output
    assert_consistent(first, "v2")
    unchanged = {name for name, at in before.items() if started(first).get(name) == at}
    assert set(before) - unchanged == SERVERS | RELEASE
    record(f"forward in {forward:.0f} s: {load}")
    assert load.failures == []
    assert load.unfinished(60) == [], "every accepted probe must finish"

    again = Load(load.base, first.authorization, session=first.proxy().session)
    with again.running():
        began = time.monotonic()
        first.run(sys.executable, "-m", "invoke", "upgrade", "--back", "--yes", timeout=900)
        backward = time.monotonic() - began
    assert_consistent(first, "v1")
    assert releases.release(first) == former, "the images of the former release are used again"
    assert recorded(first)["upgrade"] is None
    record(f"back in {backward:.0f} s: {again}")
    assert again.failures == []
    assert again.unfinished(60) == []


@pytest.mark.parametrize("way", ["on", "back"])
@pytest.mark.parametrize("step", STEPS)
def test_an_upgrade_killed_at_a_step_goes(first: Stack, load: Load, record: Record, step: str, way: str) -> None:
    git(first, "checkout", "--quiet", "v2")
    with load.running():
        process = first.start("upgrade", "--yes")
        assert process.stdout
        output = []
        for line in process.stdout:
            output.append(line)
            if line.startswith(f"▶ {step}"):
                break
        time.sleep(1)
        output.append(kill(process))
        options = ("--yes",) if way == "on" else ("--back", "--yes")
        known = "upgrade" in recorded(first) and recorded(first)["upgrade"] is not None
        if way == "back" and not known:
            git(first, "checkout", "--quiet", "v1")
            options = ("--yes",)
        resumed = first.run(sys.executable, "-m", "invoke", "upgrade", *options, timeout=900, check=False)
        time.sleep(2)
    assert resumed.returncode == 0, "".join(output) + resumed.stdout + resumed.stderr
    assert_consistent(first, "v2" if way == "on" else "v1")
    ended = "killed" if process.returncode == -signal.SIGKILL else "it had ended"
    record(f"{ended}; {load}")
    assert load.failures == []
    assert load.unfinished(60) == []


@pytest.fixture
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A clone at the last release, in production."""
    last = releases.last_release()
    if last is None:
        pytest.skip("no release is in CHANGELOG.md yet")
    version, commit = last
    stack = Stack.create(tmp_path_factory.mktemp("released") / "checkout", "netmon-released", DOMAIN="netmon.localhost")
    settings = (stack.root / ".env").read_text()
    shutil.rmtree(stack.root)
    subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), str(stack.root)], check=True)
    git(stack, "tag", "--force", f"v{version}", commit)
    git(stack, "tag", "--force", "next", "HEAD")
    git(stack, "checkout", "--quiet", commit)
    (stack.root / ".env").write_text(settings)
    provide_environment(stack)
    try:
        stack.invoke("setup", "--profile=prod")
        stack.invoke("up", timeout=1800)
        yield stack
    finally:
        stack.destroy()


def test_the_last_release_is_upgraded_to_this_checkout(released: Stack, record: Record) -> None:
    proxy = released.proxy()
    targets, session = f"{proxy.address}/api/targets", proxy.session()
    spec = {"kind": "http", "url": "http://app:3000/api/health/live"}
    body = {"name": "kept", "spec": spec, "interval_seconds": 5}
    added = session.post(targets, json=body, headers=released.authorization(), timeout=10)
    assert added.status_code == 201, added.text
    latest = f"{targets}/{added.json()['id']}/latest"
    until(lambda: session.get(latest, timeout=10).status_code == 200, 30, "a result")
    load = Load(proxy.address, released.authorization, session=proxy.session)
    for target, options in (("next", ("--yes",)), (None, ("--back", "--yes"))):
        if target:
            git(released, "checkout", "--quiet", target)
        with load.running():
            began = time.monotonic()
            released.run(sys.executable, "-m", "invoke", "upgrade", *options, timeout=1800)
        record(f"{'forward' if target else 'back'} in {time.monotonic() - began:.0f} s; {load}")
        assert live(released) == git(released, "rev-parse", "HEAD")
        released.invoke("smoke")
        assert session.get(latest, timeout=10).json()["status"] == "succeeded"
        load = Load(proxy.address, released.authorization, session=proxy.session)


def test_a_changed_checkout_is_refused(first: Stack) -> None:
    git(first, "checkout", "--quiet", "v2")
    path: Path = first.root / "docker-compose.yml"
    text = path.read_text()
    path.write_text(f"{text}# changed\n")
    try:
        done: subprocess.CompletedProcess[str] = first.invoke("upgrade", "--yes", check=False)
    finally:
        path.write_text(text)
    assert done.returncode == 1
    assert "docker-compose.yml" in done.stderr
    assert runs(first) == "v1"
