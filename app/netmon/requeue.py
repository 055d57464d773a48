"""Queues accepted probes again whose jobs may be lost: after a restore, the database has probes that no queue has."""

import asyncio
from contextlib import suppress
from uuid import UUID

from netmon.database import REQUEST_COLUMNS, Database, Row
from netmon.jobs import PUBLISH_ERRORS, JobQueue, Link, QueueUnavailableError
from netmon.models import Job, Plan
from netmon.secret_values import has_masks
from netmon.settings import Settings
from netmon.specs import HttpSpec
from netmon.supervision import deadline
from netmon.target_store import TargetStore

CONNECT_SECONDS = 30.0
MARGIN_SECONDS = 10
"""Probes that were accepted within this time are left alone: their jobs are on their way."""


async def run(settings: Settings) -> int:
    """Queue the probes again; returns their number.

    Raises:
        psycopg.OperationalError, netmon.jobs.QueueUnavailableError, TimeoutError: the rest was not queued.
    """
    database = Database(settings.database_url, application="netmon-requeue")
    link = Link(settings.rabbitmq_url, "netmon-requeue")
    await database.prepare()
    linked = asyncio.create_task(link.run())
    try:
        await deadline(_connected(link), CONNECT_SECONDS)
        return await requeue(database, TargetStore(database), JobQueue(link), settings.probe_timeout_seconds)
    finally:
        linked.cancel()
        with suppress(asyncio.CancelledError):
            await linked
        await database.close()


async def requeue(database: Database, targets: TargetStore, jobs: JobQueue, timeout_seconds: float) -> int:
    """Publish a job for each queued probe, marked as one that may have been carried out; returns their number.

    Args:
        database: has the probes.
        targets: has the plans of monitored targets; those of URLs follow from the URL.
        jobs: takes the jobs.
        timeout_seconds: the timeout of probes of URLs.

    Raises:
        psycopg.OperationalError, netmon.jobs.QueueUnavailableError, TimeoutError: the rest was not queued.
    """
    columns = ", ".join(REQUEST_COLUMNS)
    query = f"""
        SELECT {columns} FROM probes WHERE status = 'queued' AND requested_at < now() - %s * interval '1 second'
        ORDER BY requested_at"""  # noqa: S608 - the names are this code's own
    rows = await database.all(query, (MARGIN_SECONDS,))
    queued = 0
    for row in rows:
        job = await _job(row, targets, timeout_seconds)
        if job is not None:
            await jobs.publish_again(job.encode())
            queued += 1
    return queued


async def _job(row: Row, targets: TargetStore, timeout_seconds: float) -> Job | None:
    """The job of a probe; None if its target was deleted, or if it is a URL whose query is known to its job alone."""
    try:
        target = UUID(row["target"])
    except ValueError:
        if has_masks(row["url"]):
            return None
        plan = Plan(spec=HttpSpec(url=row["url"]), timeout_seconds=timeout_seconds)
        return Job(**row, plan=plan)
    planned = await targets.planned(target)
    return Job(**row, plan=planned.plan, generation=planned.generation) if planned else None


async def _connected(link: Link) -> None:
    while True:
        try:
            await link.check()
        except (QueueUnavailableError, *PUBLISH_ERRORS):
            await asyncio.sleep(0.1)
        else:
            return
