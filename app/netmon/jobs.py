"""Jobs in RabbitMQ: a durable quorum queue with publisher confirms and consumer acknowledgements, a dead-letter queue.

Delivery is at least once: unacknowledged jobs are redelivered, `DELIVERY_LIMIT` times at most, and then dead-lettered.
The reason is in the headers: `x-reason`, a text, if a worker dead-lettered the job; `x-first-death-reason` if RabbitMQ
did, because one worker after another was lost while processing it.
"""

import asyncio
from collections.abc import Awaitable, Callable

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError
from opentelemetry.trace import SpanKind

from netmon import metrics, tracing
from netmon.logs import logger
from netmon.models import Job
from netmon.supervision import deadline, describe, keep_up

QUEUE = "probes"
DEAD_QUEUE = "probes.dead"
MESSAGING = {"messaging.system": "rabbitmq", "messaging.destination.name": QUEUE}
DELIVERY_LIMIT = 20
"""How often RabbitMQ redelivers a job."""
REASON = "x-reason"
"""The header with the reason why a worker dead-lettered a job."""
URGENT = 5
"""The lowest of the priorities that quorum queues treat as high; two high ones are delivered for each normal one."""
PUBLISH_TIMEOUT_SECONDS = 2.0
HEARTBEAT_SECONDS = 10
"""A vanished peer is detected after two heartbeats."""

log = logger(__name__)

Handler = Callable[[Job, bool], Awaitable[None]]
"""Executes a job; the flag is set if it may have been delivered before."""


class QueueUnavailableError(Exception):
    """RabbitMQ is unavailable or did not accept the job; `unsure` if it may have accepted it nevertheless."""

    def __init__(self, reason: str, *, unsure: bool = False) -> None:
        super().__init__(reason)
        self.unsure = unsure


class Link:
    """A connection with a channel, reopened whenever either is lost."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
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
            channel.close_callbacks.add(self._on_close)
            underlay = await channel.get_underlay_channel()
            underlay.on_consumer_cancel_callbacks.add(self._on_cancel)
            await asyncio.wait_for(declare(channel), 5)
            if prepare:
                await prepare(channel)
            self._connection, self._channel = connection, channel
            log.info("connected", dependency="rabbitmq")
            raise QueueUnavailableError(await lost)
        finally:
            self._connection = self._channel = self._check_channel = None
            await _close(connection)

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
    await channel.declare_queue(
        QUEUE,
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

    async def publish(self, job: Job, *, urgent: bool = False) -> None:
        """Publish a job; returns once RabbitMQ has confirmed it, which means that it is on disk.

        Args:
            job: the job.
            urgent: whether it has priority, because a user is waiting for it.

        Raises:
            QueueUnavailableError: RabbitMQ is unavailable, rejected the job, or did not confirm it in time.
        """
        try:
            with tracing.span(f"send {QUEUE}", SpanKind.PRODUCER, MESSAGING):
                message = Message(
                    job.encode(),
                    delivery_mode=DeliveryMode.PERSISTENT,
                    content_type="application/json",
                    message_id=str(job.id),
                    priority=URGENT if urgent else 0,
                    headers=dict(tracing.carrier()),
                )
                await _publish(self._link.channel, message, QUEUE)
        except (QueueUnavailableError, TimeoutError, AMQPError, ChannelInvalidStateError, OSError) as error:
            metrics.JOB_PUBLISH_FAILURES.inc()
            unsure = not isinstance(error, QueueUnavailableError | DeliveryError)
            if unsure:
                self._link.drop(describe(error))
            raise QueueUnavailableError(describe(error), unsure=unsure) from error
        metrics.JOBS_PUBLISHED.inc()


async def _publish(channel: AbstractChannel, message: Message, queue: str) -> None:
    await deadline(
        channel.default_exchange.publish(message, routing_key=queue, mandatory=True), PUBLISH_TIMEOUT_SECONDS
    )


class JobConsumer:
    """Consumes jobs concurrently, and acknowledges each once its handler has returned."""

    def __init__(self, link: Link, handler: Handler, prefetch: int) -> None:
        self._link = link
        self._handler = handler
        self._prefetch = prefetch
        self._jobs: set[asyncio.Task[None]] = set()
        self._tag: str | None = None
        self._stopping = False

    async def run(self) -> None:
        """Consume until cancelled."""
        await self._link.run(self._consume)

    async def stop(self, timeout_seconds: float) -> None:
        """Stop consuming and finish the jobs in flight; unfinished jobs are requeued after the timeout."""
        self._stopping = True
        if self._tag is not None:
            try:
                queue = await deadline(self._link.channel.get_queue(QUEUE, ensure=False), 1)
                await deadline(queue.cancel(self._tag), 2)
            except (QueueUnavailableError, TimeoutError, AMQPError, ChannelInvalidStateError, OSError) as error:
                log.debug("cannot cancel consumer", reason=describe(error))
        if self._jobs:
            log.info("finishing jobs", jobs=len(self._jobs))
            await asyncio.wait(self._jobs, timeout=timeout_seconds)
        for job in self._jobs:
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=2)

    async def _consume(self, channel: AbstractChannel) -> None:
        if self._stopping:
            return
        await channel.set_qos(prefetch_count=self._prefetch)
        queue = await channel.get_queue(QUEUE, ensure=False)
        self._tag = await queue.consume(self._accept)

    async def _accept(self, message: AbstractIncomingMessage) -> None:
        job = asyncio.create_task(self._work(message))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _work(self, message: AbstractIncomingMessage) -> None:
        with (
            tracing.span(f"process {QUEUE}", SpanKind.CONSUMER, MESSAGING, carrier=message.headers),
            metrics.JOBS_IN_FLIGHT.track_inprogress(),
        ):
            try:
                await self._handle(message)
            except (QueueUnavailableError, TimeoutError, AMQPError, ChannelInvalidStateError, OSError) as error:
                # The channel is closed, and with it the delivery of the job: the broker redelivers it.
                log.warning("job not acknowledged", job=message.message_id, reason=describe(error))

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        try:
            job = Job.decode(message.body)
        except ValueError as error:
            metrics.JOBS_REJECTED.inc()
            await self._dead_letter(message, f"malformed: {describe(error)}")
            return
        try:
            await self._handler(job, bool(message.redelivered))
        except asyncio.CancelledError:
            await deadline(message.nack(requeue=True), 1)
            raise
        except Exception as error:
            metrics.JOBS_RETURNED.inc()
            log.exception("job failed", job=message.message_id)
            if _deliveries(message) >= DELIVERY_LIMIT:
                await self._dead_letter(message, f"failed {DELIVERY_LIMIT} times, most recently with {describe(error)}")
                return
            await asyncio.sleep(1)  # a job that always fails must not cause a busy loop
            # `reject` counts towards the delivery limit; since RabbitMQ 4.3, `nack` does not.
            await message.reject(requeue=True)
        else:
            await message.ack()

    async def _dead_letter(self, message: AbstractIncomingMessage, reason: str) -> None:
        """Move a message to the dead-letter queue; it is acknowledged once RabbitMQ has confirmed the copy."""
        log.warning("job dead-lettered", job=message.message_id, reason=reason)
        copy = Message(
            message.body,
            delivery_mode=DeliveryMode.PERSISTENT,
            content_type=message.content_type,
            message_id=message.message_id,
            headers={**message.headers, REASON: reason},
        )
        try:
            await _publish(self._link.channel, copy, DEAD_QUEUE)
        except TimeoutError as error:
            self._link.drop(describe(error))  # the message is redelivered
            raise
        await message.ack()


def _deliveries(message: AbstractIncomingMessage) -> int:
    """How often a message has been delivered, including this time."""
    before = message.headers.get("x-delivery-count", 0)
    return 1 + (before if isinstance(before, int) else 0)
