"""The scheduler: publishes jobs for targets that are due. Every worker runs one; the first to claim a target gets it.

Due times follow the clock of the database. The transaction that advances the due time of a target also stores the
probe, after RabbitMQ has confirmed the job: while either is unavailable the target stays due, and is probed once when
both are back. If the commit fails after the confirm, one probe too many is executed.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from datetime import timedelta

from netmon import metrics, tracing
from netmon.database import UNAVAILABLE_ERRORS, Connection, Database, Row, queue
from netmon.jobs import JobQueue, QueueUnavailableError
from netmon.kinds import KINDS
from netmon.logs import logger
from netmon.models import Job, Plan, Probe
from netmon.schedule import grid_origin, next_due
from netmon.supervision import Backoff, deadline, describe

BATCH_SIZE = 100
TIMEOUT_SECONDS = 6.0
"""Timeout of a batch: its statements and its confirms, which are awaited concurrently."""
MAX_SLEEP_SECONDS = 1.0
"""The maximum delay until a target that was added or changed is noticed."""
CLOCK_CHECK_SECONDS = 10.0
"""How often due times are checked against a clock that was set back: this reads every target."""
MIN_SLEEP_SECONDS = 0.05
"""The minimum sleep: targets that are due but were not claimed are locked by another scheduler."""
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
        self._stopping = False
        self._busy = asyncio.Lock()

    async def run(self) -> None:
        """Schedule until stopped, retrying while the database or the queue is unavailable."""
        database, rabbitmq = Backoff("database"), Backoff("rabbitmq")
        while not self._stopping:
            try:
                with tracing.untraced():
                    async with self._busy:
                        claimed = await deadline(self._schedule_batch(), TIMEOUT_SECONDS)
                    await asyncio.sleep(0 if claimed == BATCH_SIZE else await self._until_next())
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
        async with self._database.transaction() as connection:
            if time.monotonic() - self._clock_checked_at > CLOCK_CHECK_SECONDS:
                await _follow_clock(connection)
                self._clock_checked_at = time.monotonic()
            due = await _claim(connection)
            outcomes = await asyncio.gather(*map(self._request, due), return_exceptions=True)
            failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            # In the order in which results are stored, to avoid deadlocks.
            probes = sorted((each for each in outcomes if isinstance(each, Probe)), key=lambda probe: probe.id)
            await queue(connection, probes)
            settled = zip(due, outcomes, strict=True)
            await _advance(connection, [row for row, outcome in settled if not isinstance(outcome, BaseException)])
        metrics.PROBES_SCHEDULED.inc(len(probes))
        if failures:
            raise failures[0]
        return len(due)

    async def _request(self, target: Row) -> Probe | None:
        """Publish the job of a target; None if the target is skipped this time, or reports itself."""
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
            job = Job.of(plan, str(target["id"]), tracing.ids().get("trace_id"), target["generation"])
            await self._jobs.publish(job)
        return job.probe

    async def _until_next(self) -> float:
        """Seconds until the next target is due, between MIN_SLEEP_SECONDS and MAX_SLEEP_SECONDS."""
        row = await self._database.one(
            "SELECT extract(epoch FROM min(due_at) - now()) AS seconds FROM targets WHERE enabled", ()
        )
        seconds = float(row["seconds"]) if row and row["seconds"] is not None else MAX_SLEEP_SECONDS
        return min(max(seconds, MIN_SLEEP_SECONDS), MAX_SLEEP_SECONDS)


async def _claim(connection: Connection) -> list[Row]:
    """Lock targets that are due and not locked by another scheduler."""
    query = f"""
        SELECT id, {", ".join(Plan.model_fields)}, interval_seconds, now() AS now,
            EXISTS (
                SELECT FROM probes
                WHERE probes.target = targets.id::text AND status = 'queued'
                    AND requested_at BETWEEN now() - %(lost)s AND now() + %(lost)s
            ) AS is_running,
            (SELECT generation FROM standings WHERE standings.target = targets.id) AS generation
        FROM targets
        WHERE enabled AND due_at <= now()
        ORDER BY due_at LIMIT %(batch)s FOR NO KEY UPDATE SKIP LOCKED"""  # noqa: S608 - the names are this code's own
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
