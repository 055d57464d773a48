"""Jobs in RabbitMQ: durable quorum queues with publisher confirms, and a dead-letter queue.

A message of the queue `probes` is one job. One of `probes.batches` is up to `BATCH_LIMIT` scheduled jobs, because a
message costs as much as a probe. Consuming is `netmon.job_consumer`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import AMQPError, ChannelAccessRefused, ChannelInvalidStateError, DeliveryError
from opentelemetry.trace import SpanKind
from pamqp.common import FieldValue

from netmon import metrics, tracing
from netmon.logs import logger
from netmon.models import Job
from netmon.supervision import deadline, describe, keep_up

QUEUE = "probes"
BATCH_QUEUE = "probes.batches"
"""The queue of batches. A release without it treats batches as malformed, and does not consume them."""
DEAD_QUEUE = "probes.dead"
MESSAGING = {"messaging.system": "rabbitmq", "messaging.destination.name": QUEUE}
BATCH_LIMIT = 25
"""The maximum number of jobs in a message."""
DELIVERY_LIMIT = 20
"""How often RabbitMQ redelivers a message."""
REPEATED = "x-repeated"
"""The header of a job that may have been delivered before, in a batch."""
PUBLISH_ERRORS = (TimeoutError, AMQPError, ChannelInvalidStateError, OSError)
"""The errors of RabbitMQ's client while a message is published."""
URGENT = 5
"""The lowest of the priorities that quorum queues treat as high; two high ones are delivered for each normal one."""
PUBLISH_TIMEOUT_SECONDS = 2.0
HEARTBEAT_SECONDS = 10
"""A vanished peer is detected after two heartbeats."""

log = logger(__name__)


@contextmanager
def closing_channel() -> Iterator[None]:
    """Raise one of `PUBLISH_ERRORS` for what is in flight on a channel that closes.

    If it closes without a reason, the client fails that with a bare `Exception`.
    """
    try:
        yield
    except Exception as error:
        if type(error) is Exception:
            raise ChannelInvalidStateError("the channel was closed") from error
        raise


class QueueUnavailableError(Exception):
    """RabbitMQ is unavailable or did not accept the job; `unsure` if it may have accepted it nevertheless."""

    def __init__(self, reason: str, *, unsure: bool = False) -> None:
        super().__init__(reason)
        self.unsure = unsure


class Link:
    """A connection with a channel, reopened whenever either is lost.

    Args:
        url: the address of RabbitMQ, with the account.
        name: the name of the connection.
        batches: whether batches are published and consumed, for which there is a second channel.
    """

    def __init__(self, url: str, name: str, *, batches: bool = False) -> None:
        self._url = url
        self._name = name
        self._with_batches = batches
        self.batch_channel: AbstractChannel | None = None
        """The channel for consuming batches; None without a connection, or if RabbitMQ does not permit their queue."""
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._check_channel: AbstractChannel | None = None
        self._check_lock = asyncio.Lock()
        self._lost: asyncio.Future[str] | None = None

    @property
    def channel(self) -> AbstractChannel:
        """The open channel.

        Raises:
            QueueUnavailableError: the link is down.
        """
        if self._channel is None or self._channel.is_closed:
            raise QueueUnavailableError("not connected to RabbitMQ")
        return self._channel

    async def run(self, prepare: Callable[[AbstractChannel], Awaitable[None]] | None = None) -> None:
        """Keep the link up until cancelled; `prepare` is called with each new channel, its queues declared."""
        await keep_up("rabbitmq", lambda: self._session(prepare))

    async def check(self) -> None:
        """Raise an error unless the channel is open and RabbitMQ confirms on this connection that the queue exists."""
        await self.messages(QUEUE)

    async def messages(self, queue: str) -> int:
        """The number of ready messages in a queue.

        The query uses a separate channel, because cancelling it closes its channel; queries are serialised.

        Raises:
            QueueUnavailableError: the link is down.
        """
        async with self._check_lock:
            if self._connection is None or self.channel.is_closed:
                raise QueueUnavailableError("not connected to RabbitMQ")
            if self._check_channel is None or self._check_channel.is_closed:
                channel = self._connection.channel(publisher_confirms=False)
                await channel.initialize()
                self._check_channel = channel
            with closing_channel():
                found = await self._check_channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0

    def drop(self, reason: str) -> None:
        """Close the connection, so that a new one is opened."""
        if self._lost and not self._lost.done():
            self._lost.set_result(reason)

    async def _session(self, prepare: Callable[[AbstractChannel], Awaitable[None]] | None) -> None:
        lost = self._lost = asyncio.get_running_loop().create_future()
        connection = await aio_pika.connect(
            self._url, timeout=3, heartbeat=HEARTBEAT_SECONDS, client_properties={"connection_name": self._name}
        )
        try:
            channel = connection.channel(publisher_confirms=True, on_return_raises=True)
            await channel.initialize(timeout=3)
            await self._watch(channel)
            await asyncio.wait_for(declare(channel), 5)
            if self._with_batches:
                self.batch_channel = await _open_batches(connection)
            if self.batch_channel:
                await self._watch(self.batch_channel)
            if prepare:
                await prepare(channel)
            self._connection, self._channel = connection, channel
            log.info("connected", dependency="rabbitmq")
            raise QueueUnavailableError(await lost)
        finally:
            self._connection = self._channel = self._check_channel = self.batch_channel = None
            await _close(connection)

    async def _watch(self, channel: AbstractChannel) -> None:
        """Reopen the link once the channel is closed, or its consumer cancelled."""
        channel.close_callbacks.add(self._on_close)
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(self._on_cancel)

    def _on_close(self, _channel: object, error: BaseException | None) -> None:
        self.drop(describe(error) if error else "channel closed")

    def _on_cancel(self, _frame: object) -> None:
        self.drop("RabbitMQ cancelled the consumer")


async def _close(connection: AbstractConnection) -> None:
    try:
        await deadline(connection.close(), 1)
    except (AMQPError, OSError, RuntimeError) as error:
        log.debug("connection not closed cleanly", dependency="rabbitmq", reason=describe(error))


async def declare(channel: AbstractChannel) -> None:
    """Declare the work queue and the dead-letter queue."""
    await channel.declare_queue(DEAD_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    await _declare_work(channel, QUEUE)


async def _open_batches(connection: AbstractConnection) -> AbstractChannel | None:
    """A channel with the queue of batches; None if the account may not use it.

    The rights of the account are those of RabbitMQ's last start, which may have been before a deploy of this release.
    """
    channel = connection.channel(publisher_confirms=False)
    await channel.initialize(timeout=3)
    try:
        await asyncio.wait_for(_declare_work(channel, BATCH_QUEUE), 5)
    except ChannelAccessRefused as error:
        log.warning("queue not permitted, jobs are sent one by one", queue=BATCH_QUEUE, reason=describe(error))
        return None
    return channel


async def _declare_work(channel: AbstractChannel, queue: str) -> None:
    await channel.declare_queue(
        queue,
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": DEAD_QUEUE,
            # A job leaves this queue only once the dead-letter queue has it; requires the overflow mode below.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


class JobQueue:
    """Publishes jobs."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def takes_batches(self) -> bool:
        """Whether jobs may be published in batches at present."""
        return self._link.batch_channel is not None

    async def publish(self, job: Job, *, urgent: bool = False) -> None:
        """Publish a job; returns once RabbitMQ has confirmed it, which means that it is on disk.

        Args:
            job: the job.
            urgent: whether it has priority, because a user is waiting for it.

        Raises:
            QueueUnavailableError: RabbitMQ is unavailable, rejected the job, or did not confirm it in time.
        """
        with tracing.span(f"send {QUEUE}", SpanKind.PRODUCER, MESSAGING, carrier=job.trace_headers or None):
            message = _message(job.encode(), str(job.id), tracing.carrier(), priority=URGENT if urgent else 0)
            await self._send(message, QUEUE, jobs=1)

    async def publish_batch(self, jobs: Sequence[Job]) -> None:
        """Publish up to `BATCH_LIMIT` scheduled jobs as one message, as `publish` does: all of them, or none.

        Raises:
            QueueUnavailableError: as of `publish`.
        """
        body = b"\n".join(job.encode() for job in jobs)
        await self._send(_message(body, str(jobs[0].id), {}), BATCH_QUEUE, jobs=len(jobs))

    async def publish_again(self, job: bytes) -> None:
        """Publish an encoded job of a batch alone, as `publish` does; it may have been carried out already.

        Raises:
            QueueUnavailableError: as of `publish`.
        """
        await self._send(_message(job, None, {REPEATED: "true"}), QUEUE, jobs=0)

    async def dead_letter(self, body: bytes, message_id: str | None, headers: Mapping[str, FieldValue]) -> None:
        """Publish a message to the dead-letter queue, as `publish` does.

        Raises:
            QueueUnavailableError: as of `publish`.
        """
        await self._send(_message(body, message_id, headers), DEAD_QUEUE, jobs=0)

    async def _send(self, message: Message, queue: str, jobs: int) -> None:
        """Send a message with a number of new jobs."""
        try:
            publishing = self._link.channel.default_exchange.publish(message, routing_key=queue, mandatory=True)
            with closing_channel():
                await deadline(publishing, PUBLISH_TIMEOUT_SECONDS)
        except (QueueUnavailableError, *PUBLISH_ERRORS) as error:
            metrics.JOB_PUBLISH_FAILURES.inc(jobs)
            unsure = not isinstance(error, QueueUnavailableError | DeliveryError)
            if unsure:
                self._link.drop(describe(error))
            raise QueueUnavailableError(describe(error), unsure=unsure) from error
        metrics.JOBS_PUBLISHED.inc(jobs)


def _message(body: bytes, message_id: str | None, headers: Mapping[str, FieldValue], priority: int = 0) -> Message:
    return Message(
        body,
        delivery_mode=DeliveryMode.PERSISTENT,
        content_type="application/json",
        message_id=message_id,
        priority=priority,
        headers=dict(headers),
    )
