"""Events in Kafka: each finished probe, keyed by its target, and the projection that keeps the latest states."""

import asyncio
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError
from opentelemetry.trace import SpanKind
from redis import RedisError

from netmon import metrics, signals, tracing
from netmon.kafka import PARTITIONS, RESULTS, Access, ensure_topic
from netmon.latest import LatestStates
from netmon.logs import logger
from netmon.models import Probe
from netmon.supervision import Backoff, deadline, describe, keep_up

GROUP = "latest-state"
MESSAGING = {"messaging.system": "kafka", "messaging.destination.name": RESULTS}
TOPIC = {"retention.ms": str(7 * 24 * 3600 * 1000)}

log = logger(__name__)


class EventPublisher:
    """Publishes events at least once: it does not return before Kafka has acknowledged one."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._producer: asyncio.Future[AIOKafkaProducer] = asyncio.get_running_loop().create_future()
        self._failed = asyncio.Event()

    async def run(self) -> None:
        """Keep a producer up, for ever."""
        await keep_up("kafka", self._session)

    async def publish(self, probe: Probe) -> None:
        """Publish a finished probe, however long Kafka is away."""
        with tracing.span(f"send {RESULTS}", SpanKind.PRODUCER, MESSAGING):
            headers = [(name, value.encode()) for name, value in tracing.carrier().items()]
            while True:
                producer = await asyncio.shield(self._producer)
                try:
                    await producer.send_and_wait(RESULTS, probe.encode(), key=probe.target.encode(), headers=headers)
                except KafkaError as error:
                    metrics.EVENTS_UNPUBLISHED.inc()
                    log.debug("event not published, trying again", reason=describe(error))
                    self._failed.set()
                    await asyncio.sleep(0.1)
                else:
                    metrics.EVENTS_PUBLISHED.inc()
                    return

    async def _session(self) -> None:
        await ensure_topic(self._access, RESULTS, PARTITIONS, TOPIC)
        producer = AIOKafkaProducer(**self._access, acks="all", enable_idempotence=True, request_timeout_ms=5000)
        await producer.start()
        try:
            self._failed.clear()
            self._producer.set_result(producer)
            log.info("connected", dependency="kafka")
            await self._failed.wait()
        finally:
            self._producer = asyncio.get_running_loop().create_future()
            with suppress(TimeoutError, KafkaError):
                await deadline(producer.stop(), 2)


class Projection:
    """Feeds the latest states from the events; the workers share the partitions as one consumer group."""

    def __init__(self, access: Access, latest: LatestStates) -> None:
        self._access = access
        self._latest = latest

    async def run(self) -> None:
        """Consume, for ever."""
        await keep_up("kafka", self._session)

    async def _session(self) -> None:
        await ensure_topic(self._access, RESULTS, PARTITIONS, TOPIC)
        consumer = AIOKafkaConsumer(
            RESULTS,
            **self._access,
            group_id=GROUP,
            # Offsets are committed after the state is in Redis: an event is applied at least once, and applying it
            # twice changes nothing.
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # A killed worker's partitions pass to the others after this time.
            session_timeout_ms=10_000,
            request_timeout_ms=15_000,
        )
        await consumer.start()
        lag = asyncio.create_task(signals.watch(lambda: self._measure_lag(consumer), metrics.CONSUMER_LAG.clear))
        try:
            while True:
                batch = await consumer.getmany(timeout_ms=1000, max_records=500)
                for record in (record for records in batch.values() for record in records):
                    await self._apply(record)
                if batch:
                    await consumer.commit()
        finally:
            lag.cancel()
            metrics.CONSUMER_LAG.clear()
            with suppress(TimeoutError, KafkaError):
                await deadline(consumer.stop(), 2)

    async def _measure_lag(self, consumer: AIOKafkaConsumer) -> None:
        partitions = consumer.assignment()
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        # What Kafka has let go of unread, or never read by a new group, is no longer waited for.
        done = [max(await consumer.committed(each) or 0, begins[each]) for each in partitions]
        lag = sum(ends.values()) - sum(done)
        metrics.CONSUMER_LAG.labels(GROUP, RESULTS).set(lag)

    async def _apply(self, record: ConsumerRecord) -> None:
        carrier = {name: value.decode(errors="replace") for name, value in record.headers if value is not None}
        with tracing.span(f"process {RESULTS}", SpanKind.CONSUMER, MESSAGING, carrier):
            try:
                probe = _finished(record.value or b"")
            except ValueError as error:
                log.warning("unreadable event skipped", offset=record.offset, reason=describe(error))
                metrics.PROJECTED.labels("unreadable").inc()
                return
            backoff = Backoff("redis")
            while True:
                try:
                    applied = await self._latest.put(probe)
                    break
                except (RedisError, OSError) as error:
                    await backoff.failed(describe(error))
            metrics.PROJECTED.labels("applied" if applied else "stale").inc()
            log.debug("event projected", probe=str(probe.id), target=probe.target, applied=applied)


def _finished(data: bytes) -> Probe:
    probe = Probe.decode(data)
    if probe.finished_at is None:
        raise ValueError("the probe is not finished")
    return probe
