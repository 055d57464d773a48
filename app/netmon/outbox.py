"""The outbox: events that were committed with what they tell are published to Kafka, and deleted once it has them.

At least once: a relay that ends between Kafka's acknowledgement and the deletion leaves its events to the next one,
which publishes them again. One relay publishes at a time, whichever worker it is in, so the events of a target keep
the order of its results. It leads by a lock that ends with its connection: another one takes over within a second.
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
"""Key of the advisory lock of the relay that leads: "outbox" in ASCII."""
BATCH = 200
GATHER = 0.02
"""Seconds between two batches, if the first was not a full one: few large ones cost less than many small ones."""
POLL = 1.0
"""Seconds after which a relay looks again: for the lead, or for events of which it was not notified."""
PATIENCE = 5.0
"""Seconds without Kafka's acknowledgement that count as a failure; the producer goes on trying."""

log = logger(__name__)


class Event(NamedTuple):
    """What is to be published, with the headers of the trace that it belongs to."""

    topic: str
    key: str
    value: str
    headers: Mapping[str, str]


async def put(connection: Connection, events: Sequence[Event]) -> None:
    """Put events into the outbox in their order; they are published if the transaction is committed."""
    query = f"""
        WITH told AS (
            INSERT INTO outbox (topic, key, value, headers)
            SELECT topic, key, value, headers FROM jsonb_to_recordset(%s::jsonb)
            AS event (position integer, topic text, key text, value text, headers jsonb) ORDER BY position)
        SELECT pg_notify('{OUTBOX}', '')"""  # noqa: S608 - a name of this code
    rows = [{"position": position, **event._asdict()} for position, event in enumerate(events)]
    await connection.execute(query.strip(), (json.dumps(rows),))


class Relay:
    """Publishes what is in the outbox."""

    def __init__(self, database: Database, access: Access) -> None:
        self._database = database
        self._access = access

    async def run(self) -> None:
        """Publish, for ever; while Kafka or the database is away the events stay where they are."""
        await keep_up("kafka", self._session)

    async def _session(self) -> None:
        await ensure_own_topics(self._access)
        producer = AIOKafkaProducer(
            **self._access,
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=5000,
            # The producer takes all events of a batch at once, even if they are of one partition and Kafka is away.
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
        """Publish for as long as the connection to the database lasts."""
        # What the last connection left to the producer comes first, lest it overtake what others publish meanwhile.
        await producer.flush()
        with tracing.quiet():
            async with self._database.session() as connection:
                await connection.execute(f"LISTEN {OUTBOX}")
                while not await _leads(connection):
                    await asyncio.sleep(POLL)
                while True:
                    if events := await _oldest(connection):
                        await self._publish(producer, events, connection)
                        ids = [event["id"] for event in events]
                        await connection.execute("DELETE FROM outbox WHERE id = ANY(%s)", (ids,))
                        if len(events) < BATCH:
                            await asyncio.sleep(GATHER)
                    else:
                        async for _ in connection.notifies(timeout=POLL, stop_after=1):
                            pass

    async def _publish(self, producer: AIOKafkaProducer, events: Sequence[Row], connection: Connection) -> None:
        """Return once Kafka has all of the events.

        Raises:
            KafkaError: it refuses one.
            OperationalError: the connection is lost, and the lead with it.
        """
        try:
            sent = {await _send(producer, event) for event in events}
            while sent:
                done, sent = await asyncio.wait(sent, timeout=PATIENCE)
                for acknowledged in done:
                    acknowledged.result()
                if not done:
                    metrics.EVENTS_UNPUBLISHED.inc()
                    await connection.execute("SELECT 1")
        except KafkaError:
            metrics.EVENTS_UNPUBLISHED.inc()
            raise
        metrics.EVENTS_PUBLISHED.inc(len(events))


async def _leads(connection: Connection) -> bool:
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s) AS leads", (LOCK,))
    row = await cursor.fetchone()
    return bool(row and row["leads"])


async def _oldest(connection: Connection) -> list[Row]:
    query = "SELECT id, topic, key, value, headers FROM outbox ORDER BY id LIMIT %s"
    return await (await connection.execute(query, (BATCH,))).fetchall()


async def _send(producer: AIOKafkaProducer, event: Row) -> "asyncio.Future[object]":
    """Hand an event to the producer, in its own trace; the future is done once Kafka has it."""
    attributes = {"messaging.system": "kafka", "messaging.destination.name": event["topic"]}
    with tracing.span(f"send {event['topic']}", SpanKind.PRODUCER, attributes, event["headers"]):
        headers = [(name, value.encode()) for name, value in tracing.carrier().items()]
        value, key = event["value"].encode(), event["key"].encode()
        sent: asyncio.Future[object] = await producer.send(event["topic"], value, key=key, headers=headers)
    return sent
