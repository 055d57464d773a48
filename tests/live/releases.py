"""Releases with one defect each, and deploys under load."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live.load import Load
from tests.live.stack import CHECKOUT, Stack

SETTLE_SECONDS = 1.0
"""How long the load runs before and after a deploy."""


@dataclass(frozen=True)
class BrokenRelease:
    """An edit of the application's source; ``error`` is a part of the deploy's error message."""

    name: str
    file: str
    old: str
    new: str
    error: str


NEVER_HEALTHY = BrokenRelease(
    "never healthy",
    "app/netmon/health.py",
    'healthy = not lifecycle.draining and "error" not in verdicts.values()',
    "healthy = False",
    "not all services became healthy",
)
CRASHES = BrokenRelease(
    "crashes",
    "app/netmon/api/__init__.py",
    "    lifecycle = health.Lifecycle()",
    '    raise SystemExit("broken")',
    "exited",
)
WORKER_CRASHES = BrokenRelease(
    "worker crashes",
    "app/netmon/worker.py",
    "    lifecycle = health.Lifecycle()",
    '    raise SystemExit("broken")',
    "keeps restarting",
)
FAILS_REQUESTS = BrokenRelease(
    "healthy but fails requests",
    "app/netmon/api/probes.py",
    "        try:\n            target = parse_target(body.url)",
    '        raise RuntimeError("broken")\n        try:\n            target = parse_target(body.url)',
    "/api/probes returned status 500",
)
FAILS_JOBS = BrokenRelease(
    "healthy but fails jobs",
    "app/netmon/worker.py",
    "        if delivery.repeated and await self.finished([job.id]):",
    '        raise RuntimeError("broken")\n        if delivery.repeated:',
    "ended with not_executed",
)
BAD_MIGRATION = BrokenRelease(
    "migration fails",
    "app/netmon/migrations/0002_alerts.sql",
    "",
    "ALTER TABLE nothing ADD COLUMN broken integer;\n",
    "migrate",
)
ALL = (NEVER_HEALTHY, CRASHES, WORKER_CRASHES, FAILS_REQUESTS, FAILS_JOBS, BAD_MIGRATION)


@contextmanager
def in_checkout(stack: Stack, broken: BrokenRelease) -> Iterator[None]:
    """Apply the edit while the block runs. A broken migration is a new file."""
    path = stack.root / broken.file
    if broken is BAD_MIGRATION:
        path = path.with_name("9999_broken.sql")
        path.write_text(broken.new)
        try:
            yield
        finally:
            path.unlink()
        return
    before = path.read_text()
    assert broken.old in before, path
    path.write_text(before.replace(broken.old, broken.new, 1))
    try:
        yield
    finally:
        path.write_text(before)


@dataclass(frozen=True)
class DeployResult:
    """The outcome of a deploy, and of the load during it."""

    code: int
    output: str
    seconds: float
    load: Load


def deploy(stack: Stack, load: Load, *options: str) -> DeployResult:
    """Deploy under load, which starts before the deploy and ends after it."""
    with load.running():
        time.sleep(SETTLE_SECONDS)
        started = time.monotonic()
        done: subprocess.CompletedProcess[str] = stack.invoke("deploy", *options, timeout=900, check=False)
        seconds = time.monotonic() - started
        time.sleep(SETTLE_SECONDS)
    return DeployResult(done.returncode, done.stdout + done.stderr, seconds, load)


def release(stack: Stack) -> str:
    """The live release, as recorded in .env."""
    lines = (stack.root / ".env").read_text().splitlines()
    return next((line.partition("=")[2] for line in lines if line.startswith("NETMON_RELEASE=")), "dev")


def versions(stack: Stack) -> set[str]:
    """The versions of the containers of app and worker; each service must have one container."""
    found = set()
    for service in ("app", "worker"):
        variables = stack.container(service)["Config"]["Env"]
        found.add(next(each.partition("=")[2] for each in variables if each.startswith("APP_VERSION=")))
    return found


def journal(stack: Stack) -> Path:
    """The journal of an unfinished deploy."""
    return stack.root / ".netmon" / "deploy.json"


def last_release() -> tuple[str, str] | None:
    """The last released version of the changelog and the commit that has cut it; None before the first one."""
    found = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        return None
    git = ["git", "log", "--reverse", "--format=%H", f"-S## [{found[1]}]", "--", "CHANGELOG.md"]
    commits = subprocess.run(git, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split()
    return (found[1], commits[0]) if commits else None
