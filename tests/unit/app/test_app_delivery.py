"""Batches of results, offsets of events, scheduled jobs and state changes, with fake services."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
from aiokafka import TopicPartition
from psycopg import DataError, OperationalError

from netmon import events, result_store, scheduler
from netmon.jobs import BATCH_LIMIT, QueueUnavailableError
from netmon.models import Job, Outcome, Plan, Probe
from netmon.result_store import PendingResult, ResultStore
from netmon.schedule import grid_origin
from netmon.scheduler import Scheduler
from netmon.specs import HttpSpec

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def finished() -> Probe:
    job = Job.of(Plan(spec=HttpSpec(url="http://a/")), "http:a:80")
    return job.probe.finished(Outcome(status="succeeded", finished_at=NOW, duration_ms=1))


class Transactions:
    """Replaces `result_store.store`: a transaction takes a moment, and fails with a probe in `poison`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.sizes: list[int] = []
        self.poison: set[UUID] = set()
        self.error = error
        monkeypatch.setattr(result_store, "store", self.store)

    async def store(self, _database: object, results: Sequence[PendingResult]) -> dict[UUID, Probe]:
        self.sizes.append(len(results))
        await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        if any(result.probe.id in self.poison for result in results):
            raise DataError("cannot be stored")
        return {result.probe.id: result.probe for result in results}


def result_store_without_database() -> ResultStore:
    return ResultStore(None)  # type: ignore[arg-type]


async def test_concurrent_results_share_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    transactions, probes, storing = (
        Transactions(monkeypatch),
        [finished() for _ in range(50)],
        result_store_without_database(),
    )
    assert await asyncio.gather(*map(storing.store, probes)) == probes
    assert transactions.sizes == [50]


async def test_results_that_arrive_during_a_transaction_share_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    transactions, storing = Transactions(monkeypatch), result_store_without_database()
    first = asyncio.create_task(storing.store(finished()))
    while not transactions.sizes:
        await asyncio.sleep(0)
    await asyncio.gather(first, *(storing.store(finished()) for _ in range(9)))
    assert transactions.sizes == [1, 9]


async def test_an_urgent_result_waits_for_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_store, "LINGER_SECONDS", 60)
    transactions, storing = Transactions(monkeypatch), result_store_without_database()
    waiting = asyncio.create_task(storing.store(finished()))
    await asyncio.sleep(0.05)
    assert transactions.sizes == [], "a result that is not urgent waits for more"
    async with asyncio.timeout(5):
        await asyncio.gather(waiting, storing.store(finished(), urgent=True))
    assert transactions.sizes == [2]


async def test_an_urgent_result_that_arrives_during_a_transaction_ends_the_next_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transactions, storing = Transactions(monkeypatch), result_store_without_database()
    first = asyncio.create_task(storing.store(finished(), urgent=True))
    while not transactions.sizes:
        await asyncio.sleep(0)
    monkeypatch.setattr(result_store, "LINGER_SECONDS", 60)
    async with asyncio.timeout(5):
        await asyncio.gather(first, storing.store(finished()), storing.store(finished(), urgent=True))
    assert transactions.sizes == [1, 2]


async def test_results_that_fill_a_transaction_wait_for_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_store, "LINGER_SECONDS", 60)
    transactions, storing = Transactions(monkeypatch), result_store_without_database()
    async with asyncio.timeout(5):
        await asyncio.gather(*(storing.store(finished()) for _ in range(result_store.BATCH_SIZE)))
    assert transactions.sizes == [result_store.BATCH_SIZE]


async def test_the_number_of_results_in_a_transaction_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    transactions, storing = Transactions(monkeypatch), result_store_without_database()
    await asyncio.gather(*(storing.store(finished()) for _ in range(result_store.BATCH_SIZE + 1)))
    assert transactions.sizes == [result_store.BATCH_SIZE, 1]


async def test_a_result_that_cannot_be_stored_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    transactions, probes, storing = (
        Transactions(monkeypatch),
        [finished() for _ in range(3)],
        result_store_without_database(),
    )
    transactions.poison = {probes[1].id}
    outcomes = await asyncio.gather(*map(storing.store, probes), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Probe, DataError, Probe]
    assert transactions.sizes == [3, 1, 1, 1]


async def test_all_results_fail_while_the_database_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    transactions, storing = Transactions(monkeypatch, OperationalError("unavailable")), result_store_without_database()
    outcomes = await asyncio.gather(*(storing.store(finished()) for _ in range(3)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {OperationalError}
    assert transactions.sizes == [3], "they are not retried one by one"


@pytest.mark.parametrize("while_storing", [False, True])
async def test_a_cancelled_result_does_not_cancel_the_others(
    monkeypatch: pytest.MonkeyPatch, while_storing: bool
) -> None:
    transactions = Transactions(monkeypatch)
    storing, probes = result_store_without_database(), [finished() for _ in range(3)]
    tasks = [asyncio.create_task(storing.store(probe)) for probe in probes]
    while while_storing and not transactions.sizes:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[0].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == probes[1:]


class Consumer:
    """A fake Kafka consumer: returns these batches and collects committed offsets."""

    def __init__(self, *batches: dict[TopicPartition, list[int]]) -> None:
        self.batches = list(batches)
        self.assigned = {partition for batch in batches for partition in batch}
        self.committed: list[dict[TopicPartition, int]] = []

    def __call__(self, *_topics: str, **_settings: object) -> Self:
        return self

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def getmany(self, timeout_ms: int, **_bound: int) -> dict[TopicPartition, list[SimpleNamespace]]:
        if not self.batches:
            await asyncio.sleep(timeout_ms / 1000)
            return {}
        batch = self.batches.pop(0)
        return {
            partition: [SimpleNamespace(offset=offset, value=b"%d" % offset, headers=[]) for offset in offsets]
            for partition, offsets in batch.items()
        }

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self.committed.append(offsets)


async def consume(monkeypatch: pytest.MonkeyPatch, consumer: Consumer, *, poison: int = -1) -> list[int]:
    """The events that are applied until all batches are read or one fails."""
    applied: list[int] = []

    async def apply(batch: Sequence[events.ConsumedEvent[int]]) -> None:
        if any(event.content == poison for event in batch):
            raise OSError("cannot be applied")
        applied.extend(event.content for event in batch)

    async def nothing(_access: object) -> None: ...

    monkeypatch.setattr(events, "AIOKafkaConsumer", consumer)
    monkeypatch.setattr(events, "ensure_own_topics", nothing)
    session = asyncio.create_task(events.Subscription({}, "topic", "group", int, apply)._session())
    while consumer.batches and not session.done():
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    session.cancel()
    await asyncio.gather(session, return_exceptions=True)
    return applied


ONE, OTHER = TopicPartition("topic", 1), TopicPartition("topic", 2)


async def test_offsets_are_committed_periodically_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer({ONE: [1, 2], OTHER: [7]}, {ONE: [3]}, {ONE: [4]})
    assert await consume(monkeypatch, consumer) == [1, 2, 7, 3, 4]
    assert consumer.committed == [{ONE: 5, OTHER: 8}]

    monkeypatch.setattr(events, "COMMIT_INTERVAL_SECONDS", 0)
    consumer = Consumer({ONE: [1, 2]}, {ONE: [3]})
    await consume(monkeypatch, consumer)
    assert consumer.committed == [{ONE: 3}, {ONE: 4}]


async def test_offsets_of_events_that_failed_are_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer({ONE: [1]}, {ONE: [2, 3]})
    assert await consume(monkeypatch, consumer, poison=3) == [1]
    assert consumer.committed == [{ONE: 2}]


async def test_offsets_of_partitions_of_another_worker_are_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer({ONE: [1], OTHER: [7]})
    consumer.assigned = {OTHER}
    await consume(monkeypatch, consumer)
    assert consumer.committed == [{OTHER: 8}]


class Targets:
    """A fake database of the scheduler; replaces the functions that execute statements."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *targets: dict[str, Any]) -> None:
        self.due = list(targets)
        self.stored: list[Probe] = []
        self.advanced: list[UUID] = []
        self.committed = 0
        self.clock_checks = 0
        for name in ("_follow_clock", "_claim", "_advance", "_until_next", "queue"):
            monkeypatch.setattr(scheduler, name, getattr(self, name))

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[None]:
        yield
        self.committed += 1

    async def _follow_clock(self, _connection: object) -> None:
        self.clock_checks += 1

    async def _claim(self, _connection: object) -> list[dict[str, Any]]:
        return self.due

    async def queue(self, _connection: object, probes: Sequence[Probe]) -> None:
        self.stored += probes

    async def _advance(self, _connection: object, targets: Sequence[dict[str, Any]]) -> None:
        self.advanced += [target["id"] for target in targets]

    async def _until_next(self, _connection: object) -> float:
        return 0.4


class Queue:
    """A fake queue that accepts messages, except those with jobs of the refused targets."""

    def __init__(self, *refused: UUID, takes_batches: bool = True) -> None:
        self.messages: list[list[Job]] = []
        self.refused = set(map(str, refused))
        self.takes_batches = takes_batches

    @property
    def jobs(self) -> list[Job]:
        return [job for message in self.messages for job in message]

    async def publish(self, job: Job) -> None:
        await self.publish_batch([job])

    async def publish_batch(self, jobs: Sequence[Job]) -> None:
        if self.refused.intersection(job.target for job in jobs):
            raise QueueUnavailableError("not connected")
        self.messages.append(list(jobs))


def target(**changes: Any) -> dict[str, Any]:
    row = {"id": uuid4(), "spec": {"kind": "http", "url": "http://a/"}, "timeout_seconds": 2, "retries": 1}
    row |= {"slow_ms": None, "interval_seconds": 5, "now": NOW, "is_running": False, "generation": 3, "is_up": False}
    return row | changes


async def schedule(targets: Any, queue: Any) -> int:
    return await Scheduler(targets, queue)._schedule_batch()


async def test_targets_that_are_up_share_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    up, other = [target(is_up=True) for _ in range(2 * BATCH_LIMIT + 1)], target(is_up=None)
    targets, queue = Targets(monkeypatch, other, *up), Queue()
    await schedule(targets, queue)
    assert [len(message) for message in queue.messages] == [BATCH_LIMIT, BATCH_LIMIT, 1, 1]
    assert queue.messages[-1][0].target == str(other["id"])
    assert [job.target for job in queue.jobs[:-1]] == [str(each["id"]) for each in up]
    assert len(targets.stored) == len(targets.advanced) == len(up) + 1


async def test_each_target_has_its_own_message_if_batches_are_not_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, queue = Targets(monkeypatch, *(target(is_up=True) for _ in range(3))), Queue(takes_batches=False)
    await schedule(targets, queue)
    assert [len(message) for message in queue.messages] == [1, 1, 1]


async def test_the_targets_of_a_batch_that_was_not_accepted_stay_due(monkeypatch: pytest.MonkeyPatch) -> None:
    up, other = [target(is_up=True) for _ in range(3)], target()
    targets = Targets(monkeypatch, *up, other)
    with pytest.raises(QueueUnavailableError):
        await schedule(targets, Queue(up[1]["id"]))
    assert targets.advanced == [other["id"]]
    assert [probe.target for probe in targets.stored] == [str(other["id"])]


@pytest.mark.parametrize(
    ("due_in", "elapsed", "pause"),
    [(-1.0, 0, 0.4), (0.1, 0, 0.4), (0.6, 0, 0.6), (9.0, 0, 1.0), (0.1, 0.25, 0.15), (0.3, 0.25, 0.3), (-1, 0.5, 0.05)],
)
async def test_targets_that_are_due_at_nearly_the_same_time_are_claimed_together(
    monkeypatch: pytest.MonkeyPatch, due_in: float, elapsed: float, pause: float
) -> None:
    planner = Scheduler(Targets(monkeypatch), Queue())  # type: ignore[arg-type]

    async def until_next(_connection: object) -> float:
        return due_in

    monkeypatch.setattr(scheduler, "_until_next", until_next)
    await planner._schedule_batch()
    assert planner._pause(elapsed) == pytest.approx(pause)


async def test_a_due_target_is_published_as_a_job_and_stored_as_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, queue = Targets(monkeypatch, target(), target()), Queue()
    assert await schedule(targets, queue) == 2
    assert targets.advanced == [each["id"] for each in targets.due]
    assert {job.target for job in queue.jobs} == {str(each["id"]) for each in targets.due}
    assert targets.stored == sorted((job.probe for job in queue.jobs), key=lambda probe: probe.id)
    assert {job.generation for job in queue.jobs} == {3}
    assert queue.jobs[0].plan == Plan(spec=HttpSpec(url="http://a/"), timeout_seconds=2, retries=1)


async def test_the_clock_is_checked_periodically(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    targets, queue = Targets(monkeypatch), Queue()
    planner = Scheduler(targets, queue)  # type: ignore[arg-type]
    checks = []
    for now in (0.0, 1.0, 10.0, 10.1, 11.0):  # noqa: B007 - read by the clock above
        await planner._schedule_batch()
        checks.append(targets.clock_checks)
    assert checks == [1, 1, 1, 2, 2]


async def test_a_target_with_a_running_probe_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, queue = Targets(monkeypatch, target(is_running=True)), Queue()
    await schedule(targets, queue)
    assert (queue.jobs, len(targets.advanced)) == ([], 1)


async def test_an_invalid_target_does_not_block_others(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, queue = Targets(monkeypatch, target(spec={"kind": "gopher"}), target()), Queue()
    await schedule(targets, queue)
    assert (len(queue.jobs), len(targets.advanced)) == (1, 2)


async def test_a_target_that_reports_itself_gets_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, queue = Targets(monkeypatch, target(spec={"kind": "heartbeat"}), target()), Queue()
    await schedule(targets, queue)
    assert (len(queue.jobs), len(targets.stored), len(targets.advanced)) == (1, 1, 2)


async def test_a_target_whose_job_was_not_accepted_stays_due(monkeypatch: pytest.MonkeyPatch) -> None:
    refused, accepted = target(), target()
    targets = Targets(monkeypatch, refused, accepted)
    with pytest.raises(QueueUnavailableError):
        await schedule(targets, Queue(refused["id"]))
    assert targets.advanced == [accepted["id"]]
    assert [probe.target for probe in targets.stored] == [str(accepted["id"])]
    assert targets.committed == 1


def test_targets_that_are_added_together_are_due_at_different_times() -> None:
    interval = timedelta(seconds=60)
    phases = sorted((grid_origin(uuid4()) - NOW) % interval for _ in range(1000))
    assert max(later - earlier for earlier, later in pairwise(phases)) < timedelta(seconds=2)
