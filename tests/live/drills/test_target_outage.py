"""Many targets fail at once, recover at once, or flap: what a receiver gets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import requests

from tests.live import pipeline
from tests.live.host_receiver import HostReceiver
from tests.live.stack import Stack, until

Record = Callable[[str], None]

TARGETS = 300
MESSAGES = 6
"""The most messages of an outage: results of an interval of 5 s, grouped every 5 s."""
FLAPPING_SECONDS = 60
"""Twelve results of each target."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, receiver: HostReceiver) -> Iterator[Stack]:
    with receiver.stack(tmp_path_factory.mktemp("outage") / "checkout", "netmon-outage") as stack:
        yield stack


@pytest.fixture
def server(stack: Stack) -> Iterator[pipeline.TargetServer]:
    """The server of all targets, which are up and whose earlier alerts have been sent."""
    with pipeline.target_server(stack) as server:
        store(stack, [{"name": f"target {number:03}", **settings(server.url)} for number in range(TARGETS)])
        until(lambda: states(stack) == {"up"}, 60, "all targets to be up")
        yield server
        store(stack, [])


def settings(url: str) -> dict[str, object]:
    """A target with an interval of 5 s that is down after two of three results."""
    return {"spec": {"kind": "http", "url": url}, "interval_seconds": 5, "timeout_seconds": 2, "failures": 2,
            "window": 3}  # fmt: skip


def store(stack: Stack, targets: list[dict[str, object]]) -> None:
    """Store exactly these targets."""
    url = stack.url("/api/targets?prune=true")
    done = requests.put(url, json=targets, headers=stack.authorization(), timeout=60)
    assert done.ok, done.text


def states(stack: Stack) -> set[str]:
    """The states that targets have."""
    return {row["state"] for row in pipeline.sql(stack, "SELECT DISTINCT state FROM standings")}


def names(alerts: list[dict[str, object]], status: str) -> list[str]:
    """The names of the targets whose alert has this status."""
    return [each["labels"]["name"] for each in alerts if each["status"] == status]  # type: ignore[index]


def test_an_outage_of_all_targets_is_a_few_messages(
    stack: Stack, server: pipeline.TargetServer, receiver: HostReceiver, record: Record
) -> None:
    receiver.take()
    for status, expected, what in ((500, "firing", "down"), (200, "resolved", "up again")):
        began = time.monotonic()
        server.status = status
        messages, named = [], set[str]()
        while len(named) < TARGETS and time.monotonic() - began < 90:
            time.sleep(1)
            new = receiver.take()
            messages += new
            named |= set(names([alert for each in new for alert in each["alerts"]], expected))
        record(f"{TARGETS} targets {what}: {len(messages)} messages, {len(named)} names, "
               f"the last after {time.monotonic() - began:.0f} s")  # fmt: skip
        assert len(named) == TARGETS
        assert len(messages) <= MESSAGES


def test_flapping_targets_send_no_flood(
    stack: Stack, server: pipeline.TargetServer, receiver: HostReceiver, record: Record
) -> None:
    """The status changes with every interval, so that neither state lasts for two results of a target."""
    receiver.take()
    before = server.requests
    began = time.monotonic()
    while time.monotonic() - began < FLAPPING_SECONDS:
        server.status = 700 - server.status
        time.sleep(5)
    results, messages = server.requests - before, receiver.take()
    changes = names([alert for each in messages for alert in each["alerts"]], "resolved")
    record(f"{results} flapping results: {len(messages)} messages, {len(changes)} recoveries")
    assert results > 1000
    assert len(messages) <= 2 * MESSAGES
