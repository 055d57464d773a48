"""Which probes are ended because their job is lost: only those whose job cannot be anywhere."""

import time
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.abandoned import ABANDONED_AFTER, IN_FLIGHT, INTERVAL_SECONDS, AbandonedProbes
from netmon.jobs import BATCH_QUEUE, QUEUE, QueueUnavailableError

pytestmark = pytest.mark.anyio


class Broker:
    """A link to two queues, and the database that is asked to end probes."""

    def __init__(self) -> None:
        self.ready = {QUEUE: 0, BATCH_QUEUE: 0}
        self.available = True
        self.batch_channel: object | None = object()
        self.ages: list[timedelta] = []

    async def messages(self, queue: str) -> int:
        if not self.available:
            raise QueueUnavailableError("gone")
        return self.ready[queue]

    async def abandon_older_than(self, age: timedelta, reason: str) -> int:
        assert reason
        self.ages.append(age)
        return 0


async def ages(monkeypatch: pytest.MonkeyPatch, ready: list[int], queue: str = QUEUE, **properties: Any) -> Broker:
    """Check once per minute, with so many messages in the queue."""
    broker = Broker()
    for name, value in properties.items():
        setattr(broker, name, value)
    abandoned = AbandonedProbes(broker, broker)  # type: ignore[arg-type]
    for minute, count in enumerate(ready):
        monkeypatch.setattr(time, "monotonic", lambda minute=minute: 1e6 + minute * INTERVAL_SECONDS)
        broker.ready[queue] = count
        await abandoned.end()
    return broker


async def test_probes_end_once_every_job_from_before_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = await ages(monkeypatch, [0] * 33)
    assert broker.ages[:30] == [ABANDONED_AFTER] * 30
    assert {age - IN_FLIGHT for age in broker.ages[30:]} == {timedelta(seconds=10)}


@pytest.mark.parametrize("queue", [QUEUE, BATCH_QUEUE])
async def test_jobs_in_a_queue_are_not_lost(monkeypatch: pytest.MonkeyPatch, queue: str) -> None:
    broker = await ages(monkeypatch, [1] * 100, queue)
    assert set(broker.ages) == {ABANDONED_AFTER}


@pytest.mark.parametrize("properties", [{"available": False}, {"batch_channel": None}])
async def test_unknown_queues_are_not_empty(monkeypatch: pytest.MonkeyPatch, properties: dict[str, Any]) -> None:
    broker = await ages(monkeypatch, [0] * 100, **properties)
    assert set(broker.ages) == {ABANDONED_AFTER}


@given(st.lists(st.integers(0, 1), min_size=1, max_size=90))
async def test_a_probe_that_is_ended_was_requested_before_the_queues_were_last_seen_empty(ready: list[int]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        broker = await ages(monkeypatch, ready)
    for minute, age in enumerate(broker.ages):
        old_enough = [
            then for then in range(minute + 1) if not ready[then] and timedelta(minutes=minute - then) >= IN_FLIGHT
        ]
        expected = timedelta(minutes=minute - old_enough[-1], seconds=10) if old_enough else ABANDONED_AFTER
        assert age == expected
