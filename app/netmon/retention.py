"""Retention: results are deleted after some days, rollups merged; incidents and periods are bounded in number."""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta

from netmon import rollups, tracing
from netmon.database import UNAVAILABLE_ERRORS, Database, Row
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

ALERTS = 50_000
"""The received alerts that are kept, the newest; see also `netmon.database.Database.put_alert`."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The most rows of each target that a table keeps, the newest."""

    table: str
    rows: int
    at: str
    """The column of their order."""
    condition: str = "true"
    """Which of them may be deleted."""


BOUNDS = (
    # Only a target that flaps for months has so many: with them, its incidents and uptime reach that far back.
    Bound("incidents", 50_000, "started_at", "ended_at IS NOT NULL"),
    Bound("periods", 100_000, "ended_at"),
)

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
        await self.bound()
        self._merge_at = time.monotonic() + rollups.INTERVAL_SECONDS
        return merged

    async def bound(self) -> int:
        """Delete the oldest rows above the bounds; returns their number."""
        deleted = 0
        for bound in BOUNDS:
            query = f"SELECT target FROM {bound.table} GROUP BY target HAVING count(*) > %s"  # noqa: S608 - a name of this code
            for row in await deadline(self._database.all(query, (bound.rows,)), TIMEOUT_SECONDS):
                where = f"target = %(target)s AND {bound.condition}"
                deleted += await self._delete_above(bound.table, where, bound.at, bound.rows, {"target": row["target"]})
        return deleted + await self._delete_above("alerts", "true", "received_at", ALERTS, {})

    async def _delete_above(self, table: str, where: str, at: str, rows: int, parameters: Row) -> int:
        query = f"""
            WITH deleted AS (
                DELETE FROM {table} WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM {table} WHERE {where} ORDER BY {at} DESC OFFSET %(rows)s LIMIT %(batch)s))
                RETURNING 1)
            SELECT count(*) AS deleted FROM deleted"""  # noqa: S608 - names of this code
        total, arguments = 0, {**parameters, "rows": rows, "batch": BATCH_SIZE}
        while found := await deadline(self._database.one(query, arguments), TIMEOUT_SECONDS):
            if not found["deleted"]:
                break
            total += found["deleted"]
            log.info("old rows above the bound deleted", table=table, rows=found["deleted"])
            await asyncio.sleep(PAUSE_SECONDS)
        return total

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
