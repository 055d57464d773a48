"""Probes whose job is lost end as `failed`, so no client waits for their result for ever.

The worker that dead-letters a job somebody waits for ends its probe at once (`netmon.worker`). Every other lost job is
found here: dead-lettered by RabbitMQ, purged, or gone with the queue's data. A probe that is executed after all gets
its result nevertheless (`netmon.result_store`).
"""

import asyncio
import time
from collections import deque
from datetime import timedelta

from netmon import tracing
from netmon.database import UNAVAILABLE_ERRORS, Database
from netmon.jobs import BATCH_QUEUE, PUBLISH_ERRORS, QUEUE, Link, QueueUnavailableError
from netmon.logs import logger
from netmon.supervision import describe

INTERVAL_SECONDS = 60.0
IN_FLIGHT = timedelta(minutes=30)
"""How long a delivered job may take: its attempts, and the wait for a slot behind others."""
ABANDONED_AFTER = timedelta(days=1)
"""A probe ends after this time even if its job may still be in the queue."""
UNCONFIRMED = timedelta(seconds=10)
"""How much later than its time of request a job may reach the queue."""

log = logger(__name__)


class AbandonedProbes:
    """Ends probes whose job is neither in the queue nor with a worker.

    The queues are first in, first out: when they are empty, every job that was published before has been delivered; and
    IN_FLIGHT later it is done, or lost.

    Args:
        database: has the probes.
        link: has the queues.
    """

    def __init__(self, database: Database, link: Link) -> None:
        self._database = database
        self._link = link
        self._empty_at: deque[float] = deque()
        """When the queues were empty, within the last IN_FLIGHT, oldest first."""
        self._delivered_at: float | None = None
        """The last time before that when they were."""

    async def run(self) -> None:
        """End abandoned probes every INTERVAL_SECONDS until cancelled."""
        while True:
            try:
                with tracing.untraced():
                    ended = await self.end()
            except UNAVAILABLE_ERRORS as error:
                log.debug("abandoned probes not ended", reason=describe(error))
            else:
                if ended:
                    log.warning("abandoned probes ended as failed", probes=ended)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def end(self) -> int:
        """End abandoned probes; returns their number.

        Raises:
            UNAVAILABLE_ERRORS: the database is unavailable.
        """
        now = time.monotonic()
        if await self._queues_are_empty():
            self._empty_at.append(now)
        while self._empty_at and now - self._empty_at[0] >= IN_FLIGHT.total_seconds():
            self._delivered_at = self._empty_at.popleft()
        age = ABANDONED_AFTER
        if self._delivered_at is not None:
            age = min(age, timedelta(seconds=now - self._delivered_at) + UNCONFIRMED)
        return await self._database.abandon_older_than(age, "its job was lost or dead-lettered")

    async def _queues_are_empty(self) -> bool:
        if not self._link.batch_channel:
            return False
        try:
            return not await self._link.messages(QUEUE) and not await self._link.messages(BATCH_QUEUE)
        except (QueueUnavailableError, *PUBLISH_ERRORS):
            return False
