"""The scheduler: targets that are due become jobs. Every worker runs one; whichever claims a target first has it.

A target is due on a grid of its own, by the database's clock. The transaction that moves it to its next time also
stores the probe, once RabbitMQ has taken the job: while one of the two is away the target stays due, and is probed once
when they are back. Should the commit fail after RabbitMQ has taken the job, that probe is one too many.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from netmon import metrics, tracing
from netmon.database import AWAY, Connection, Database, Row, queue
from netmon.jobs import JobQueue, QueueUnavailableError
from netmon.logs import logger
from netmon.models import Job, Plan, Probe
from netmon.schedule import next_due, own_grid
from netmon.supervision import Backoff, deadline, describe

BATCH = 100
TIMEOUT = 6.0
"""Seconds for one batch: its statements, and the confirms, which are waited for side by side."""
LONGEST_SLEEP = 1.0
"""Seconds: a target that is added or changed meanwhile is noticed after that."""
SHORTEST_SLEEP = 0.05
"""Seconds: what is due and was not claimed is in another scheduler's hands."""
UNDER_WAY = timedelta(minutes=10)
"""For so long a probe without a result counts as under way: six attempts of 60 s take less."""

log = logger(__name__)


class Scheduler:
    """Makes jobs of targets that are due."""

    def __init__(self, database: Database, jobs: JobQueue) -> None:
        self._database = database
        self._jobs = jobs
        self._stopping = False
        self._busy = asyncio.Lock()

    async def run(self) -> None:
        """Schedule until stopped, however often the database or the queue is away."""
        database, rabbitmq = Backoff("database"), Backoff("rabbitmq")
        while not self._stopping:
            try:
                with tracing.quiet():
                    async with self._busy:
                        claimed = await deadline(self._schedule_batch(), TIMEOUT)
                    await asyncio.sleep(0 if claimed == BATCH else await self._until_next())
            except QueueUnavailableError as error:
                await rabbitmq.failed(describe(error))
            except AWAY as error:
                await database.failed(describe(error))

    async def stop(self) -> None:
        """Schedule no more; return once the batch under way is done."""
        self._stopping = True
        async with self._busy:
            pass

    async def _schedule_batch(self) -> int:
        """Make jobs of the targets that have been due for longest; how many there were.

        Raises:
            QueueUnavailableError: RabbitMQ did not take some of the jobs; their targets stay due.
        """
        async with self._database.transaction() as connection:
            due = await _claim(connection)
            outcomes = await asyncio.gather(*map(self._request, due), return_exceptions=True)
            failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            # In the order in which results are stored, lest the two wait for each other.
            probes = sorted((each for each in outcomes if isinstance(each, Probe)), key=lambda probe: probe.id)
            await queue(connection, probes)
            settled = zip(due, outcomes, strict=True)
            await _move_on(connection, [row for row, outcome in settled if not isinstance(outcome, BaseException)])
        metrics.PROBES_SCHEDULED.inc(len(probes))
        if failures:
            raise failures[0]
        return len(due)

    async def _request(self, target: Row) -> Probe | None:
        """Put the job of a target into the queue; None where it is left out this time."""
        if target["under_way"]:
            metrics.PROBES_SKIPPED.inc()
            return None
        try:
            plan = Plan(**{name: target[name] for name in Plan.model_fields})
        except ValueError as error:
            log.warning("target cannot be probed", target=str(target["id"]), reason=describe(error))
            return None
        with tracing.span("schedule", carrier={}):
            job = Job.of(plan, str(target["id"]), tracing.ids().get("trace_id"))
            await self._jobs.publish(job)
        return job.probe

    async def _until_next(self) -> float:
        """Seconds until the next target is due, within bounds."""
        row = await self._database.one(
            "SELECT extract(epoch FROM min(due_at) - now()) AS seconds FROM targets WHERE enabled", ()
        )
        seconds = float(row["seconds"]) if row and row["seconds"] is not None else LONGEST_SLEEP
        return min(max(seconds, SHORTEST_SLEEP), LONGEST_SLEEP)


async def _claim(connection: Connection) -> list[Row]:
    """Lock targets that are due and that no other scheduler has.

    One that is due later than its interval allows is due as well: the clock was set back, or the interval shortened.
    """
    query = f"""
        SELECT id, {", ".join(Plan.model_fields)}, interval_seconds, now() AS now,
            EXISTS (
                SELECT FROM probes
                WHERE probes.target = targets.id::text AND status = 'queued' AND requested_at > now() - %s
            ) AS under_way
        FROM targets
        WHERE enabled AND (due_at <= now() OR due_at > now() + make_interval(secs => interval_seconds))
        ORDER BY due_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED"""  # noqa: S608 - the names are this code's own
    return await (await connection.execute(query.strip(), (UNDER_WAY, BATCH))).fetchall()


async def _move_on(connection: Connection, targets: Sequence[Row]) -> None:
    """Set when the targets are due next."""
    query = """
        UPDATE targets SET due_at = next.due_at FROM unnest(%s::uuid[], %s::timestamptz[]) AS next (id, due_at)
        WHERE targets.id = next.id"""
    due = [
        next_due(own_grid(target["id"]), timedelta(seconds=target["interval_seconds"]), target["now"])
        for target in targets
    ]
    await connection.execute(query.strip(), ([target["id"] for target in targets], due))
