"""Gauges of what lies outside this process: asked for every few seconds, and taken away when nobody answers."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from netmon import metrics, tracing
from netmon.database import Database
from netmon.health import HealthChecks
from netmon.jobs import DEAD_QUEUE, QUEUE, Link
from netmon.logs import logger
from netmon.supervision import deadline, describe

EVERY = 3.0
TIMEOUT = 3.0
TARGET_STATES = ("unknown", "up", "degraded", "down", "paused")

log = logger(__name__)


async def watch(measure: Callable[[], Awaitable[None]], forget: Callable[[], None]) -> None:
    """Measure every EVERY seconds, for ever; where it fails, `forget` takes the old value away: it may be wrong now."""
    with tracing.quiet():
        while True:
            try:
                await deadline(measure(), TIMEOUT)
            except Exception as error:
                log.debug("not measured", reason=describe(error))
                forget()
            await asyncio.sleep(EVERY)


async def dependencies(checks: HealthChecks) -> None:
    """Keep `netmon_dependency_up`, for ever."""

    async def measure() -> None:
        for dependency, verdict in (await checks.run()).items():
            metrics.DEPENDENCY_UP.labels(dependency).set(verdict == "ok")

    await watch(measure, metrics.DEPENDENCY_UP.clear)


async def queues(link: Link) -> None:
    """Keep `netmon_queue_messages`, for ever."""

    async def measure() -> None:
        for queue in (QUEUE, DEAD_QUEUE):
            metrics.QUEUE_MESSAGES.labels(queue).set(await link.messages(queue))

    await watch(measure, metrics.QUEUE_MESSAGES.clear)


async def recorded(database: Database) -> None:
    """Keep the gauges of what the database knows, for ever; they are NaN while it is away."""

    async def measure() -> None:
        found = await database.backlog()
        for gauge, value in zip(metrics.RECORDED, found, strict=True):
            gauge.set(value)
        states = await database.states()
        for state in TARGET_STATES:
            metrics.TARGETS.labels(state).set(states.get(state, 0))

    def forget() -> None:
        for gauge in metrics.RECORDED:
            gauge.set(math.nan)
        metrics.TARGETS.clear()

    await watch(measure, forget)
