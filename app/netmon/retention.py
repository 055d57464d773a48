"""Retention: raw results go after some days; what was made of them, rollups and incidents, is kept."""

import asyncio
from datetime import timedelta

from netmon import tracing
from netmon.database import AWAY, Database
from netmon.logs import logger
from netmon.supervision import Backoff, deadline, describe

LOCK = 0x72657461696E
"""Key of the advisory lock of the worker that deletes: "retain" in ASCII."""
EVERY = 300.0
BATCH = 2000
PAUSE = 0.2
"""Seconds between two batches: deleting must not be felt."""
TIMEOUT = 10.0
"""Seconds for one batch."""
GIVEN_UP = timedelta(days=1)
"""A probe without a result is forgotten after this time: its job was put aside. Should it be carried out even so, its
result is stored as a whole."""

log = logger(__name__)


class Retention:
    """Deletes what is too old."""

    def __init__(self, database: Database, days: float) -> None:
        self._database = database
        self._age = timedelta(days=days)

    async def run(self) -> None:
        """Delete every few minutes, for ever."""
        backoff = Backoff("database")
        while True:
            try:
                with tracing.quiet():
                    deleted = await self.delete()
            except AWAY as error:
                await backoff.failed(describe(error))
                continue
            if deleted:
                log.info("old results deleted", results=deleted)
            await asyncio.sleep(EVERY)

    async def delete(self) -> int:
        """Delete what is too old now; how many probes that were."""
        deleted = 0
        while batch := await deadline(self._delete_batch(), TIMEOUT):
            deleted += batch
            await asyncio.sleep(PAUSE)
        return deleted

    async def _delete_batch(self) -> int:
        """Delete some; 0 if there is nothing left, or another worker is at it."""
        query = """
            DELETE FROM probes WHERE id IN (
                SELECT id FROM probes WHERE finished_at < now() - %(age)s
                UNION ALL
                SELECT id FROM probes WHERE status = 'queued' AND requested_at < now() - %(given_up)s
                LIMIT %(batch)s)"""
        async with self._database.transaction() as connection:
            cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s) AS alone", (LOCK,))
            row = await cursor.fetchone()
            if not row or not row["alone"]:
                return 0
            parameters = {"age": self._age, "given_up": GIVEN_UP, "batch": BATCH}
            return (await connection.execute(query.strip(), parameters)).rowcount
