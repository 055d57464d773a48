"""Retention: results are deleted after some days; the incidents derived from them are kept, rollups merged."""

import asyncio
import time
from datetime import timedelta

from netmon import rollups, tracing
from netmon.database import UNAVAILABLE_ERRORS, Database
from netmon.logs import logger
from netmon.supervision import Backoff, deadline, describe

LOCK = 0x72657461696E
"""Key of the advisory lock of the deleting worker: "retain" in ASCII."""
INTERVAL_SECONDS = 300.0
BATCH_SIZE = 2000
PAUSE_SECONDS = 0.2
"""The pause between two batches, which limits the load of deletion."""
TIMEOUT_SECONDS = 10.0
"""Timeout of a batch."""

log = logger(__name__)


class Retention:
    """Deletes results older than `days`, and merges old rollups."""

    def __init__(self, database: Database, days: float) -> None:
        self._database = database
        self._age = timedelta(days=days)
        self._merge_at = 0.0

    async def run(self) -> None:
        """Delete and merge every INTERVAL_SECONDS until cancelled."""
        backoff = Backoff("database")
        while True:
            try:
                with tracing.untraced():
                    deleted = await self.delete()
                    merged = await self._merge()
            except UNAVAILABLE_ERRORS as error:
                await backoff.failed(describe(error))
                continue
            if deleted:
                log.info("old results deleted", results=deleted)
            if merged:
                log.info("old rollups merged", rollups=merged)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def delete(self) -> int:
        """Delete expired probes; returns their number."""
        deleted = 0
        while batch := await deadline(self._delete_batch(), TIMEOUT_SECONDS):
            deleted += batch
            await asyncio.sleep(PAUSE_SECONDS)
        return deleted

    async def _merge(self) -> int:
        """Merge old rollups, if it is time; returns the number of rollups that others were merged into."""
        if time.monotonic() < self._merge_at:
            return 0
        merged = await rollups.merge(self._database)
        self._merge_at = time.monotonic() + rollups.INTERVAL_SECONDS
        return merged

    async def _delete_batch(self) -> int:
        """Delete a batch; returns 0 if nothing is left or another worker is deleting."""
        query = """
            DELETE FROM probes WHERE id IN (
                SELECT id FROM probes WHERE finished_at < now() - %(age)s
                LIMIT %(batch)s)"""
        async with self._database.transaction() as connection:
            cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s) AS alone", (LOCK,))
            row = await cursor.fetchone()
            if not row or not row["alone"]:
                return 0
            parameters = {"age": self._age, "batch": BATCH_SIZE}
            return (await connection.execute(query.strip(), parameters)).rowcount
