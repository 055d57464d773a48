"""Reads the uptime of targets: closed periods are summed by PostgreSQL, open ones are added."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from netmon.database import QUERY_TIMEOUT_SECONDS, Database, Row
from netmon.periods import PeriodState
from netmon.standings import MAINTENANCE_COLUMNS, maintenance_of, opened_of
from netmon.supervision import deadline
from netmon.target_lists import TargetFilter, TargetLists
from netmon.uptime import (
    NamedUptime,
    Seconds,
    TargetUptime,
    Uptime,
    Window,
    months,
    spans,
    uptime_percent,
    window,
    with_open,
)  # fmt: skip

OPEN_COLUMNS = f"created_at, observed_state, observed_from, overdue_at, now() AS now, {MAINTENANCE_COLUMNS}"
"""The columns of the open period of a target."""
_TARGETS = "targets JOIN standings ON target = id"


class UptimeStore:
    """Reads uptimes.

    Every method raises `psycopg.OperationalError` or `TimeoutError` while the database is unavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lists = TargetLists(database)

    async def target(self, target: UUID) -> TargetUptime | None:
        """The uptime of a target in all spans and months; None if there is no such target."""
        query = f"SELECT id, name, tags, {OPEN_COLUMNS} FROM {_TARGETS} WHERE id = %(target)s"  # noqa: S608 - names of this code
        rows = await self._all(query, {"target": target})
        if not rows:
            return None
        [row] = rows
        windows = [*spans(row["now"]), *months(row["now"], row["created_at"])]
        closed = await self._closed([target], windows)
        uptimes = [_uptime(row, each, closed.get((target, number), {})) for number, each in enumerate(windows)]
        count = len(spans(row["now"]))
        return TargetUptime(
            target=target, name=row["name"], tags=row["tags"], spans=uptimes[:count], months=uptimes[count:]
        )

    async def page(self, chosen: TargetFilter, period: str, after: str, limit: int) -> list[NamedUptime]:
        """The uptime of the targets whose names follow `after` within a period (`netmon.uptime.window`), by name."""
        rows = await self._lists.columns_by_name(f"id, name, tags, {OPEN_COLUMNS}", chosen, after, limit)
        if not rows:
            return []
        within = window(period, rows[0]["now"])
        closed = await self._closed([row["id"] for row in rows], [within])
        return [
            NamedUptime.named(_uptime(row, within, closed.get((row["id"], 0), {})), row["id"], row["name"], row["tags"])
            for row in rows
        ]

    async def percents(self, targets: Sequence[UUID], span: timedelta) -> dict[UUID, float]:
        """The uptimes of targets within a span that ends now, in percent; those not observed in it have none."""
        query = f"SELECT id, {OPEN_COLUMNS} FROM {_TARGETS} WHERE id = ANY(%(targets)s)"  # noqa: S608 - names of this code
        rows = await self._all(query, {"targets": list(targets)})
        if not rows:
            return {}
        now: datetime = rows[0]["now"]
        within = Window("", now - span, now)
        closed = await self._closed([row["id"] for row in rows], [within])
        found = {row["id"]: uptime_percent(_seconds(row, within, closed.get((row["id"], 0), {}))) for row in rows}
        return {target: percent for target, percent in found.items() if percent is not None}

    async def _closed(
        self, targets: Sequence[UUID], windows: Sequence[Window]
    ) -> Mapping[tuple[UUID, int], dict[PeriodState, float]]:
        """The seconds of closed periods by state, by target and by the number of the window."""
        query = """
            SELECT chosen.target, number - 1 AS number, periods.state,
                sum(extract(epoch FROM least(ended_at, until) - greatest(started_at, since)))::float8 AS seconds
            FROM unnest(%(targets)s::uuid[]) AS chosen (target)
            CROSS JOIN unnest(%(since)s::timestamptz[], %(until)s::timestamptz[])
                WITH ORDINALITY AS windows (since, until, number)
            JOIN periods ON periods.target = chosen.target AND ended_at > since AND started_at < until
            GROUP BY 1, 2, 3"""
        parameters = {
            "targets": list(targets),
            "since": [each.start for each in windows],
            "until": [each.end for each in windows],
        }
        found: dict[tuple[UUID, int], dict[PeriodState, float]] = {}
        for row in await self._all(query, parameters):
            found.setdefault((row["target"], row["number"]), {})[row["state"]] = row["seconds"]
        return found

    async def _all(self, query: str, parameters: Row) -> list[Row]:
        return await deadline(self._database.all(query, parameters), QUERY_TIMEOUT_SECONDS)


def _seconds(row: Row, within: Window, closed: Seconds) -> dict[PeriodState, float]:
    """The seconds of a target within a window by state."""
    return with_open(closed, opened_of(row), within, row["now"], maintenance_of(row))


def _uptime(row: Row, within: Window, closed: Seconds) -> Uptime:
    return Uptime.of(within.since(row["created_at"]), _seconds(row, within, closed))
