"""The scheduler: publishes jobs for targets that are due. Every worker runs one; the first to claim a target gets it.

Due times follow the clock of the database. The transaction that advances the due time of a target also stores the
probe, after RabbitMQ has confirmed the job: while either is unavailable the target stays due, and is probed once when
both are back. If the commit fails after the confirm, one probe too many is executed.

Targets that have become due within 0.4 s are claimed together, and those that are up share messages:
their probes are expected to end soon. Those of other targets may take their whole timeout, and have messages of their
own.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import UUID

from netmon import metrics, tracing
from netmon.database import UNAVAILABLE_ERRORS, Connection, Database, Row, queue
from netmon.jobs import BATCH_LIMIT, JobQueue, QueueUnavailableError
from netmon.kinds import KINDS
from netmon.logs import logger
from netmon.models import Job, Plan
from netmon.schedule import grid_origin, next_due
from netmon.supervision import Backoff, deadline, describe

BATCH_SIZE = 100
TIMEOUT_SECONDS = 6.0
"""Timeout of a batch: its statements and its confirms, which are awaited concurrently."""
MAX_SLEEP_SECONDS = 1.0
"""The maximum delay until a target that was added or changed is noticed."""
CLOCK_CHECK_SECONDS = 10.0
"""How often due times are checked against a clock that was set back: this reads every target."""
PERIOD_SECONDS = 0.4
"""The minimum time from one claim to the next, and thus how late a probe may be: a claim of many targets costs little
more than one of few."""
MIN_SLEEP_SECONDS = 0.05
"""The minimum sleep after a claim that took longer than that."""
LOST_AFTER = timedelta(minutes=10)
"""A queued probe counts as running until this age, then as lost: six attempts of 60 s take less. One that was requested
as far in the future, by a clock that was set back since, counts as lost too."""

log = logger(__name__)


class Scheduler:
    """Publishes jobs for targets that are due.

    Args:
        database: has the targets and stores the probes.
        jobs: publishes the jobs.
    """

    def __init__(self, database: Database, jobs: JobQueue) -> None:
        self._database = database
        self._jobs = jobs
        self._clock_checked_at = -math.inf
        self._next_in_seconds = 0.0
        """When the next target is due, as of the last batch."""
        self._stopping = False
        self._busy = asyncio.Lock()

    async def run(self) -> None:
        """Schedule until stopped, retrying while the database or the queue is unavailable."""
        database, rabbitmq = Backoff("database"), Backoff("rabbitmq")
        while not self._stopping:
            try:
                with tracing.untraced():
                    began = time.monotonic()
                    async with self._busy:
                        claimed = await deadline(self._schedule_batch(), TIMEOUT_SECONDS)
                    await asyncio.sleep(0 if claimed == BATCH_SIZE else self._pause(time.monotonic() - began))
            except QueueUnavailableError as error:
                await rabbitmq.failed(describe(error))
            except UNAVAILABLE_ERRORS as error:
                await database.failed(describe(error))

    async def stop(self) -> None:
        """Stop scheduling; returns once the current batch is done."""
        self._stopping = True
        async with self._busy:
            pass

    async def _schedule_batch(self) -> int:
        """Schedule the most overdue targets; returns their number.

        Raises:
            QueueUnavailableError: RabbitMQ did not accept some of the jobs; their targets stay due.
        """
        async with self._database.pipeline() as connection:
            if time.monotonic() - self._clock_checked_at > CLOCK_CHECK_SECONDS:
                await _follow_clock(connection)
                self._clock_checked_at = time.monotonic()
            due = await _claim(connection)
            jobs = {row["id"]: self._job(row) for row in due}
            failures = await self._publish([(row, job) for row in due if (job := jobs[row["id"]])])
            # In the order in which results are stored, to avoid deadlocks.
            published = (job for target, job in jobs.items() if job and target not in failures)
            probes = sorted((job.probe for job in published), key=lambda probe: probe.id)
            await queue(connection, probes)
            await _advance(connection, [row for row in due if row["id"] not in failures])
            self._next_in_seconds = await _until_next(connection)
        metrics.PROBES_SCHEDULED.inc(len(probes))
        if failures:
            raise next(iter(failures.values()))
        return len(due)

    def _job(self, target: Row) -> Job | None:
        """The job of a target; None if the target is skipped this time, or reports itself."""
        if target["is_running"]:
            metrics.PROBES_SKIPPED.inc()
            return None
        try:
            plan = Plan(**{name: target[name] for name in Plan.model_fields})
        except ValueError as error:
            log.warning("target cannot be probed", target=str(target["id"]), reason=describe(error))
            return None
        if KINDS[plan.spec.kind].prober is None:
            return None
        with tracing.span("schedule", carrier={}):
            trace = tracing.carrier()
            trace_id = tracing.ids().get("trace_id")
        return Job.of(plan, str(target["id"]), trace_id, target["generation"], trace.get("traceparent"))

    async def _publish(self, jobs: Sequence[tuple[Row, Job]]) -> dict[UUID, BaseException]:
        """Publish the jobs of targets; returns the errors of those that RabbitMQ did not accept, by target."""
        messages = list(_messages(jobs, batches=self._jobs.takes_batches))
        outcomes = await asyncio.gather(*map(self._send, messages), return_exceptions=True)
        return {
            target["id"]: outcome
            for message, outcome in zip(messages, outcomes, strict=True)
            if outcome is not None
            for target, _ in message
        }

    async def _send(self, message: Sequence[tuple[Row, Job]]) -> None:
        jobs = [job for _, job in message]
        if len(jobs) > 1:
            await self._jobs.publish_batch(jobs)
        else:
            await self._jobs.publish(jobs[0])

    def _pause(self, elapsed: float) -> float:
        """Seconds until the next target is due, but not before the end of the period, `elapsed` of which has passed."""
        return min(max(self._next_in_seconds, PERIOD_SECONDS - elapsed, MIN_SLEEP_SECONDS), MAX_SLEEP_SECONDS)


def _messages(jobs: Sequence[tuple[Row, Job]], *, batches: bool) -> Iterator[Sequence[tuple[Row, Job]]]:
    """The jobs of each message."""
    quick = [each for each in jobs if batches and each[0]["is_up"]]
    for first in range(0, len(quick), BATCH_LIMIT):
        yield quick[first : first + BATCH_LIMIT]
    for each in jobs:
        if not (batches and each[0]["is_up"]):
            yield [each]


async def _until_next(connection: Connection) -> float:
    """Seconds until the next target is due; negative if it has been due for some time."""
    query = "SELECT extract(epoch FROM min(due_at) - clock_timestamp()) AS seconds FROM targets WHERE enabled"
    row = await (await connection.execute(query)).fetchone()
    return float(row["seconds"]) if row and row["seconds"] is not None else MAX_SLEEP_SECONDS


async def _claim(connection: Connection) -> list[Row]:
    """Lock targets that are due and not locked by another scheduler."""
    query = f"""
        SELECT id, {", ".join(Plan.model_fields)}, interval_seconds, now() AS now,
            EXISTS (
                SELECT FROM probes
                WHERE probes.target = targets.id::text AND status = 'queued'
                    AND requested_at BETWEEN now() - %(lost)s AND now() + %(lost)s
            ) AS is_running,
            generation, state = 'up' AS is_up
        FROM targets LEFT JOIN standings ON standings.target = targets.id
        WHERE enabled AND due_at <= now()
        ORDER BY due_at LIMIT %(batch)s FOR NO KEY UPDATE OF targets SKIP LOCKED"""  # noqa: S608 - the names are this code's own
    return await (await connection.execute(query.strip(), {"lost": LOST_AFTER, "batch": BATCH_SIZE})).fetchall()


async def _follow_clock(connection: Connection) -> None:
    """Make targets due whose due time is further away than their interval: the clock was set back."""
    query = """
        UPDATE targets SET due_at = now() WHERE id IN (
            SELECT id FROM targets WHERE enabled AND due_at > now() + make_interval(secs => interval_seconds)
            FOR NO KEY UPDATE SKIP LOCKED)"""
    await connection.execute(query.strip())


async def _advance(connection: Connection, targets: Sequence[Row]) -> None:
    """Set the next due times of targets."""
    query = """
        UPDATE targets SET due_at = next.due_at FROM unnest(%s::uuid[], %s::timestamptz[]) AS next (id, due_at)
        WHERE targets.id = next.id"""
    due = [
        next_due(grid_origin(target["id"]), timedelta(seconds=target["interval_seconds"]), target["now"])
        for target in targets
    ]
    await connection.execute(query.strip(), ([target["id"] for target in targets], due))
