"""The record, its trace, and the order of the projection."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from netmon import events, latest, metrics
from netmon.models import Job, Outcome, Plan, Probe, StateChange, Status
from netmon.specs import HttpSpec
from netmon.worker import Work

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def job() -> Job:
    return Job.of(Plan(spec=HttpSpec(url="http://a/")), "http:a:80")


def finished(seconds: float, status: Status = "succeeded") -> Probe:
    return job().probe.finished(Outcome(status=status, finished_at=NOW + timedelta(seconds=seconds), duration_ms=1))


def test_a_probe_survives_encoding() -> None:
    probe = finished(0.123456)
    assert Probe.decode(probe.encode()) == probe


@pytest.mark.parametrize("data", [b"", b"null", b"{}", b"\xff", b'{"id": "x"}', b"[" * 10_000])
def test_what_is_not_a_probe_is_refused(data: bytes) -> None:
    with pytest.raises(ValidationError):
        Probe.decode(data)


class FakeRedis:
    """Runs the one script that the projection needs, by its rule."""

    def __init__(self) -> None:
        self.hash: dict[str, dict[str, Any]] = {}

    async def eval(self, _script: str, _keys: int, key: str, at: int, state: bytes, _seconds: int) -> int:
        known = self.hash.get(key)
        if known and float(known["at"]) >= float(at):
            return 0
        self.hash[key] = {"at": at, "state": state}
        return 1

    async def hget(self, key: str, field: str) -> Any:
        return self.hash.get(key, {}).get(field)


async def test_an_older_event_never_replaces_a_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    states, redis = latest.LatestStates("redis://redis"), FakeRedis()
    monkeypatch.setattr(states, "_redis", redis)
    old, new = finished(1), finished(1.000001, "failed")
    assert await states.put(old)
    assert await states.put(new)
    assert not await states.put(old)
    assert not await states.put(new)
    assert await states.get(new.target) == new


async def test_a_queued_probe_is_no_state() -> None:
    with pytest.raises(ValueError, match="finished"):
        await latest.LatestStates("redis://redis").put(job().probe)


class Calls:
    """Stands for the database, the prober and the recorder, and remembers the order of the calls."""

    def __init__(self, stored: Probe | None = None) -> None:
        self.calls: list[str] = []
        self._stored = stored

    async def get(self, _probe_id: object) -> Probe | None:
        self.calls.append("get")
        return self._stored

    async def store(self, probe: Probe) -> Probe:
        assert probe.finished_at
        assert "plan" not in probe.model_dump()
        self.calls.append("store")
        return probe

    async def probe(self, plan: Plan) -> Outcome:
        assert plan.spec.address == "http://a/"
        self.calls.append("probe")
        return Outcome(status="succeeded", finished_at=NOW, duration_ms=1)


async def carry_out(calls: Any, redelivered: bool) -> list[str]:
    await Work(calls, calls, calls, 1).carry_out(job(), redelivered)
    return list(calls.calls)


async def test_a_job_ends_with_its_record() -> None:
    assert await carry_out(Calls(), redelivered=False) == ["probe", "store"]


async def test_a_job_delivered_again_is_not_probed_again() -> None:
    assert await carry_out(Calls(finished(0)), redelivered=True) == ["get"]


async def test_a_job_delivered_again_without_a_result_is_carried_out() -> None:
    assert await carry_out(Calls(), redelivered=True) == ["get", "probe", "store"]
    assert await carry_out(Calls(job().probe), redelivered=True) == ["get", "probe", "store"]


def test_a_job_is_a_probe_to_an_earlier_release_and_a_probe_is_a_job_from_one() -> None:
    made = job()
    assert Probe.decode(made.encode()) == made.probe
    assert Job.decode(made.probe.encode()) == made


@dataclass
class Record:
    """A record of Kafka, as far as the projection reads it."""

    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    offset: int = 0


def projecting(states: latest.LatestStates) -> events.Subscription:
    return events.Subscription({}, "probe.results", "latest-state", events.Projection(states).apply)


@pytest.mark.parametrize("value", [None, b"junk", job().probe.encode()], ids=["empty", "junk", "unfinished"])
async def test_an_event_that_is_no_state_is_skipped(value: bytes | None) -> None:
    await projecting(latest.LatestStates("redis://redis"))._apply(Record(value))


async def test_an_event_is_applied_whatever_its_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    states, redis = latest.LatestStates("redis://redis"), FakeRedis()
    monkeypatch.setattr(states, "_redis", redis)
    headers = [("traceparent", None), ("x-request-id", b"\xff"), ("other", b"x")]
    await projecting(states)._apply(Record(finished(0).encode(), headers))
    assert redis.hash


class Consumer:
    """Three partitions: one read to the end, one behind, one of which nothing was read and the beginning is gone."""

    begins: ClassVar = {0: 0, 1: 0, 2: 90}
    ends: ClassVar = {0: 50, 1: 50, 2: 100}
    done: ClassVar = {0: 50, 1: 47, 2: None}

    def assignment(self) -> set[int]:
        return {0, 1, 2}

    async def beginning_offsets(self, _partitions: object) -> dict[int, int]:
        return self.begins

    async def end_offsets(self, _partitions: object) -> dict[int, int]:
        return self.ends

    async def committed(self, partition: int) -> int | None:
        return self.done[partition]


async def test_the_lag_is_what_can_still_be_read() -> None:
    subscription = projecting(latest.LatestStates("redis://redis"))
    await subscription._measure_lag(Consumer())
    [sample] = next(iter(metrics.CONSUMER_LAG.collect())).samples
    subscription._forget_lag()
    assert sample.value == 0 + 3 + 10
    assert sample.labels == {"group": "latest-state", "topic": "probe.results"}


async def test_a_change_of_state_is_logged_by_its_weight() -> None:
    counted = metrics.STATE_CHANGES.labels("down")._value.get()
    with capture_logs() as lines:
        for state in ("down", "up"):
            change = StateChange(target=uuid4(), name="a", previous="unknown", state=state, at=NOW, probe=uuid4())
            await events.log_change(change.encode())
    assert [line["log_level"] for line in lines] == ["warning", "info"]
    assert metrics.STATE_CHANGES.labels("down")._value.get() == counted + 1
    with pytest.raises(ValidationError):
        await events.log_change(b"{}")
