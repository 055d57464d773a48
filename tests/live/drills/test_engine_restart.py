"""The engine starts containers again in whatever order it likes: everything is healthy, and no accepted job is lost."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable

import pytest
import requests

from tests.live.load import Load
from tests.live.stack import CHECKOUT, Stack, until

Record = Callable[[str], None]


def accepted_jobs(stack: Stack, load: Load) -> None:
    """A queue of jobs that are accepted, not all of them done: the worker is away while they come in."""
    stack.compose("stop", "worker")
    with load.running():
        until(lambda: len(load.accepted) >= 30, 60, "jobs to be accepted")
    assert load.failures == []


def settled(stack: Stack, load: Load, record: Record, what: str, since: float) -> None:
    """Everything is healthy by itself, and every job is done."""
    stack.invoke("wait", "--timeout=180")
    seconds = time.monotonic() - since
    lost = load.unfinished(120)
    stack.invoke("smoke")
    record(f"{what}: healthy after {seconds:.1f} s, {len(lost)} of {len(load.accepted)} accepted jobs lost")
    assert lost == []


@pytest.mark.parametrize("seed", range(3))
def test_every_container_in_random_order(stack: Stack, record: Record, seed: int) -> None:
    """As the engine does it: without regard to what depends on what, all at nearly the same time."""
    load = Load(stack.url(), stack.access, rate=40)
    accepted_jobs(stack, load)
    names = stack.containers()
    random.Random(seed).shuffle(names)  # noqa: S311 - an order, no secret
    since = time.monotonic()
    stack.docker("kill", *names)
    for name in names:
        stack.docker("start", name)
    settled(stack, load, record, f"all killed, started in the order {seed}", since)


@pytest.mark.parametrize("first", ["app", "worker", "db"])
def test_one_starts_long_before_the_others(stack: Stack, record: Record, first: str) -> None:
    """What depends on others is up for some time before they are, or they before it."""
    load = Load(stack.url(), stack.access, rate=40)
    accepted_jobs(stack, load)
    since = time.monotonic()
    names = stack.containers()
    stack.docker("kill", *names)
    stack.docker("start", *stack.containers(first))
    time.sleep(10)
    stack.docker("start", *names)
    settled(stack, load, record, f"{first} 10 s before the others", since)


def test_the_engine_itself(stack: Stack, record: Record) -> None:
    """Stops and starts the engine; only where nobody else uses it."""
    others = others_on_the_engine(stack)
    assert others == [], f"the engine is not restarted under the containers of others: {', '.join(others)}"
    load = Load(stack.url(), stack.access, rate=40)
    accepted_jobs(stack, load)
    # Without this the engine leaves the worker alone: it was stopped on purpose.
    stack.compose("start", "worker")
    since = time.monotonic()
    script = str(CHECKOUT / "scripts" / "engine.sh")
    for command in ("stop", "start"):
        subprocess.run([script, command], check=True, timeout=120)
    until(lambda: answers(stack), 120, "the application to answer")
    settled(stack, load, record, "the engine restarted", since)


def answers(stack: Stack) -> bool:
    """Whether the application is ready."""
    try:
        return requests.get(stack.url("/api/health/ready"), timeout=2).status_code == 200
    except requests.RequestException:
        return False


def others_on_the_engine(stack: Stack) -> list[str]:
    """The names of containers that belong to another project, or to none."""
    ids = stack.docker("ps", "--all", "--quiet").split()
    found = json.loads(stack.docker("inspect", *ids)) if ids else []
    return [
        container["Name"].lstrip("/")
        for container in found
        if (container["Config"]["Labels"] or {}).get("com.docker.compose.project") != stack.name
    ]
