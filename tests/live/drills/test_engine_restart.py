"""Restarts of all containers in any order, and of the engine: the stack recovers, and no accepted job is lost."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable

import pytest
import requests

from tests.live.conftest import RUNNING
from tests.live.load import Load
from tests.live.stack import CHECKOUT, Stack, until

Record = Callable[[str], None]


def queue_jobs(stack: Stack, load: Load) -> None:
    """Fill the queue with accepted jobs while the worker is stopped."""
    stack.compose("stop", "worker")
    with load.running():
        until(lambda: len(load.accepted) >= 30, 60, "jobs to be accepted")
    assert load.failures == []


def kill_running(stack: Stack) -> None:
    """Kill every container except the worker, which is stopped."""
    stack.docker("kill", *(set(stack.containers()) - set(stack.containers("worker"))))


def assert_recovery(stack: Stack, load: Load, record: Record, scenario: str, since: float) -> None:
    """Every service becomes healthy, and every accepted job gets a result."""
    stack.invoke("wait", "--timeout=180")
    seconds = time.monotonic() - since
    lost = load.unfinished(120)
    stack.invoke("smoke")
    record(f"{scenario}: healthy after {seconds:.1f} s, {len(lost)} of {len(load.accepted)} accepted jobs lost")
    assert lost == []


@pytest.mark.parametrize("seed", range(3))
def test_recovery_from_a_restart_in_random_order(stack: Stack, record: Record, seed: int) -> None:
    """Like the engine: without regard to dependencies, all at nearly the same time."""
    load = Load(stack.url(), stack.authorization, rate=40)
    queue_jobs(stack, load)
    names = stack.containers()
    random.Random(seed).shuffle(names)  # noqa: S311 - an order, no secret
    since = time.monotonic()
    kill_running(stack)
    for name in names:
        stack.docker("start", name)
    assert_recovery(stack, load, record, f"all killed, started in the order {seed}", since)


@pytest.mark.parametrize("first", ["app", "worker", "db"])
def test_recovery_if_one_service_starts_early(stack: Stack, record: Record, first: str) -> None:
    """One service runs for some time before its dependencies, or before its dependents."""
    load = Load(stack.url(), stack.authorization, rate=40)
    queue_jobs(stack, load)
    since = time.monotonic()
    names = stack.containers()
    kill_running(stack)
    stack.docker("start", *stack.containers(first))
    time.sleep(10)
    stack.docker("start", *names)
    assert_recovery(stack, load, record, f"{first} 10 s before the others", since)


def test_recovery_from_a_restart_of_the_engine(stack: Stack, record: Record) -> None:
    """Restart the engine, if no other project uses it."""
    others = others_on_the_engine(stack)
    assert others == [], f"the engine runs containers of others: {', '.join(others)}"
    load = Load(stack.url(), stack.authorization, rate=40)
    queue_jobs(stack, load)
    # The engine would not restart a stopped worker.
    stack.compose("start", "worker")
    since = time.monotonic()
    script = str(CHECKOUT / "scripts" / "engine.sh")
    for command in ("stop", "start"):
        subprocess.run([script, command], check=True, timeout=120)
    until(lambda: is_ready(stack), 120, "the application to answer")
    assert_recovery(stack, load, record, "the engine restarted", since)


def is_ready(stack: Stack) -> bool:
    """Whether the application is ready."""
    try:
        return requests.get(stack.url("/api/health/ready"), timeout=2).status_code == 200
    except requests.RequestException:
        return False


def others_on_the_engine(stack: Stack) -> list[str]:
    """The names of containers of other projects, or of none; the shared stacks of these tests may be restarted."""
    own = {stack.name, *(each.name for each in RUNNING)}
    ids = stack.docker("ps", "--all", "--quiet").split()
    found = json.loads(stack.docker("inspect", *ids)) if ids else []
    return [
        container["Name"].lstrip("/")
        for container in found
        if (container["Config"]["Labels"] or {}).get("com.docker.compose.project") not in own
    ]
