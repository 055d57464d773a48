"""Gauges of state outside this process: measured periodically, and removed while a measurement fails."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from netmon import metrics, tracing
from netmon.database import Database
from netmon.health import HealthChecks
from netmon.jobs import BATCH_QUEUE, DEAD_QUEUE, QUEUE, Link
from netmon.logs import logger
from netmon.states import URGENCY
from netmon.supervision import deadline, describe

INTERVAL_SECONDS = 3.0
TIMEOUT_SECONDS = 3.0
COLLATIONS_INTERVAL_SECONDS = 60.0
"""They change with the image of the database only."""

log = logger(__name__)


async def watch(
    measure: Callable[[], Awaitable[None]], forget: Callable[[], None], interval_seconds: float = INTERVAL_SECONDS
) -> None:
    """Measure at this interval until cancelled; after a failure, `forget` removes the stale value."""
    with tracing.untraced():
        while True:
            try:
                await deadline(measure(), TIMEOUT_SECONDS)
            except Exception as error:
                log.debug("measurement failed", reason=describe(error))
                forget()
            await asyncio.sleep(interval_seconds)


async def dependencies(checks: HealthChecks, *names: str) -> None:
    """Update `netmon_dependency_up` from the checks with these names until cancelled."""

    async def measure() -> None:
        for dependency, verdict in (await checks.run(*names)).items():
            metrics.DEPENDENCY_UP.labels(dependency).set(verdict == "ok")

    await watch(measure, metrics.DEPENDENCY_UP.clear)


async def queues(link: Link) -> None:
    """Update `netmon_queue_messages` until cancelled."""

    async def measure() -> None:
        # Without the queue of batches, if RabbitMQ does not permit it.
        for queue in (QUEUE, *([BATCH_QUEUE] if link.batch_channel else []), DEAD_QUEUE):
            metrics.QUEUE_MESSAGES.labels(queue).set(await link.messages(queue))

    await watch(measure, metrics.QUEUE_MESSAGES.clear)


async def backlog(database: Database) -> None:
    """Update the gauges of the backlog until cancelled; without the database they are NaN."""

    async def measure() -> None:
        found = await database.backlog()
        for gauge, value in zip(metrics.BACKLOG, found, strict=True):
            gauge.set(value)

    def forget() -> None:
        for gauge in metrics.BACKLOG:
            gauge.set(math.nan)

    await watch(measure, forget)


async def collations(database: Database) -> None:
    """Update `netmon_database_outdated_collations` until cancelled; without the database it is NaN."""

    async def measure() -> None:
        metrics.OUTDATED_COLLATIONS.set(await database.outdated_collations())

    await watch(measure, lambda: metrics.OUTDATED_COLLATIONS.set(math.nan), COLLATIONS_INTERVAL_SECONDS)


async def targets(database: Database) -> None:
    """Update `netmon_targets` until cancelled. The API does, so that targets are stale without a worker too."""

    async def measure() -> None:
        states = await database.states()
        for state in URGENCY:
            metrics.TARGETS.labels(state).set(states.get(state, 0))

    await watch(measure, metrics.TARGETS.clear)
