"""What follows from the events in Kafka: the latest states in the cache, and a log line for each change of a state."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from opentelemetry.trace import SpanKind
from redis import RedisError

from netmon import gauges, metrics, tracing
from netmon.kafka import Access, ensure_own_topics
from netmon.latest_states import LatestStates
from netmon.logs import logger
from netmon.models import Probe, StateChange
from netmon.supervision import Backoff, deadline, describe, keep_up

PROJECTION = "latest-state"
STATE_LOG = "state-log"
"""Consumer groups."""

BATCH = 500
GATHER = 0.02
"""Seconds between two batches, if the first was not a full one: few large ones cost less than many small ones."""
COMMIT_EVERY = 1.0
"""Seconds: so much is applied again after a worker is lost."""

log = logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """What an event says, and the span that is open until it is applied."""

    content: T
    opened: tracing.Open


class Subscription(Generic[T]):
    """Has the events of a topic applied; the workers share the partitions as one consumer group.

    Offsets are committed once the events are applied: each is applied at least once.

    Args:
        access: how Kafka is reached.
        topic: where the events are.
        group: the consumer group.
        read: what an event says; raises ValueError if it is none of this topic.
        apply: applies events, those of one target in their order.
    """

    def __init__(
        self,
        access: Access,
        topic: str,
        group: str,
        read: Callable[[bytes], T],
        apply: Callable[[Sequence[Event[T]]], Awaitable[None]],
    ) -> None:
        self._access = access
        self._topic = topic
        self._group = group
        self._read = read
        self._apply = apply

    async def run(self) -> None:
        """Consume, for ever."""
        await keep_up("kafka", self._session)

    async def _session(self) -> None:
        await ensure_own_topics(self._access)
        consumer = AIOKafkaConsumer(
            self._topic,
            **self._access,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # A killed worker's partitions pass to the others after this time.
            session_timeout_ms=10_000,
            request_timeout_ms=15_000,
        )
        await consumer.start()
        lag = asyncio.create_task(gauges.watch(lambda: self._measure_lag(consumer), self._forget_lag))
        applied: dict[TopicPartition, int] = {}
        try:
            committed = time.monotonic()
            while True:
                batch = await consumer.getmany(timeout_ms=1000, max_records=BATCH)
                records = [record for each in batch.values() for record in each]
                if records:
                    await self._process(records)
                    applied |= {partition: each[-1].offset + 1 for partition, each in batch.items()}
                if applied and time.monotonic() - committed >= COMMIT_EVERY:
                    await _commit(consumer, applied)
                    committed = time.monotonic()
                elif records and len(records) < BATCH:
                    await asyncio.sleep(GATHER)
        finally:
            lag.cancel()
            self._forget_lag()
            with suppress(TimeoutError, KafkaError):
                await deadline(_commit(consumer, applied), 1)
            with suppress(TimeoutError, KafkaError):
                await deadline(consumer.stop(), 2)

    async def _measure_lag(self, consumer: AIOKafkaConsumer) -> None:
        partitions = consumer.assignment()
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        # What Kafka has let go of unread, or never read by a new group, is no longer waited for.
        done = [max(await consumer.committed(each) or 0, begins[each]) for each in partitions]
        lag = sum(ends.values()) - sum(done)
        metrics.CONSUMER_LAG.labels(self._group, self._topic).set(lag)

    def _forget_lag(self) -> None:
        metrics.CONSUMER_LAG.remove(self._group, self._topic)

    async def _process(self, records: Iterable[ConsumerRecord]) -> None:
        with ExitStack() as spans:
            events = []
            for record in records:
                opened = spans.enter_context(self._span(record))
                with opened.current():
                    try:
                        events.append(Event(self._read(record.value or b""), opened))
                    except ValueError as error:
                        reason = describe(error)
                        log.warning("unreadable event skipped", topic=self._topic, offset=record.offset, reason=reason)
            if events:
                await self._apply(events)

    def _span(self, record: ConsumerRecord) -> tracing.Open:
        carrier = {name: value.decode(errors="replace") for name, value in record.headers if value is not None}
        attributes = {"messaging.system": "kafka", "messaging.destination.name": self._topic}
        return tracing.begin(f"process {self._topic}", SpanKind.CONSUMER, attributes, carrier=carrier)


async def _commit(consumer: AIOKafkaConsumer, applied: dict[TopicPartition, int]) -> None:
    """Commit how far events are applied, in the partitions that are still this consumer's."""
    mine = {partition: offset for partition, offset in applied.items() if partition in consumer.assignment()}
    applied.clear()
    if mine:
        await consumer.commit(mine)


class Projection:
    """Makes results the latest states of their targets; applying one twice changes nothing."""

    def __init__(self, latest: LatestStates) -> None:
        self._latest = latest

    @staticmethod
    def read(event: bytes) -> Probe:
        """The result that an event tells.

        Raises:
            ValueError: the event is no finished probe.
        """
        try:
            return _finished(event)
        except ValueError:
            metrics.PROJECTED.labels("unreadable").inc()
            raise

    async def apply(self, events: Sequence[Event[Probe]]) -> None:
        """Apply results at once, however long Redis is away."""
        probes = [event.content for event in events]
        backoff = Backoff("redis")
        while True:
            try:
                applied = await self._latest.put(*probes, spans=[event.opened.span for event in events])
                break
            except (RedisError, OSError) as error:
                await backoff.failed(describe(error))
        for probe, event, is_applied in zip(probes, events, applied, strict=True):
            metrics.PROJECTED.labels("applied" if is_applied else "stale").inc()
            with event.opened.current():
                log.debug("event projected", probe=str(probe.id), target=probe.target, applied=is_applied)


def _finished(event: bytes) -> Probe:
    probe = Probe.decode(event)
    if probe.finished_at is None:
        raise ValueError("the probe is not finished")
    return probe


async def log_changes(events: Sequence[Event[StateChange]]) -> None:
    """Write changes of state into the log, and count them."""
    for event in events:
        with event.opened.current():
            _log(event.content)


def _log(change: StateChange) -> None:
    metrics.STATE_CHANGES.labels(change.state).inc()
    write = log.warning if change.state in ("down", "degraded") else log.info
    write(
        "state changed",
        target=str(change.target),
        target_name=change.name,
        previous=change.previous,
        state=change.state,
        probe=change.probe and str(change.probe),
        cause=change.cause,
        detail=change.detail,
    )
