"""Encoding of probes, jobs in the worker, the projection of latest states and its traces."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from pydantic import ValidationError
from redis import RedisError
from structlog.testing import capture_logs

from netmon import events, latest_states, metrics, supervision
from netmon.job_consumer import Delivery
from netmon.models import Job, Outcome, Plan, Probe, Status
from netmon.slots import Slots
from netmon.specs import HttpSpec
from netmon.target_models import StateChange
from netmon.worker import JobRunner

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SUCCESS = Outcome(status="succeeded", finished_at=NOW, duration_ms=1)


def job() -> Job:
    return Job.of(Plan(spec=HttpSpec(url="http://a/")), "http:a:80", generation=3)


def finished(seconds: float, status: Status = "succeeded") -> Probe:
    return job().probe.finished(Outcome(status=status, finished_at=NOW + timedelta(seconds=seconds), duration_ms=1))


def test_a_probe_is_equal_after_encoding_and_decoding() -> None:
    probe = finished(0.123456)
    assert Probe.decode(probe.encode()) == probe


@pytest.mark.parametrize("data", [b"", b"null", b"{}", b"\xff", b'{"id": "x"}', b"[" * 10_000])
def test_decoding_an_invalid_probe_fails(data: bytes) -> None:
    with pytest.raises(ValidationError):
        Probe.decode(data)


class FakeRedis:
    """Emulates the script of the projection."""

    def __init__(self) -> None:
        self.hash: dict[str, dict[str, Any]] = {}
        self.calls: list[int] = []
        """The number of states in each call."""
        self.failures: list[Exception] = []
        """Errors of the next calls, each of which has stored its first state before."""

    async def eval(self, _script: str, keys: int, *arguments: Any) -> list[int]:
        self.calls.append(keys)
        names, states = arguments[:keys], arguments[keys + 2 :]
        applied = []
        for number, key in enumerate(names):
            applied.append(self._put(key, *states[4 * number : 4 * number + 4]))
            if self.failures:
                raise self.failures.pop()
        return applied

    def _put(self, key: str, at: int, ordered: str, since: int, state: bytes) -> int:
        known = self.hash.get(key)
        if known and float(known["at"]) >= float(at):
            return 0
        self.hash[key] = {"at": at, "ordered": ordered, "since": since, "state": state}
        return 1

    async def hget(self, key: str, field: str) -> Any:
        return self.hash.get(key, {}).get(field)


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> FakeRedis:
    fake = FakeRedis()
    monkeypatch.setattr(latest_states, "connect", lambda _url: fake)
    return fake


@pytest.mark.usefixtures("redis")
async def test_an_older_event_does_not_replace_a_newer_one() -> None:
    states = latest_states.LatestStates("redis://redis")
    old, new = finished(1), finished(1.000001, "failed")
    assert await states.put(old) == [True]
    assert await states.put(new) == [True]
    assert await states.put(old, new) == [False, False]
    assert await states.get(new.target) == new


async def test_a_queued_probe_cannot_be_stored_as_a_state() -> None:
    with pytest.raises(ValueError, match="finished"):
        await latest_states.LatestStates("redis://redis").put(job().probe)


class Calls:
    """Stands for the database, the prober and the recorder, and remembers the order of the calls."""

    def __init__(self, *, stored: bool = False, outcome: Outcome = SUCCESS) -> None:
        self.calls: list[str] = []
        self.urgent: bool | None = None
        self._stored = stored
        self._outcome = outcome

    async def finished(self, probes: Collection[UUID]) -> set[UUID]:
        self.calls.append("look up")
        return set(probes) if self._stored else set()

    async def store(self, probe: Probe, generation: int | None, *, urgent: bool) -> Probe:
        assert probe.finished_at
        self.urgent = urgent
        assert generation == 3
        assert "plan" not in probe.model_dump()
        self.calls.append("store")
        return probe

    async def probe(self, plan: Plan) -> Outcome:
        assert plan.spec.address == "http://a/"
        self.calls.append("probe")
        return self._outcome


async def carry_out(calls: Any, *, repeated: bool = False, urgent: bool = False) -> list[str]:
    await JobRunner(calls, calls, calls, Slots(1)).run(Delivery(job(), repeated, urgent))
    return list(calls.calls)


@pytest.mark.parametrize("urgent", [False, True])
async def test_a_job_is_probed_and_its_result_stored(urgent: bool) -> None:
    calls = Calls()
    assert await carry_out(calls, urgent=urgent) == ["probe", "store"]
    assert calls.urgent == urgent


async def test_a_redelivered_job_with_a_result_is_not_probed_again() -> None:
    assert await carry_out(Calls(stored=True), repeated=True) == ["look up"]


async def test_a_redelivered_job_without_a_result_is_executed() -> None:
    assert await carry_out(Calls(), repeated=True) == ["look up", "probe", "store"]


@pytest.mark.parametrize(
    ("outcome", "urgent", "level"),
    [
        (SUCCESS, False, "debug"),
        (SUCCESS, True, "info"),
        (SUCCESS.model_copy(update={"warning": "slow"}), False, "info"),
        (SUCCESS.model_copy(update={"status": "failed", "error": "timeout"}), False, "info"),
    ],
)
async def test_a_scheduled_success_is_logged_at_debug(outcome: Outcome, urgent: bool, level: str) -> None:
    with capture_logs() as lines:
        await carry_out(Calls(outcome=outcome), urgent=urgent)
    assert [line["log_level"] for line in lines if line["event"] == "probe finished"] == [level]


def test_jobs_are_compatible_with_an_earlier_release() -> None:
    made = job()
    assert Probe.decode(made.encode()) == made.probe
    assert Job.decode(made.probe.encode()) == made.model_copy(update={"generation": None})


@dataclass
class Record:
    """The fields of a Kafka record that the projection reads."""

    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    offset: int = 0


def subscription_of(states: latest_states.LatestStates) -> events.Subscription[Probe]:
    projection = events.Projection(states)
    return events.Subscription({}, "probe.results", "latest-state", projection.decode, projection.apply)


def projected() -> list[float]:
    """The number of events that were applied, stale and malformed."""
    return [metrics.PROJECTED_EVENTS.labels(outcome)._value.get() for outcome in ("applied", "stale", "unreadable")]


async def project(*values: bytes) -> list[float]:
    """Project events as one batch; returns how many were applied, stale and malformed."""
    before = projected()
    records = [Record(value, offset=offset) for offset, value in enumerate(values)]
    await subscription_of(latest_states.LatestStates("redis://redis"))._process(records)
    return [after - known for after, known in zip(projected(), before, strict=True)]


@pytest.mark.parametrize("value", [None, b"junk", job().probe.encode()], ids=["empty", "junk", "unfinished"])
async def test_an_event_without_a_finished_probe_is_skipped(redis: FakeRedis, value: bytes | None) -> None:
    await subscription_of(latest_states.LatestStates("redis://redis"))._process([Record(value)])
    assert redis.calls == []


async def test_an_event_with_invalid_headers_is_applied(redis: FakeRedis) -> None:
    headers = [("traceparent", None), ("x-request-id", b"\xff"), ("other", b"x")]
    await subscription_of(latest_states.LatestStates("redis://redis"))._process([Record(finished(0).encode(), headers)])
    assert redis.hash


async def test_a_batch_is_applied_in_one_call_and_in_order(redis: FakeRedis) -> None:
    first, second, other = finished(1), finished(2), finished(0).model_copy(update={"target": "http:b:80"})
    assert await project(*(probe.encode() for probe in (first, other, second, first))) == [3, 1, 0]
    assert redis.calls == [4]
    states = latest_states.LatestStates("redis://redis")
    assert await states.get(second.target) == second
    assert await states.get(other.target) == other


async def test_a_malformed_event_does_not_block_its_batch(redis: FakeRedis) -> None:
    first, last = finished(1), finished(2)
    with capture_logs() as lines:
        assert await project(first.encode(), b"junk", job().probe.encode(), last.encode()) == [2, 0, 2]
    skipped = [line["offset"] for line in lines if line["event"] == "malformed event skipped"]
    assert skipped == [1, 2]
    assert await latest_states.LatestStates("redis://redis").get(last.target) == last


@pytest.mark.parametrize("failure", [RedisError("lost"), OSError("reset")])
async def test_a_batch_is_retried_until_redis_is_available(
    redis: FakeRedis, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(supervision, "FIRST_DELAY_SECONDS", 0)
    redis.failures = [failure, failure]
    first, second = finished(1), finished(2)
    # The first one was applied by the failed call, so now it is stale.
    assert await project(first.encode(), second.encode()) == [1, 1, 0]
    assert redis.calls == [2, 2, 2]
    assert await latest_states.LatestStates("redis://redis").get(first.target) == second


async def test_each_event_of_a_batch_is_applied_in_its_own_trace(redis: FakeRedis, spans: InMemorySpanExporter) -> None:
    traces = {f"{number:032x}" for number in (1, 2, 3)}
    records = [
        Record(value, [("traceparent", f"00-{trace}-b7ad6b7169203331-01".encode()), ("x-request-id", trace.encode())])
        for trace, value in zip(sorted(traces), (finished(1).encode(), b"junk", finished(2).encode()), strict=True)
    ]
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        await subscription_of(latest_states.LatestStates("redis://redis"))._process(records)
    done = spans.get_finished_spans()
    processed = {span.context.span_id: span for span in done if span.name == "process probe.results"}
    put = [span for span in done if span.name == "EVAL"]
    assert {f"{span.context.trace_id:032x}" for span in processed.values()} == traces
    assert len(processed) == 3
    assert [f"{processed[span.parent.span_id].context.trace_id:032x}" for span in put if span.parent] == [
        f"{number:032x}" for number in (3, 1)
    ]
    assert [span.name for span in done].index("EVAL") < [span.name for span in done].index("process probe.results")
    assert {line["event"]: line["request_id"] for line in lines} == {
        "malformed event skipped": f"{2:032x}",
        "event projected": f"{3:032x}",
    }
    assert redis.calls == [2]


async def test_the_span_of_an_event_that_cannot_be_applied_is_an_error(spans: InMemorySpanExporter) -> None:
    async def apply(_events: object) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await events.Subscription({}, "probe.results", "latest-state", bytes, apply)._process([Record(b"")])
    [span] = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


class Consumer:
    """Three partitions: read to the end; behind; not read at all, with its first events deleted."""

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


async def test_the_lag_counts_readable_events_only() -> None:
    subscription = subscription_of(latest_states.LatestStates("redis://redis"))
    await subscription._measure_lag(Consumer())
    [sample] = next(iter(metrics.CONSUMER_LAG.collect())).samples
    subscription._forget_lag()
    assert sample.value == 0 + 3 + 10
    assert sample.labels == {"group": "latest-state", "topic": "probe.results"}


async def test_state_changes_are_logged_by_severity_and_counted() -> None:
    counted = metrics.STATE_CHANGES.labels("down")._value.get()
    read = StateChange.model_validate_json
    logging = events.Subscription({}, "monitor.state", "state-log", read, events.log_changes)
    with capture_logs() as lines:
        for state in ("down", "up"):
            change = StateChange(target=uuid4(), name="a", previous="unknown", state=state, at=NOW, probe=uuid4())
            await logging._process([Record(change.encode()), Record(b"{}")])
    levels = [line["log_level"] for line in lines if line["event"] == "state changed"]
    assert levels == ["warning", "info"]
    assert len(lines) == 4, "malformed events are logged as well"
    assert metrics.STATE_CHANGES.labels("down")._value.get() == counted + 1
