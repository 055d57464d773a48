"""The transactional outbox: events are committed with the data they report, then published to Kafka and deleted.

Delivery is at least once: if a relay stops between the acknowledgement of Kafka and the deletion, the next relay
publishes the events again. Only one relay, in any of the workers, publishes at a time, so that the events of a target
keep the order of its results. The leader holds an advisory lock that is released with its connection; another relay
takes over within a second.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from opentelemetry.trace import SpanKind
from psycopg import OperationalError

from netmon import metrics, tracing
from netmon.database import OUTBOX, Connection, Database, Row
from netmon.kafka import Access, ensure_own_topics
from netmon.logs import logger
from netmon.supervision import Backoff, deadline, describe, keep_up

LOCK = 0x6F7574626F78
"""Key of the advisory lock of the leading relay: "outbox" in ASCII."""
BATCH_SIZE = 200
LINGER_SECONDS = 0.02
"""The pause after a batch that was not full: few large batches cost less than many small ones."""
POLL_SECONDS = 1.0
"""How often a relay tries to become the leader, and polls for events in case a notification was lost."""
ACK_TIMEOUT_SECONDS = 5.0
"""Time without an acknowledgement from Kafka that counts as a failure; the producer continues to retry."""

log = logger(__name__)


class OutboxEvent(NamedTuple):
    """An event to be published, with its trace context as headers."""

    topic: str
    key: str
    value: str
    headers: Mapping[str, str]


async def put(connection: Connection, events: Sequence[OutboxEvent]) -> None:
    """Insert events into the outbox, in order; they are published once the transaction is committed."""
    query = f"""
        WITH inserted AS (
            INSERT INTO outbox (topic, key, value, headers)
            SELECT topic, key, value, headers FROM jsonb_to_recordset(%s::jsonb)
            AS event (position integer, topic text, key text, value text, headers jsonb) ORDER BY position)
        SELECT pg_notify('{OUTBOX}', '')"""  # noqa: S608 - a name of this code
    rows = [{"position": position, **event._asdict()} for position, event in enumerate(events)]
    await connection.execute(query.strip(), (json.dumps(rows),))


class Relay:
    """Publishes the events in the outbox."""

    def __init__(self, database: Database, access: Access) -> None:
        self._database = database
        self._access = access

    async def run(self) -> None:
        """Publish until cancelled; events stay in the outbox while Kafka or the database is unavailable."""
        await keep_up("kafka", self._session)

    async def _session(self) -> None:
        await ensure_own_topics(self._access)
        producer = AIOKafkaProducer(
            **self._access,
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=5000,
            # The results of a batch are alike: a quarter of the size on disk and in memory.
            compression_type="gzip",
            # The producer must buffer a whole batch, even if its events are in one partition and Kafka is unavailable.
            max_batch_size=1_000_000,
        )
        await producer.start()
        try:
            log.info("connected", dependency="kafka")
            backoff = Backoff("database")
            while True:
                try:
                    await self._lead(producer)
                except (OperationalError, OSError) as error:
                    await backoff.failed(describe(error))
        finally:
            with suppress(TimeoutError, KafkaError):
                await deadline(producer.stop(), 2)

    async def _lead(self, producer: AIOKafkaProducer) -> None:
        """Become the leader and publish, for as long as the database connection lasts."""
        # Flush events from the previous connection first: they must not be reordered with those that others publish.
        await producer.flush()
        with tracing.untraced():
            async with self._database.session() as connection:
                await connection.execute(f"LISTEN {OUTBOX}")
                while not await _leads(connection):
                    await asyncio.sleep(POLL_SECONDS)
                while True:
                    if events := await _oldest(connection):
                        await self._publish(producer, events, connection)
                        ids = [event["id"] for event in events]
                        await connection.execute("DELETE FROM outbox WHERE id = ANY(%s)", (ids,))
                        if len(events) < BATCH_SIZE:
                            await asyncio.sleep(LINGER_SECONDS)
                    else:
                        async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                            pass

    async def _publish(self, producer: AIOKafkaProducer, events: Sequence[Row], connection: Connection) -> None:
        """Publish events, and return once Kafka has acknowledged all of them.

        Raises:
            KafkaError: Kafka rejected an event.
            OperationalError: the database connection is lost, and with it the leadership.
        """
        try:
            sent = {await _send(producer, event) for event in events}
            while sent:
                done, sent = await asyncio.wait(sent, timeout=ACK_TIMEOUT_SECONDS)
                for acknowledged in done:
                    acknowledged.result()
                if not done:
                    metrics.EVENT_PUBLISH_FAILURES.inc()
                    await connection.execute("SELECT 1")
        except KafkaError:
            metrics.EVENT_PUBLISH_FAILURES.inc()
            raise
        metrics.EVENTS_PUBLISHED.inc(len(events))


async def _leads(connection: Connection) -> bool:
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s) AS leads", (LOCK,))
    row = await cursor.fetchone()
    return bool(row and row["leads"])


async def _oldest(connection: Connection) -> list[Row]:
    query = "SELECT id, topic, key, value, headers FROM outbox ORDER BY id LIMIT %s"
    return await (await connection.execute(query, (BATCH_SIZE,))).fetchall()


async def _send(producer: AIOKafkaProducer, event: Row) -> "asyncio.Future[object]":
    """Pass an event to the producer, in its own trace; the future is done once Kafka has acknowledged it."""
    attributes = {"messaging.system": "kafka", "messaging.destination.name": event["topic"]}
    with tracing.span(f"send {event['topic']}", SpanKind.PRODUCER, attributes, event["headers"]):
        headers = [(name, value.encode()) for name, value in tracing.carrier().items()]
        value, key = event["value"].encode(), event["key"].encode()
        sent: asyncio.Future[object] = await producer.send(event["topic"], value, key=key, headers=headers)
    return sent
