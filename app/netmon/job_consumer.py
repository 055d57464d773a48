"""Consumes jobs from RabbitMQ (`netmon.jobs`), and acknowledges a message once each of its jobs is done.

Delivery is at least once: unacknowledged messages are redelivered, `DELIVERY_LIMIT` times at most, and then
dead-lettered. The reason is in the headers: `x-reason`, a text, if a worker dead-lettered the job;
`x-first-death-reason` if RabbitMQ did. The probe of a dead-lettered job ends as failed.

A batch is run once. Its remaining jobs are then published as messages of one job each, before the batch is
acknowledged: a job that failed, the jobs that a stopping worker has not finished, and, if the batch is redelivered
because a worker was lost, its jobs without a result. A job that fails, or that loses its worker, thus harms no other.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from opentelemetry.trace import SpanKind

from netmon import metrics, tracing
from netmon.jobs import (
    BATCH_QUEUE,
    DELIVERY_LIMIT,
    MESSAGING,
    PUBLISH_ERRORS,
    QUEUE,
    REPEATED,
    URGENT,
    JobQueue,
    Link,
    QueueUnavailableError,
    closing_channel,
)
from netmon.logs import logger
from netmon.models import Job
from netmon.supervision import deadline, describe

REASON = "x-reason"
"""The header with the reason why a worker dead-lettered a job."""
PREFETCHED_BATCHES = 64
"""Batches that are prefetched: some are held up by one slow probe, and the rest of a backlog is for other workers."""
RETURN_DELAY_SECONDS = 1.0
"""The pause before a failed message is requeued: one that always fails must not cause a busy loop."""
PACE_SECONDS = 0.005
"""The time from the start of one job in a batch to the next: at the same time, they would measure each other."""
MAX_DELAY_SECONDS = 0.25
"""How much later a job may start for this reason: with more jobs than this allows, their slots are the limit."""

_BATCHES = {**MESSAGING, "messaging.destination.name": BATCH_QUEUE}

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A job as it is delivered."""

    job: Job
    repeated: bool = False
    """Whether it may have been delivered before."""
    urgent: bool = False
    """Whether a user waits for its result."""


class JobHandler(Protocol):
    """Executes jobs."""

    async def run(self, delivery: Delivery) -> None:
        """Execute a job; returns once it is done."""

    async def finished(self, probes: Collection[UUID]) -> set[UUID]:
        """Those of these probes that have a result already."""

    async def abandon(self, probe: UUID, reason: str) -> None:
        """End a probe as failed, because its job is dead-lettered; raises no error."""


class JobConsumer:
    """Executes jobs concurrently.

    Args:
        link: the connection.
        jobs: publishes the remaining jobs of a batch, and dead-lettered ones.
        handler: executes the jobs.
        prefetch: the maximum number of unacknowledged messages of one job each.
    """

    def __init__(self, link: Link, jobs: JobQueue, handler: JobHandler, prefetch: int) -> None:
        self._link = link
        self._jobs = jobs
        self._handler = handler
        self._prefetch = prefetch
        self._messages: set[asyncio.Task[None]] = set()
        self._cancel: list[Callable[[], Awaitable[object]]] = []
        self._stopping = False
        self._next_start = 0.0
        """When the last job in a batch starts, by the clock of the event loop."""

    async def run(self) -> None:
        """Consume until cancelled."""
        await self._link.run(self._consume)

    async def stop(self, timeout_seconds: float) -> None:
        """Stop consuming and finish the jobs in flight; unfinished jobs are requeued after the timeout."""
        self._stopping = True
        for cancel in self._cancel:
            try:
                await deadline(cancel(), 2)
            except PUBLISH_ERRORS as error:
                log.debug("cannot cancel consumer", reason=describe(error))
        if self._messages:
            log.info("finishing jobs", messages=len(self._messages))
            await asyncio.wait(self._messages, timeout=timeout_seconds)
        for message in self._messages:
            message.cancel()
        if self._messages:
            await asyncio.wait(self._messages, timeout=2)

    async def _consume(self, channel: AbstractChannel) -> None:
        self._cancel = []
        if self._stopping:
            return
        await self._consume_queue(channel, QUEUE, self._prefetch, self._work)
        if self._link.batch_channel:
            await self._consume_queue(self._link.batch_channel, BATCH_QUEUE, PREFETCHED_BATCHES, self._work_batch)

    async def _consume_queue(
        self,
        channel: AbstractChannel,
        name: str,
        prefetch: int,
        work: Callable[[AbstractIncomingMessage], Awaitable[None]],
    ) -> None:
        async def accept(message: AbstractIncomingMessage) -> None:
            task = asyncio.create_task(self._until_unavailable(message, work))
            self._messages.add(task)
            task.add_done_callback(self._messages.discard)

        await channel.set_qos(prefetch_count=prefetch)
        queue = await channel.get_queue(name, ensure=False)
        tag = await queue.consume(accept)
        self._cancel.append(lambda: queue.cancel(tag))

    async def _until_unavailable(
        self, message: AbstractIncomingMessage, work: Callable[[AbstractIncomingMessage], Awaitable[None]]
    ) -> None:
        try:
            with closing_channel():
                await work(message)
        except (QueueUnavailableError, *PUBLISH_ERRORS) as error:
            # The channel is closed, and with it the delivery: the broker redelivers the message.
            log.warning("job not acknowledged", job=message.message_id, reason=describe(error))

    async def _work(self, message: AbstractIncomingMessage) -> None:
        try:
            job = Job.decode(message.body)
        except ValueError as error:
            await self._reject(message, error)
            return
        carrier = {**job.trace_headers, **message.headers}
        with (
            tracing.span(f"process {QUEUE}", SpanKind.CONSUMER, MESSAGING, carrier=carrier),
            metrics.JOBS_IN_FLIGHT.track_inprogress(),
        ):
            await self._work_single(message, job)

    async def _work_single(self, message: AbstractIncomingMessage, job: Job) -> None:
        if _deliveries(message) > DELIVERY_LIMIT:
            # One more than a worker has to fail: the last one was lost, and RabbitMQ would dead-letter it next.
            reason = f"delivered {DELIVERY_LIMIT} times, and most recently its worker was lost"
            await self._dead_letter(message, reason, job.id)
            return
        repeated = bool(message.redelivered) or REPEATED in message.headers
        try:
            await self._handler.run(Delivery(job, repeated, urgent=_is_urgent(message)))
        except asyncio.CancelledError:
            await deadline(message.nack(requeue=True), 1)
            raise
        except Exception as error:
            self._note_failure(job)
            if _deliveries(message) >= DELIVERY_LIMIT:
                reason = f"failed {DELIVERY_LIMIT} times, most recently with {describe(error)}"
                await self._dead_letter(message, reason, job.id)
            else:
                await _return(message)
        else:
            await message.ack()

    async def _reject(self, message: AbstractIncomingMessage, error: ValueError) -> None:
        metrics.JOBS_REJECTED.inc()
        await self._dead_letter(message, f"malformed: {describe(error)}", _claimed_id(message.body))

    async def _dead_letter(self, message: AbstractIncomingMessage, reason: str, probe: UUID | None) -> None:
        """Move a message to the dead-letter queue; it is acknowledged once RabbitMQ has confirmed the copy.

        If a user waits for its probe, that ends as failed. A scheduled one stays queued for now, so that a job that
        always fails, or ends its worker, is not scheduled again at once (`netmon.scheduler`).
        """
        log.warning("job dead-lettered", job=message.message_id, reason=reason)
        if probe and _is_urgent(message):
            await self._handler.abandon(probe, reason)
        await self._jobs.dead_letter(message.body, message.message_id, {**message.headers, REASON: reason})
        await message.ack()

    async def _work_batch(self, message: AbstractIncomingMessage) -> None:
        jobs = message.body.split(b"\n")
        left = set(jobs)
        try:
            if message.redelivered:
                await self._separate(left)
            else:
                await _all(self._work_later(self._delay(), each, left) for each in jobs)
        except asyncio.CancelledError:
            try:
                await deadline(self._separate(left), 1)
                await message.ack()
            except (QueueUnavailableError, *PUBLISH_ERRORS):
                await deadline(message.nack(requeue=True), 1)
            raise
        except Exception as error:
            log.warning("batch returned", jobs=len(left), reason=describe(error))
            await _return(message)
        else:
            await message.ack()

    def _delay(self) -> float:
        """Seconds until the next job in a batch starts, of all batches."""
        now = asyncio.get_running_loop().time()
        self._next_start = min(max(self._next_start + PACE_SECONDS, now), now + MAX_DELAY_SECONDS)
        return self._next_start - now

    async def _work_later(self, delay: float, encoded: bytes, left: set[bytes]) -> None:
        await asyncio.sleep(delay)
        await self._work_one(encoded, left)

    async def _work_one(self, encoded: bytes, left: set[bytes]) -> None:
        """Execute a job of a batch, which is then no longer left."""
        try:
            job = Job.decode(encoded)
        except ValueError as error:
            await self._reject_one(encoded, error)
        else:
            with (
                tracing.span(f"process {BATCH_QUEUE}", SpanKind.CONSUMER, _BATCHES, carrier=job.trace_headers),
                metrics.JOBS_IN_FLIGHT.track_inprogress(),
            ):
                try:
                    await self._handler.run(Delivery(job))
                except Exception:
                    self._note_failure(job)
                    await self._jobs.publish_again(encoded)
        left.discard(encoded)

    async def _reject_one(self, encoded: bytes, error: ValueError) -> None:
        metrics.JOBS_REJECTED.inc()
        reason = f"malformed: {describe(error)}"
        log.warning("job dead-lettered", job=None, reason=reason)
        await self._jobs.dead_letter(encoded, None, {REASON: reason})

    async def _separate(self, left: set[bytes]) -> None:
        """Publish the jobs of a batch that have no result as messages of one job each."""
        jobs: dict[bytes, UUID | None] = {encoded: _id_of(encoded) for encoded in left}
        finished = await self._handler.finished([job for job in jobs.values() if job])
        remaining = [encoded for encoded, job in jobs.items() if job not in finished]
        log.info("batch separated", jobs=len(jobs), remaining=len(remaining))
        await _all(map(self._jobs.publish_again, remaining))

    def _note_failure(self, job: Job) -> None:
        metrics.JOBS_RETURNED.inc()
        log.exception("job failed", job=str(job.id))


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Wait for all of it, also after one has failed; then raise the first error."""
    outcomes: Sequence[BaseException | None] = await asyncio.gather(*work, return_exceptions=True)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome


async def _return(message: AbstractIncomingMessage) -> None:
    """Requeue a message that failed."""
    await asyncio.sleep(RETURN_DELAY_SECONDS)
    # `reject` counts towards the delivery limit; since RabbitMQ 4.3, `nack` does not.
    await message.reject(requeue=True)


def _id_of(encoded: bytes) -> UUID | None:
    """The probe of an encoded job; None if it is malformed, which is for its own message to find out."""
    try:
        return Job.decode(encoded).id
    except ValueError:
        return None


def _claimed_id(encoded: bytes) -> UUID | None:
    """The probe of a malformed job, such as one of a later release; None if it names none."""
    try:
        return UUID(json.loads(encoded)["id"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _is_urgent(message: AbstractIncomingMessage) -> bool:
    """Whether a user waits for the job."""
    return (message.priority or 0) >= URGENT


def _deliveries(message: AbstractIncomingMessage) -> int:
    """How often a message has been delivered, including this time."""
    before = message.headers.get("x-delivery-count", 0)
    return 1 + (before if isinstance(before, int) else 0)
