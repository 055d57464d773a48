"""Consumers of the events in Kafka: the projection of latest states into Redis, and the log of state changes."""

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
from netmon.models import Probe
from netmon.supervision import Backoff, deadline, describe, keep_up
from netmon.target_models import StateChange

PROJECTION = "latest-state"
"""The consumer group of `Projection`."""
STATE_LOG = "state-log"
"""The consumer group of `log_changes`."""

BATCH_SIZE = 500
LINGER_SECONDS = 0.02
"""The pause after a batch that was not full: few large batches cost less than many small ones."""
COMMIT_INTERVAL_SECONDS = 1.0
"""How often offsets are committed; after a crash, the events since the last commit are applied again."""

log = logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ConsumedEvent(Generic[T]):
    """A decoded event, and its span, which is active until the event is applied."""

    content: T
    active_span: tracing.ActiveSpan


class Subscription(Generic[T]):
    """Applies the events of a topic; the workers share its partitions as a consumer group.

    Offsets are committed after the events are applied, so each event is applied at least once.

    Args:
        access: connection settings of Kafka.
        topic: the topic.
        group: the consumer group.
        decode: decodes the value of an event; raises ValueError if it is malformed.
        apply: applies a batch of events; those of a target are in order.
    """

    def __init__(
        self,
        access: Access,
        topic: str,
        group: str,
        decode: Callable[[bytes], T],
        apply: Callable[[Sequence[ConsumedEvent[T]]], Awaitable[None]],
    ) -> None:
        self._access = access
        self._topic = topic
        self._group = group
        self._decode = decode
        self._apply = apply

    async def run(self) -> None:
        """Consume until cancelled, reconnecting after failures."""
        await keep_up("kafka", self._session)

    async def _session(self) -> None:
        await ensure_own_topics(self._access)
        consumer = AIOKafkaConsumer(
            self._topic,
            **self._access,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # The partitions of a killed worker are reassigned after this time.
            session_timeout_ms=10_000,
            request_timeout_ms=15_000,
        )
        await consumer.start()
        lag = asyncio.create_task(gauges.watch(lambda: self._measure_lag(consumer), self._forget_lag))
        applied: dict[TopicPartition, int] = {}
        try:
            committed = time.monotonic()
            while True:
                batch = await consumer.getmany(timeout_ms=1000, max_records=BATCH_SIZE)
                records = [record for each in batch.values() for record in each]
                if records:
                    await self._process(records)
                    applied |= {partition: each[-1].offset + 1 for partition, each in batch.items()}
                if applied and time.monotonic() - committed >= COMMIT_INTERVAL_SECONDS:
                    await _commit(consumer, applied)
                    committed = time.monotonic()
                elif records and len(records) < BATCH_SIZE:
                    await asyncio.sleep(LINGER_SECONDS)
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
        # Events that Kafka deleted before they were read are not part of the lag.
        done = [max(await consumer.committed(each) or 0, begins[each]) for each in partitions]
        lag = sum(ends.values()) - sum(done)
        metrics.CONSUMER_LAG.labels(self._group, self._topic).set(lag)

    def _forget_lag(self) -> None:
        metrics.CONSUMER_LAG.remove(self._group, self._topic)

    async def _process(self, records: Iterable[ConsumerRecord]) -> None:
        with ExitStack() as spans:
            events = []
            for record in records:
                active_span = spans.enter_context(self._span(record))
                with active_span.current():
                    try:
                        events.append(ConsumedEvent(self._decode(record.value or b""), active_span))
                    except ValueError as error:
                        reason = describe(error)
                        log.warning("malformed event skipped", topic=self._topic, offset=record.offset, reason=reason)
            if events:
                await self._apply(events)

    def _span(self, record: ConsumerRecord) -> tracing.ActiveSpan:
        carrier = {name: value.decode(errors="replace") for name, value in record.headers if value is not None}
        attributes = {"messaging.system": "kafka", "messaging.destination.name": self._topic}
        return tracing.begin(f"process {self._topic}", SpanKind.CONSUMER, attributes, carrier=carrier)


async def _commit(consumer: AIOKafkaConsumer, applied: dict[TopicPartition, int]) -> None:
    """Commit the offsets of applied events, in the partitions that are still assigned to this consumer."""
    assigned = {partition: offset for partition, offset in applied.items() if partition in consumer.assignment()}
    applied.clear()
    if assigned:
        await consumer.commit(assigned)


class Projection:
    """Projects results into the latest states of their targets; applying a result twice changes nothing."""

    def __init__(self, latest: LatestStates) -> None:
        self._latest = latest

    @staticmethod
    def decode(event: bytes) -> Probe:
        """Decode a result.

        Raises:
            ValueError: the event is not a finished probe.
        """
        try:
            return _decode_finished(event)
        except ValueError:
            metrics.PROJECTED_EVENTS.labels("unreadable").inc()
            raise

    async def apply(self, events: Sequence[ConsumedEvent[Probe]]) -> None:
        """Apply a batch of results, retrying for as long as Redis is unavailable."""
        probes = [event.content for event in events]
        backoff = Backoff("redis")
        while True:
            try:
                applied = await self._latest.put(*probes, spans=[event.active_span.span for event in events])
                break
            except (RedisError, OSError) as error:
                await backoff.failed(describe(error))
        for probe, event, is_applied in zip(probes, events, applied, strict=True):
            metrics.PROJECTED_EVENTS.labels("applied" if is_applied else "stale").inc()
            with event.active_span.current():
                log.debug("event projected", probe=str(probe.id), target=probe.target, applied=is_applied)


def _decode_finished(event: bytes) -> Probe:
    probe = Probe.decode(event)
    if probe.finished_at is None:
        raise ValueError("the probe is not finished")
    return probe


async def log_changes(events: Sequence[ConsumedEvent[StateChange]]) -> None:
    """Log and count state changes."""
    for event in events:
        with event.active_span.current():
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
