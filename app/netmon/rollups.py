"""Old rollups are merged into coarser ones: five minutes into hours, hours into days, which are kept.

Results are added to rollups of five minutes (`netmon.result_store`), which the plots of up to 30 days are made from. A
merge is additive and is one statement, so nothing is counted twice or lost, however late a result is stored.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from netmon import tracing
from netmon.database import Database, Row
from netmon.supervision import deadline

LOCK = 0x726F6C6C7570
"""Key of the advisory lock of the merging worker: "rollup" in ASCII."""
HOUR, DAY = 3600, 86_400
FINE_DAYS = 35
"""Age in days up to which rollups of five minutes are kept: longer than the longest plot that is made from them."""
HOURLY_DAYS = 400
"""Age in days up to which hourly rollups are kept: thirteen months."""
INTERVAL_SECONDS = 3600.0
"""How often rollups are merged: as often as another hour of them is old enough."""
TARGETS = 100
SLICE = timedelta(days=1)
"""A batch: so much of the oldest rollups of so many targets."""
PAUSE_SECONDS = 0.2
"""The pause between two batches, which limits the load."""
TIMEOUT_SECONDS = 30.0
"""Timeout of a batch."""


@dataclass(frozen=True, slots=True)
class Merge:
    """A step from one resolution to a coarser one."""

    source: str
    """The table of the rollups that are merged."""
    condition: str
    """Which of its rows."""
    histogram: str
    """Their histogram, as rows of `number` and `count`."""
    days: int
    """The age in days at which they are."""
    seconds: int
    """The length of the merged rollups."""

    @property
    def query(self) -> str:
        """The statement, for parameters of `_parameters`."""
        return f"""
            WITH oldest AS (
                SELECT min(at) AS at FROM unnest(%(targets)s::uuid[]) AS each (id), LATERAL (
                    SELECT at FROM {self.source} WHERE {self.condition} AND target = each.id ORDER BY at LIMIT 1)),
            moved AS (
                DELETE FROM {self.source} WHERE {self.condition} AND target = ANY(%(targets)s)
                    AND at < least(date_bin(%(length)s, now() - %(age)s, 'epoch'), (SELECT at FROM oldest) + %(slice)s)
                RETURNING *, date_bin(%(length)s, at, 'epoch') AS start),
            totals AS (
                SELECT target, start, sum(results) AS results, sum(failed) AS failed FROM moved GROUP BY target, start),
            summed AS (
                SELECT target, start, number, sum(count) AS count FROM moved, {self.histogram}
                WHERE count > 0 GROUP BY target, start, number),
            histograms AS (
                SELECT target, start, array_agg(number ORDER BY number) AS buckets,
                    array_agg(count ORDER BY number) AS counts
                FROM summed GROUP BY target, start)
            INSERT INTO coarse_rollups AS known (target, seconds, at, results, failed, buckets, counts)
            SELECT target, %(seconds)s, start, results, failed, coalesce(buckets, '{{}}'), coalesce(counts, '{{}}')
            FROM totals LEFT JOIN histograms USING (target, start)
            ON CONFLICT (target, seconds, at) DO UPDATE SET
                results = known.results + excluded.results,
                failed = known.failed + excluded.failed,
                (buckets, counts) = (
                    SELECT coalesce(array_agg(number ORDER BY number), '{{}}'),
                        coalesce(array_agg(count ORDER BY number), '{{}}')
                    FROM (
                        SELECT number, sum(count) AS count
                        FROM unnest(known.buckets || excluded.buckets, known.counts || excluded.counts)
                            AS both_of (number, count)
                        GROUP BY number) AS added)"""  # noqa: S608 - parts of this code


MERGES = (
    Merge("rollups", "true", "unnest(latency) WITH ORDINALITY AS bucket (count, number)", FINE_DAYS, HOUR),
    Merge("coarse_rollups", f"seconds = {HOUR}", "unnest(buckets, counts) AS bucket (number, count)", HOURLY_DAYS, DAY),
)


async def merge(database: Database) -> int:
    """Merge rollups that are old enough; returns the number of rollups that others were merged into.

    Raises:
        UNAVAILABLE_ERRORS: the database is unavailable; the next run continues.
    """
    merged = 0
    with tracing.untraced():
        rows = await database.all("SELECT id FROM targets ORDER BY id", ())
        targets = [row["id"] for row in rows]
        for start in range(0, len(targets), TARGETS):
            batch = targets[start : start + TARGETS]
            while found := await deadline(_merge_batch(database, batch), TIMEOUT_SECONDS):
                merged += found
                await asyncio.sleep(PAUSE_SECONDS)
    return merged


async def _merge_batch(database: Database, targets: Sequence[UUID]) -> int:
    """Merge the oldest rollups of some targets; returns 0 if nothing is left or another worker is merging."""
    async with database.transaction() as connection:
        cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s) AS alone", (LOCK,))
        row = await cursor.fetchone()
        if not row or not row["alone"]:
            return 0
        done = [await connection.execute(each.query.strip(), _parameters(each, targets)) for each in MERGES]
    return sum(cursor.rowcount for cursor in done)


def _parameters(step: Merge, targets: Sequence[UUID]) -> Row:
    return {
        "targets": list(targets),
        "age": timedelta(days=step.days),
        "length": timedelta(seconds=step.seconds),
        "seconds": step.seconds,
        "slice": SLICE,
    }
