"""Incidents, statistics and series of targets, from rollups where their resolution is sufficient."""

from datetime import timedelta
from typing import Literal
from uuid import UUID

from netmon import histograms
from netmon.database import QUERY_TIMEOUT_SECONDS, Database, Row
from netmon.history import Series, Statistics
from netmon.states import IN_MAINTENANCE
from netmon.supervision import deadline
from netmon.target_models import Incident
from netmon.uptime_store import UptimeStore

Window = Literal["1h", "24h"]
Span = Literal["1h", "6h", "24h", "7d", "30d", "1y"]

WINDOWS: dict[Window, timedelta] = {"1h": timedelta(hours=1), "24h": timedelta(hours=24)}
SPANS: dict[Span, timedelta] = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "1y": timedelta(days=365),
}
STEPS: dict[Span, timedelta] = {
    "1h": timedelta(seconds=15),
    "6h": timedelta(seconds=90),
    "24h": timedelta(minutes=5),
    "7d": timedelta(minutes=40),
    "30d": timedelta(hours=3),
    "1y": timedelta(days=2),
}
"""Time between two points of a series, so that a span has at most MAX_POINTS."""
MAX_POINTS = 300


class HistoryStore:
    """Reads stored results, rollups and incidents.

    Every method raises `psycopg.OperationalError` or `TimeoutError` while the database is unavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._uptimes = UptimeStore(database)

    async def incidents(self, target: UUID | None, limit: int, *, public: bool = False) -> list[Incident]:
        """The incidents of a target, or of all targets, newest first; with `public` those on the public page only."""
        query = f"""
            SELECT incidents.*, targets.name, ended_at IS NULL AND {IN_MAINTENANCE} AS in_maintenance
            FROM incidents JOIN targets ON targets.id = incidents.target
            WHERE (%(target)s::uuid IS NULL OR target = %(target)s) {"AND public" if public else ""}
            ORDER BY started_at DESC, incidents.id DESC LIMIT %(limit)s"""  # noqa: S608 - the names are this code's own
        rows = await self._all(query, {"target": target, "limit": limit})
        return [Incident(**row) for row in rows]

    async def open_incidents(self) -> int:
        """The number of incidents that are ongoing."""
        row = await self._one("SELECT count(*) AS number FROM incidents WHERE ended_at IS NULL", {})
        return int(row["number"]) if row else 0

    async def statistics(self, target: UUID, window: Window) -> Statistics | None:
        """Statistics of a target within the window that ends now; None if there is no such target."""
        # Each bucket is summed by its index: unnesting the arrays takes about four times as long.
        buckets = ", ".join(f"sum(latency[{number}])" for number in range(1, histograms.BUCKETS + 1))
        query = f"""
            SELECT sum(results) AS results, sum(failed) AS failed, ARRAY[{buckets}] AS latency
            FROM targets LEFT JOIN rollups ON target = id AND at > now() - %(window)s
            WHERE id = %(target)s GROUP BY id"""  # noqa: S608 - numbers of this code
        row = await self._one(query, {"target": target, "window": WINDOWS[window]})
        if row is None:
            return None
        uptimes = await self._uptimes.percents([target], WINDOWS[window])
        counts = [int(count or 0) for count in row["latency"]]
        return Statistics(
            window=window,
            results=int(row["results"] or 0),
            failed=int(row["failed"] or 0),
            uptime_percent=uptimes.get(target),
            p50_ms=histograms.percentile(counts, 0.5),
            p95_ms=histograms.percentile(counts, 0.95),
            p99_ms=histograms.percentile(counts, 0.99),
        )

    async def series(self, target: UUID, span: Span) -> Series | None:
        """Series of a target over the span that ends now; None if there is no such target.

        Points are single results for spans of up to six hours with at most MAX_POINTS results, otherwise aggregates.
        """
        query = "SELECT extract(epoch FROM now())::float8 AS now FROM targets WHERE id = %(target)s"
        row = await self._one(query, {"target": target})
        if row is None:
            return None
        if span not in ("1h", "6h"):
            series = await self._from_rollups(target, span)
        else:
            series = await self._from_single_results(target, span) or await self._from_results(target, span)
        return series.model_copy(update={"start": row["now"] - SPANS[span].total_seconds(), "end": row["now"]})

    async def _from_single_results(self, target: UUID, span: Span) -> Series | None:
        """None if there are more than MAX_POINTS results."""
        query = f"""
            SELECT extract(epoch FROM finished_at)::float8 AS at, duration_ms, status FROM probes
            WHERE target = %(target)s AND finished_at BETWEEN now() - %(span)s AND now()
            ORDER BY finished_at DESC LIMIT {MAX_POINTS + 1}"""  # noqa: S608 - a number
        rows = await self._all(query, {"target": str(target), "span": SPANS[span]})
        if len(rows) > MAX_POINTS:
            return None
        rows.reverse()
        durations = [None if row["status"] == "failed" else row["duration_ms"] for row in rows]
        return Series(
            span=span,
            step_seconds=0,
            at=[row["at"] for row in rows],
            p50_ms=durations,
            p95_ms=durations,
            failed=[int(row["status"] == "failed") for row in rows],
            results=[1] * len(rows),
        )

    async def _from_results(self, target: UUID, span: Span) -> Series:
        query = """
            SELECT extract(epoch FROM date_bin(%(step)s, finished_at, 'epoch'))::float8 AS at,
                count(*) AS results, count(*) FILTER (WHERE status = 'failed') AS failed,
                percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY duration_ms)
                    FILTER (WHERE status = 'succeeded') AS percentiles
            FROM probes WHERE target = %(target)s AND finished_at BETWEEN now() - %(span)s AND now()
            GROUP BY 1 ORDER BY 1"""
        rows = await self._all(query, {"target": str(target), "span": SPANS[span], "step": STEPS[span]})
        percentiles = [row["percentiles"] or (None, None) for row in rows]
        return _series(span, rows, [each[0] for each in percentiles], [each[1] for each in percentiles])

    async def _from_rollups(self, target: UUID, span: Span) -> Series:
        # Most buckets of a rollup are empty: they are filtered out before sorting and transfer.
        query = """
            WITH counted AS (
                SELECT date_bin(%(step)s, at, 'epoch') AS step, results, failed, latency
                FROM rollups WHERE target = %(target)s AND at > now() - %(span)s),
            merged AS (
                SELECT date_bin(%(step)s, at, 'epoch') AS step, results, failed, buckets, counts
                FROM coarse_rollups WHERE target = %(target)s AND at > now() - %(span)s),
            buckets AS (
                SELECT step, number, sum(count) AS count
                FROM (
                    SELECT step, number, count FROM counted, unnest(latency) WITH ORDINALITY AS bucket(count, number)
                    WHERE count > 0
                    UNION ALL
                    SELECT step, number, count FROM merged, unnest(buckets, counts) AS bucket(number, count)) AS each
                GROUP BY step, number),
            latencies AS (
                SELECT step, array_agg(number ORDER BY number) AS numbers, array_agg(count ORDER BY number) AS counts
                FROM buckets GROUP BY step),
            totals AS (
                SELECT step, sum(results) AS results, sum(failed) AS failed
                FROM (
                    SELECT step, results, failed FROM counted
                    UNION ALL SELECT step, results, failed FROM merged) AS each
                GROUP BY step)
            SELECT extract(epoch FROM step)::float8 AS at, results, failed, numbers, counts
            FROM totals LEFT JOIN latencies USING (step) ORDER BY step"""
        rows = await self._all(query, {"target": target, "span": SPANS[span], "step": STEPS[span]})
        counts = [_filled(row) for row in rows]
        return _series(
            span,
            rows,
            [histograms.percentile(each, 0.5) for each in counts],
            [histograms.percentile(each, 0.95) for each in counts],
        )

    async def _one(self, query: str, parameters: Row) -> Row | None:
        return await deadline(self._database.one(query, parameters), QUERY_TIMEOUT_SECONDS)

    async def _all(self, query: str, parameters: Row) -> list[Row]:
        return await deadline(self._database.all(query, parameters), QUERY_TIMEOUT_SECONDS)


def _filled(row: Row) -> list[int]:
    """All buckets of a step, including empty ones."""
    counts = [0] * histograms.BUCKETS
    for number, count in zip(row["numbers"] or (), row["counts"] or (), strict=True):
        counts[number - 1] = int(count)
    return counts


def _series(span: Span, rows: list[Row], p50: list[float | None], p95: list[float | None]) -> Series:
    return Series(
        span=span,
        step_seconds=round(STEPS[span].total_seconds()),
        at=[row["at"] for row in rows],
        p50_ms=p50,
        p95_ms=p95,
        failed=[int(row["failed"]) for row in rows],
        results=[int(row["results"]) for row in rows],
    )
