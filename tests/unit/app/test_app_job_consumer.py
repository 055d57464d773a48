"""Messages of one job and of several: when they are acknowledged, and what becomes of jobs that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import pytest

from netmon import job_consumer, metrics
from netmon.job_consumer import Delivery, JobConsumer
from netmon.jobs import DELIVERY_LIMIT, REPEATED, URGENT, JobQueue, QueueUnavailableError
from netmon.models import Job, Plan
from netmon.specs import HttpSpec
from tests.unit.app.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_consumer, "RETURN_DELAY_SECONDS", 0)


def job() -> Job:
    return Job.of(Plan(spec=HttpSpec(url="http://a/")), "http:a:80", generation=3)


class Message:
    """A delivered message, and how it was settled."""

    def __init__(self, *jobs: Job | bytes, redelivered: bool = False, **properties: Any) -> None:
        self.body = b"\n".join(each if isinstance(each, bytes) else each.encode() for each in jobs)
        self.redelivered = redelivered
        self.message_id = "id"
        self.priority = properties.get("priority", 0)
        self.headers = properties.get("headers", {})
        self.settled: list[str] = []

    async def ack(self) -> None:
        self.settled.append("acknowledged")

    async def nack(self, *, requeue: bool) -> None:
        assert requeue
        self.settled.append("requeued")

    async def reject(self, *, requeue: bool) -> None:
        assert requeue
        self.settled.append("returned")


class Broker:
    """Takes what the consumer publishes, unless it is unavailable."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self.alone: list[bytes] = []
        self.dead: list[tuple[bytes, str]] = []
        self.available = True

    async def publish_again(self, encoded: bytes) -> None:
        self._require()
        self.alone.append(encoded)

    async def dead_letter(self, body: bytes, _message_id: str | None, headers: Mapping[str, Any]) -> None:
        self._require()
        self.dead.append((body, headers["x-reason"]))

    def _require(self) -> None:
        assert not self._message.settled, "the message is settled before RabbitMQ has confirmed its copy"
        if not self.available:
            raise QueueUnavailableError("refused")


class Runner:
    """Executes jobs: some fail, some take until `end` is set, some have a result already."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.done: list[UUID] = []
        self.failing: set[UUID] = set()
        self.slow: set[UUID] = set()
        self.known: set[UUID] = set()
        self.lookups = 0
        self.abandoned: list[tuple[UUID, str]] = []
        self.end = asyncio.Event()

    async def run(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if delivery.job.id in self.slow:
            await self.end.wait()
        await asyncio.sleep(0)
        if delivery.job.id in self.failing:
            raise RuntimeError("broken")
        self.done.append(delivery.job.id)

    async def finished(self, probes: Collection[UUID]) -> set[UUID]:
        self.lookups += 1
        return self.known.intersection(probes)

    async def abandon(self, probe: UUID, reason: str) -> None:
        self.abandoned.append((probe, reason))


class Case:
    """A consumer with one message."""

    def __init__(self, message: Message) -> None:
        self.message, self.broker, self.runner = message, Broker(message), Runner()
        self.consumer = JobConsumer(None, self.broker, self.runner, 1)  # type: ignore[arg-type]

    async def work(self) -> list[str]:
        work = self.consumer._work if b"\n" not in self.message.body else self.consumer._work_batch
        await self.consumer._until_unavailable(self.message, work)  # type: ignore[arg-type]
        return self.message.settled


async def test_a_batch_is_acknowledged_once_each_of_its_jobs_is_done() -> None:
    jobs = [job() for _ in range(3)]
    case = Case(Message(*jobs))
    case.runner.slow = {jobs[1].id}
    working = asyncio.create_task(case.work())
    await until(lambda: len(case.runner.done) == 2)
    assert case.message.settled == []
    case.runner.end.set()
    assert await working == ["acknowledged"]
    assert set(case.runner.done) == {each.id for each in jobs}
    assert case.broker.alone == []
    assert {delivery.job.id for delivery in case.runner.deliveries} == {each.id for each in jobs}
    assert not any(delivery.repeated or delivery.urgent for delivery in case.runner.deliveries)


async def test_the_jobs_of_batches_do_not_begin_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_consumer, "PACE_SECONDS", 60)
    monkeypatch.setattr(job_consumer, "MAX_DELAY_SECONDS", 1000)
    case = Case(Message(*(job() for _ in range(3))))
    other = Message(job(), job())
    working = [asyncio.create_task(case.work()), asyncio.create_task(case.consumer._work_batch(other))]  # type: ignore[arg-type]
    await until(lambda: case.runner.done)
    await asyncio.sleep(0.05)
    assert len(case.runner.done) == 1
    for each in working:
        each.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    assert len(case.broker.alone) == 4


async def test_many_jobs_are_not_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_consumer, "PACE_SECONDS", 60)
    monkeypatch.setattr(job_consumer, "MAX_DELAY_SECONDS", 0.01)
    case = Case(Message(*(job() for _ in range(25))))
    async with asyncio.timeout(5):
        assert await case.work() == ["acknowledged"]


async def test_a_job_of_a_batch_that_fails_is_published_alone() -> None:
    jobs = [job() for _ in range(3)]
    case, returned = Case(Message(*jobs)), metrics.JOBS_RETURNED._value.get()
    case.runner.failing = {jobs[1].id}
    assert await case.work() == ["acknowledged"]
    assert case.broker.alone == [jobs[1].encode()]
    assert set(case.runner.done) == {jobs[0].id, jobs[2].id}
    assert metrics.JOBS_RETURNED._value.get() == returned + 1


async def test_a_batch_is_returned_if_a_failed_job_cannot_be_published() -> None:
    jobs = [job() for _ in range(3)]
    case = Case(Message(*jobs))
    case.runner.failing, case.broker.available = {jobs[1].id}, False
    assert await case.work() == ["returned"]
    assert set(case.runner.done) == {jobs[0].id, jobs[2].id}


async def test_the_jobs_of_a_redelivered_batch_without_a_result_are_published_alone() -> None:
    """So that one that loses its worker each time takes no others with it."""
    jobs = [job() for _ in range(4)]
    case = Case(Message(*jobs, redelivered=True))
    case.runner.known = {jobs[0].id, jobs[3].id}
    assert await case.work() == ["acknowledged"]
    assert set(case.broker.alone) == {jobs[1].encode(), jobs[2].encode()}
    assert (case.runner.deliveries, case.runner.lookups) == ([], 1)


async def test_a_redelivered_batch_is_returned_if_its_jobs_cannot_be_published() -> None:
    case = Case(Message(job(), job(), redelivered=True))
    case.broker.available = False
    assert await case.work() == ["returned"]


async def test_a_malformed_job_of_a_batch_is_dead_lettered_alone() -> None:
    good, later = job(), b'{"id": "of a later release"}'
    case, rejected = Case(Message(good, later)), metrics.JOBS_REJECTED._value.get()
    assert await case.work() == ["acknowledged"]
    [(body, reason)] = case.broker.dead
    assert (body, reason.startswith("malformed: ")) == (later, True)
    assert case.runner.done == [good.id]
    assert metrics.JOBS_REJECTED._value.get() == rejected + 1


async def test_a_malformed_job_of_a_redelivered_batch_is_published_alone() -> None:
    """It is found malformed, and dead-lettered, in its own message."""
    good, later = job(), b'{"id": "of a later release"}'
    case = Case(Message(good, later, redelivered=True))
    assert await case.work() == ["acknowledged"]
    assert set(case.broker.alone) == {good.encode(), later}


@pytest.mark.parametrize("available", [True, False])
async def test_a_stopping_worker_publishes_the_unfinished_jobs_of_a_batch_alone(available: bool) -> None:
    """The former release, to which a deploy may roll back, consumes no batches."""
    jobs = [job() for _ in range(3)]
    case = Case(Message(*jobs))
    case.runner.slow = {jobs[0].id, jobs[2].id}
    working = asyncio.create_task(case.work())
    await until(lambda: len(case.runner.done) == 1)
    case.broker.available = available
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    if available:
        assert {Job.decode(each).id for each in case.broker.alone} == case.runner.slow
        assert case.message.settled == ["acknowledged"]
    else:
        assert case.message.settled == ["requeued"]


async def test_a_message_of_one_job_is_acknowledged_once_it_is_done() -> None:
    case = Case(Message(job(), priority=URGENT))
    assert await case.work() == ["acknowledged"]
    assert case.runner.deliveries[0].urgent


async def test_a_job_of_the_former_release_is_executed() -> None:
    made = job()
    case = Case(Message(made.probe.encode()))
    assert await case.work() == ["acknowledged"]
    assert case.runner.done == [made.id]


@pytest.mark.parametrize(("redelivered", "headers"), [(True, {}), (False, {REPEATED: "true"})])
async def test_a_job_may_be_repeated_if_it_was_redelivered_or_in_a_batch(
    redelivered: bool, headers: dict[str, str]
) -> None:
    case = Case(Message(job(), redelivered=redelivered, headers=headers))
    await case.work()
    assert case.runner.deliveries[0].repeated


async def test_a_failed_job_is_returned_until_the_delivery_limit() -> None:
    made = job()
    case = Case(Message(made, headers={"x-delivery-count": DELIVERY_LIMIT - 2}))
    case.runner.failing = {made.id}
    assert await case.work() == ["returned"]
    case = Case(Message(made, headers={"x-delivery-count": DELIVERY_LIMIT - 1}))
    case.runner.failing = {made.id}
    assert await case.work() == ["acknowledged"]
    assert "failed 20 times, most recently with RuntimeError: broken" in case.broker.dead[0][1]


@pytest.mark.parametrize("priority", [0, URGENT])
async def test_the_probe_of_a_failed_job_ends_if_a_user_waits_for_it(priority: int) -> None:
    """A scheduled one stays queued, so that its target is not scheduled again at once."""
    made = job()
    case = Case(Message(made, priority=priority, headers={"x-delivery-count": DELIVERY_LIMIT - 1}))
    case.runner.failing = {made.id}
    await case.work()
    [(_, reason)] = case.broker.dead
    assert case.runner.abandoned == ([(made.id, reason)] if priority else [])


async def test_a_job_whose_last_worker_was_lost_is_not_executed_again() -> None:
    made = job()
    case = Case(Message(made, priority=URGENT, redelivered=True, headers={"x-delivery-count": DELIVERY_LIMIT}))
    assert await case.work() == ["acknowledged"]
    assert case.runner.deliveries == []
    assert case.broker.dead == [(made.encode(), "delivered 20 times, and most recently its worker was lost")]
    assert [probe for probe, _ in case.runner.abandoned] == [made.id]
    case = Case(Message(made, redelivered=True, headers={"x-delivery-count": DELIVERY_LIMIT - 1}))
    await case.work()
    assert case.runner.done == [made.id], "the last delivery is executed"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"id": "6b0ae5a4-8d5e-4f3c-9d0c-3b1f9d1f8b11", "of": "a later release"}', True),
        (b'{"id": "not an id"}', False),
        (b'{"id": 7}', False),
        (b'["id"]', False),
        (b"7", False),
        (b"\xff", False),
    ],
)
async def test_the_probe_of_a_malformed_job_ends_if_it_names_one(body: bytes, named: bool) -> None:
    case = Case(Message(body, priority=URGENT))
    assert await case.work() == ["acknowledged"]
    assert [str(probe) for probe, _ in case.runner.abandoned] == (
        ["6b0ae5a4-8d5e-4f3c-9d0c-3b1f9d1f8b11"] if named else []
    )


async def test_a_malformed_message_is_dead_lettered() -> None:
    case = Case(Message(b"not a job"))
    assert await case.work() == ["acknowledged"]
    assert case.broker.dead[0][1].startswith("malformed: ")


async def test_a_message_is_not_settled_while_rabbitmq_is_unavailable() -> None:
    case = Case(Message(b"not a job"))
    case.broker.available = False
    assert await case.work() == []


class Exchange:
    """Takes messages, as the default exchange of a channel."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.error = error
        self.dropped: list[str] = []

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)

    @property
    def channel(self) -> Exchange:
        return self

    @property
    def default_exchange(self) -> Exchange:
        return self

    async def publish(self, message: Any, *, routing_key: str, mandatory: bool) -> None:
        assert mandatory
        if self.error:
            raise self.error
        self.sent.append((routing_key, message))


async def test_a_job_on_a_channel_that_closes_without_a_reason_may_have_been_accepted() -> None:
    """The client fails what is in flight with a bare Exception."""
    exchange = Exchange(Exception())
    with pytest.raises(QueueUnavailableError, match="the channel was closed") as raised:
        await JobQueue(exchange).publish(job(), urgent=True)  # type: ignore[arg-type]
    assert raised.value.unsure
    assert len(exchange.dropped) == 1


async def test_a_defect_while_publishing_is_no_unavailable_queue() -> None:
    with pytest.raises(KeyError):
        await JobQueue(Exchange(KeyError())).publish(job(), urgent=True)  # type: ignore[arg-type]


async def test_a_published_batch_is_read_by_the_consumer() -> None:
    exchange, jobs = Exchange(), [job() for _ in range(3)]
    published = metrics.JOBS_PUBLISHED._value.get()
    await JobQueue(exchange).publish_batch(jobs)  # type: ignore[arg-type]
    assert metrics.JOBS_PUBLISHED._value.get() == published + 3
    [(queue, message)] = exchange.sent
    assert queue == "probes.batches"
    case = Case(Message(message.body))
    await case.work()
    assert sorted(case.runner.done) == sorted(each.id for each in jobs)


async def test_a_job_that_is_published_again_is_marked() -> None:
    exchange, made = Exchange(), job()
    await JobQueue(exchange).publish_again(made.encode())  # type: ignore[arg-type]
    [(queue, message)] = exchange.sent
    assert (queue, message.headers[REPEATED], Job.decode(message.body)) == ("probes", "true", made)
