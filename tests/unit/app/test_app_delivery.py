"""How results are gathered into transactions, targets into jobs, events into Kafka: with the services stood in for."""

import asyncio
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
from netmon.jobs import QueueUnavailableError
from netmon.models import Job, Outcome, Plan, Probe
from netmon.result_store import Finished, Recorder
from netmon.schedule import own_grid
from netmon.scheduler import Scheduler
from netmon.specs import HttpSpec

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def finished() -> Probe:
    job = Job.of(Plan(spec=HttpSpec(url="http://a/")), "http:a:80")
    return job.probe.finished(Outcome(status="succeeded", finished_at=NOW, duration_ms=1))


class Transactions:
    """Stands for `result_store.store`: each transaction takes a moment; `poison` is what no transaction can store."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.sizes: list[int] = []
        self.poison: set[UUID] = set()
        self.error = error
        monkeypatch.setattr(result_store, "store", self.store)

    async def store(self, _database: object, results: Sequence[Finished]) -> dict[UUID, Probe]:
        self.sizes.append(len(results))
        await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        if any(result.probe.id in self.poison for result in results):
            raise DataError("cannot be stored")
        return {result.probe.id: result.probe for result in results}


def recorder() -> Recorder:
    return Recorder(None)  # type: ignore[arg-type]


async def test_results_that_come_together_share_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    transactions, probes, storing = Transactions(monkeypatch), [finished() for _ in range(50)], recorder()
    assert await asyncio.gather(*map(storing.store, probes)) == probes
    assert transactions.sizes == [50]


async def test_those_that_come_meanwhile_share_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    transactions, storing = Transactions(monkeypatch), recorder()
    first = asyncio.create_task(storing.store(finished()))
    while not transactions.sizes:
        await asyncio.sleep(0)
    await asyncio.gather(first, *(storing.store(finished()) for _ in range(9)))
    assert transactions.sizes == [1, 9]


async def test_a_transaction_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    transactions, storing = Transactions(monkeypatch), recorder()
    await asyncio.gather(*(storing.store(finished()) for _ in range(result_store.BATCH + 1)))
    assert transactions.sizes == [result_store.BATCH, 1]


async def test_one_that_cannot_be_stored_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    transactions, probes, storing = Transactions(monkeypatch), [finished() for _ in range(3)], recorder()
    transactions.poison = {probes[1].id}
    outcomes = await asyncio.gather(*map(storing.store, probes), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Probe, DataError, Probe]
    assert transactions.sizes == [3, 1, 1, 1]


async def test_all_are_told_that_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    transactions, storing = Transactions(monkeypatch, OperationalError("away")), recorder()
    outcomes = await asyncio.gather(*(storing.store(finished()) for _ in range(3)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {OperationalError}
    assert transactions.sizes == [3], "it is not asked for each of them"


@pytest.mark.parametrize("while_storing", [False, True])
async def test_one_that_is_given_up_leaves_the_others_to_be_stored(
    monkeypatch: pytest.MonkeyPatch, while_storing: bool
) -> None:
    transactions = Transactions(monkeypatch)
    storing, probes = recorder(), [finished() for _ in range(3)]
    tasks = [asyncio.create_task(storing.store(probe)) for probe in probes]
    while while_storing and not transactions.sizes:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[0].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == probes[1:]


class Consumer:
    """Stands for Kafka's: gives these batches, and knows what was committed and when it is stopped."""

    def __init__(self, *batches: dict[TopicPartition, list[int]]) -> None:
        self.batches = list(batches)
        self.mine = {partition for batch in batches for partition in batch}
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
        return self.mine

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self.committed.append(offsets)


async def consume(monkeypatch: pytest.MonkeyPatch, consumer: Consumer, *, poison: int = -1) -> list[int]:
    """What is applied until all batches are read, or one cannot be applied."""
    applied: list[int] = []

    async def apply(batch: Sequence[events.Event[int]]) -> None:
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


async def test_offsets_are_committed_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer({ONE: [1, 2], OTHER: [7]}, {ONE: [3]}, {ONE: [4]})
    assert await consume(monkeypatch, consumer) == [1, 2, 7, 3, 4]
    assert consumer.committed == [{ONE: 5, OTHER: 8}]

    monkeypatch.setattr(events, "COMMIT_EVERY", 0)
    consumer = Consumer({ONE: [1, 2]}, {ONE: [3]})
    await consume(monkeypatch, consumer)
    assert consumer.committed == [{ONE: 3}, {ONE: 4}]


async def test_what_was_not_applied_is_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer({ONE: [1]}, {ONE: [2, 3]})
    assert await consume(monkeypatch, consumer, poison=3) == [1]
    assert consumer.committed == [{ONE: 2}]


async def test_what_another_worker_has_taken_over_is_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer({ONE: [1], OTHER: [7]})
    consumer.mine = {OTHER}
    await consume(monkeypatch, consumer)
    assert consumer.committed == [{OTHER: 8}]


class Targets:
    """Stands for the database of a scheduler, whose statements are `scheduler`'s own functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *targets: dict[str, Any]) -> None:
        self.due = list(targets)
        self.stored: list[Probe] = []
        self.moved: list[UUID] = []
        self.committed = 0
        for name in ("_claim", "_move_on", "queue"):
            monkeypatch.setattr(scheduler, name, getattr(self, name))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield
        self.committed += 1

    async def _claim(self, _connection: object) -> list[dict[str, Any]]:
        return self.due

    async def queue(self, _connection: object, probes: Sequence[Probe]) -> None:
        self.stored += probes

    async def _move_on(self, _connection: object, targets: Sequence[dict[str, Any]]) -> None:
        self.moved += [target["id"] for target in targets]


class Queue:
    """Takes jobs, but for those of the targets that it refuses."""

    def __init__(self, *refused: UUID) -> None:
        self.jobs: list[Job] = []
        self.refused = set(map(str, refused))

    async def publish(self, job: Job) -> None:
        if job.target in self.refused:
            raise QueueUnavailableError("not connected")
        self.jobs.append(job)


def target(**changes: Any) -> dict[str, Any]:
    row = {"id": uuid4(), "spec": {"kind": "http", "url": "http://a/"}, "timeout_seconds": 2, "retries": 1}
    return {**row, "slow_ms": None, "interval_seconds": 5, "now": NOW, "under_way": False, **changes}


async def schedule(targets: Any, queue: Any) -> int:
    return await Scheduler(targets, queue)._schedule_batch()


async def test_what_is_due_becomes_a_job_and_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, queue = Targets(monkeypatch, target(), target()), Queue()
    assert await schedule(targets, queue) == 2
    assert targets.moved == [each["id"] for each in targets.due]
    assert {job.target for job in queue.jobs} == {str(each["id"]) for each in targets.due}
    assert targets.stored == sorted((job.probe for job in queue.jobs), key=lambda probe: probe.id)
    assert queue.jobs[0].plan == Plan(spec=HttpSpec(url="http://a/"), timeout_seconds=2, retries=1)


async def test_a_target_with_a_probe_under_way_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, queue = Targets(monkeypatch, target(under_way=True)), Queue()
    await schedule(targets, queue)
    assert (queue.jobs, len(targets.moved)) == ([], 1)


async def test_what_cannot_be_probed_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, queue = Targets(monkeypatch, target(spec={"kind": "gopher"}), target()), Queue()
    await schedule(targets, queue)
    assert (len(queue.jobs), len(targets.moved)) == (1, 2)


async def test_what_the_queue_did_not_take_stays_due(monkeypatch: pytest.MonkeyPatch) -> None:
    refused, taken = target(), target()
    targets = Targets(monkeypatch, refused, taken)
    with pytest.raises(QueueUnavailableError):
        await schedule(targets, Queue(refused["id"]))
    assert targets.moved == [taken["id"]]
    assert [probe.target for probe in targets.stored] == [str(taken["id"])]
    assert targets.committed == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, True),
        ({"enabled": False}, False),
        # Paused, or given another spec, after the probe was asked for.
        ({"since": NOW + timedelta(seconds=1)}, False),
        ({"since": NOW + timedelta(seconds=1), "state": "up"}, True),
    ],
)
def test_a_result_counts_for_the_target_that_was_asked_about(changes: dict[str, Any], told: bool) -> None:
    row = {"id": uuid4(), "name": "a", "enabled": True, "failures": 1, "window": 1, "state": "unknown", "since": NOW}
    target = result_store._Watched.of({**row, "recent": [], **changes})
    before = target.standing
    transaction = result_store._Transaction({str(target.id): target})
    probe = finished().model_copy(update={"target": str(target.id), "requested_at": NOW})
    assert transaction.add(Finished(probe, {})).standing == target.standing
    assert (target.standing != before) is told


def test_targets_added_together_are_due_apart() -> None:
    interval = timedelta(seconds=60)
    phases = sorted((own_grid(uuid4()) - NOW) % interval for _ in range(1000))
    assert max(later - earlier for earlier, later in pairwise(phases)) < timedelta(seconds=2)
