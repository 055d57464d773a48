"""Stores maintenance windows in PostgreSQL, and the resulting period of maintenance of each target.

A target has its period in two columns, so that every reader knows exactly whether it is in maintenance, even while no
worker runs. They are written in the transaction that changes a window or the tags of a target, and by `Upkeep` when a
period has passed.

An advisory lock orders these transactions: exclusive for a change of windows, shared for a change of targets. It is the
first lock of each of them, to avoid deadlocks.
"""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from psycopg.errors import ForeignKeyViolation, UniqueViolation
from psycopg.types.json import Jsonb

from netmon import standings, tracing
from netmon.database import QUERY_TIMEOUT_SECONDS, UNAVAILABLE_ERRORS, Connection, Database, Row
from netmon.logs import logger
from netmon.maintenance import LEAD, MaintenanceWindow, WindowSettings, next_change
from netmon.supervision import Backoff, deadline, describe

MAX_WINDOWS = 500
"""The maximum number of windows: all of them are read to choose the periods of targets."""
LOCK = 0x6D61696E74
"""Key of the advisory lock: "maint" in ASCII."""
CHANGE_TIMEOUT_SECONDS = 15.0
"""Timeout of a change, which may change the periods of all targets."""
UPKEEP_SECONDS = 5.0
REFRESH_SECONDS = 24 * 3600.0
"""How often all periods are chosen again although none has passed: weekly windows are planned for two weeks."""
ENDED_DAYS = 30
"""How long a window that has ended is kept."""

_COLUMNS = ", ".join(MaintenanceWindow.model_fields)

log = logger(__name__)


class WindowNameTakenError(Exception):
    """Another window has the name."""


class TooManyWindowsError(Exception):
    """MAX_WINDOWS are stored already."""


class WindowTargetError(LookupError):
    """There is no target with the id that a window names."""


class WindowChange(NamedTuple):
    """A window after a change, the time of the change, and the targets whose period of maintenance has changed."""

    window: MaintenanceWindow
    at: datetime
    targets: Sequence[UUID]


class WindowChanges(NamedTuple):
    """Changes of several windows: new ones, settings of stored ones, and those to delete."""

    create: Sequence[MaintenanceWindow] = ()
    update: Sequence[tuple[MaintenanceWindow, WindowSettings]] = ()
    delete: Sequence[MaintenanceWindow] = ()

    @property
    def any(self) -> bool:
        """Whether there is a change."""
        return bool(self.create or self.update or self.delete)


class MaintenanceStore:
    """Reads and writes maintenance windows.

    Every method raises `psycopg.OperationalError` or `TimeoutError` while the database is unavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_name(self, target: UUID | None, after: str, limit: int) -> tuple[list[MaintenanceWindow], datetime]:
        """Up to `limit` windows by name, those whose names follow `after`, and the time of the database.

        With a `target`, only windows that apply to it, by its id or one of its tags.
        """
        query = f"""
            SELECT {_COLUMNS}, now() AS now FROM maintenance_windows
            WHERE name COLLATE "C" > %(after)s AND (
                %(target)s::uuid IS NULL OR target = %(target)s
                OR tag = ANY(SELECT unnest(tags) FROM targets WHERE id = %(target)s))
            ORDER BY name COLLATE "C" LIMIT %(limit)s"""  # noqa: S608 - the names are this code's own
        parameters = {"after": after, "target": target, "limit": limit}
        rows = await deadline(self._database.all(query, parameters), QUERY_TIMEOUT_SECONDS)
        return _readable(rows), rows[0]["now"] if rows else await self.now()

    async def get(self, window: UUID) -> tuple[MaintenanceWindow, datetime] | None:
        """The window with this id, and the time of the database."""
        query = f"SELECT {_COLUMNS}, now() AS now FROM maintenance_windows WHERE id = %s"  # noqa: S608 - as above
        row = await deadline(self._database.one(query, (window,)), QUERY_TIMEOUT_SECONDS)
        return (_window(row), row["now"]) if row else None

    async def target_names(self, windows: Sequence[MaintenanceWindow]) -> dict[UUID, str]:
        """The names of the targets that windows name."""
        targets = [window.target for window in windows if window.target]
        query = "SELECT id, name FROM targets WHERE id = ANY(%(targets)s)"
        rows = await deadline(self._database.all(query, {"targets": targets}), QUERY_TIMEOUT_SECONDS)
        return {row["id"]: row["name"] for row in rows}

    async def now(self) -> datetime:
        """The time of the database, which decides whether a target is in maintenance."""
        row = await deadline(self._database.one("SELECT now() AS now", ()), QUERY_TIMEOUT_SECONDS)
        now: datetime = (row or {})["now"]
        return now

    async def add(self, settings: WindowSettings) -> WindowChange:
        """Add a window.

        Raises:
            WindowNameTakenError, WindowTargetError, TooManyWindowsError: nothing was changed.
        """
        return await deadline(self._add(settings), CHANGE_TIMEOUT_SECONDS)

    async def replace(self, window: UUID, settings: WindowSettings) -> WindowChange | None:
        """Replace the settings of a window; None if there is no such window.

        Raises:
            WindowNameTakenError, WindowTargetError: nothing was changed.
        """
        return await deadline(self._replace(window, settings), CHANGE_TIMEOUT_SECONDS)

    async def delete(self, window: UUID) -> WindowChange | None:
        """Delete a window; None if there is no such window."""
        return await deadline(self._delete(window), CHANGE_TIMEOUT_SECONDS)

    async def _add(self, settings: WindowSettings) -> WindowChange:
        values = {"id": uuid4()} | _row(settings)
        query = f"""
            INSERT INTO maintenance_windows ({", ".join(values)})
            SELECT {", ".join(f"%({name})s" for name in values)}
            WHERE (SELECT count(*) FROM maintenance_windows) < {MAX_WINDOWS}
            RETURNING {_COLUMNS}, now() AS now"""  # noqa: S608 - the names are this code's own
        changed = await self._changed(query, values)
        if changed is None:
            raise TooManyWindowsError
        return changed

    async def _replace(self, window: UUID, settings: WindowSettings) -> WindowChange | None:
        values = _row(settings)
        query = f"""
            UPDATE maintenance_windows SET {", ".join(f"{name} = %({name})s" for name in values)}
            WHERE id = %(id)s RETURNING {_COLUMNS}, now() AS now"""  # noqa: S608 - as above
        return await self._changed(query, values | {"id": window})

    async def _delete(self, window: UUID) -> WindowChange | None:
        query = f"""
            DELETE FROM maintenance_windows WHERE id = %(id)s
            RETURNING {_COLUMNS}, now() AS now"""  # noqa: S608 - as above
        return await self._changed(query, {"id": window})

    async def _changed(self, query: str, parameters: Row) -> WindowChange | None:
        """Execute a statement that returns the window that it changed, and choose the periods of all targets again."""
        try:
            async with self._database.transaction() as connection:
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
                row = await (await connection.execute(query.strip(), parameters)).fetchone()
                if row is None:
                    return None
                return WindowChange(_window(row), row["now"], await choose_periods(connection))
        except UniqueViolation:
            raise WindowNameTakenError from None
        except ForeignKeyViolation:
            raise WindowTargetError(parameters["target"]) from None


class Upkeep:
    """Chooses the periods of targets again when one has passed, and deletes windows that ended long ago."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._refreshed_at = -math.inf

    async def run(self) -> None:
        """Work every UPKEEP_SECONDS until cancelled; without windows this reads an empty table."""
        backoff = Backoff("database")
        while True:
            try:
                with tracing.untraced():
                    await deadline(self.refresh(), CHANGE_TIMEOUT_SECONDS)
            except UNAVAILABLE_ERRORS as error:
                await backoff.failed(describe(error))
                continue
            await asyncio.sleep(UPKEEP_SECONDS)

    async def refresh(self) -> None:
        """Choose the periods of all targets again, if one has passed and no other worker does it."""
        due = await self._database.one("SELECT EXISTS (SELECT FROM maintenance_windows WHERE refresh_at <= now())", ())
        daily = time.monotonic() - self._refreshed_at > REFRESH_SECONDS
        if not daily and not (due and due["exists"]):
            return
        async with self._database.transaction() as connection:
            cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s) AS alone", (LOCK,))
            row = await cursor.fetchone()
            if not row or not row["alone"]:
                return
            await connection.execute(
                "DELETE FROM maintenance_windows WHERE ends_at < now() - make_interval(days => %s)", (ENDED_DAYS,)
            )
            changed = await choose_periods(connection)
        self._refreshed_at = time.monotonic()
        if changed:
            log.info("maintenance planned", targets=len(changed))


async def lock_for_change(connection: Connection) -> None:
    """Lock the windows, which the transaction changes, until it ends; must be its first statement."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))


async def stored_windows(connection: Connection) -> tuple[list[MaintenanceWindow], datetime]:
    """All windows, and the time of the database."""
    cursor = await connection.execute(f"SELECT {_COLUMNS} FROM maintenance_windows")  # noqa: S608 - as above
    windows = _readable(await cursor.fetchall())
    row = await (await connection.execute("SELECT now() AS now")).fetchone()
    return windows, (row or {})["now"]


async def change_windows(connection: Connection, changes: WindowChanges) -> None:
    """Change windows that `lock_for_change` has locked; the periods of targets must be chosen afterwards.

    Raises:
        TooManyWindowsError: there would be too many.
    """
    cursor = connection.cursor()
    await cursor.execute("DELETE FROM maintenance_windows WHERE id = ANY(%s)", ([each.id for each in changes.delete],))
    for before, settings in changes.update:
        values = _row(settings)
        assignments = ", ".join(f"{name} = %({name})s" for name in values)
        query = f"UPDATE maintenance_windows SET {assignments} WHERE id = %(id)s"  # noqa: S608 - as above
        await cursor.execute(query, values | {"id": before.id})
    for window in changes.create:
        values = {"id": window.id} | _row(window)
        columns, places = ", ".join(values), ", ".join(f"%({name})s" for name in values)
        await cursor.execute(f"INSERT INTO maintenance_windows ({columns}) VALUES ({places})", values)  # noqa: S608
    row = await (await cursor.execute("SELECT count(*) AS number FROM maintenance_windows")).fetchone()
    if row and row["number"] > MAX_WINDOWS:
        raise TooManyWindowsError


async def lock_windows(connection: Connection) -> None:
    """Keep the windows as they are until the transaction, which changes targets, ends; must be its first statement."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (LOCK,))


async def choose_periods(connection: Connection, target: UUID | None = None) -> list[UUID]:
    """Choose the period of one target, or of all targets; returns those whose period has changed."""
    query = f"""
        SELECT {_COLUMNS}, now() AS now FROM maintenance_windows
        WHERE %(target)s::uuid IS NULL OR target = %(target)s
            OR tag = ANY(SELECT unnest(tags) FROM targets WHERE id = %(target)s)"""  # noqa: S608 - as above
    rows = await (await connection.execute(query.strip(), {"target": target})).fetchall()
    now = rows[0]["now"] if rows else datetime.now(UTC)
    planned = [(window, window.periods(now)) for window in _readable(rows)]
    if target is None:
        times = {window.id: next_change(periods, now) for window, periods in planned}
        await _write_refresh(connection, dict.fromkeys((row["id"] for row in rows), None) | times)
    each = [(window.target, window.tag, *period) for window, periods in planned for period in periods]
    columns = [list(column) for column in zip(*each, strict=True)] or [[], [], [], []]
    parameters = dict(zip(("targets", "tags", "starts", "ends"), columns, strict=True))
    cursor = await connection.execute(_CHOOSE.strip(), parameters | {"target": target, "lead": LEAD})
    chosen = await cursor.fetchall()
    if chosen:
        observed = {row["id"]: standings.maintenance_of(row) for row in chosen if row["observed"]}
        if observed:
            await standings.settle(connection, observed)
        update = """
            UPDATE targets SET maintenance_from = starts_at, maintenance_until = ends_at
            FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[]) AS chosen (target, starts_at, ends_at)
            WHERE id = target"""
        columns = [[row[name] for row in chosen] for name in ("id", "starts_at", "ends_at")]
        await connection.execute(update.strip(), columns)
    return [row["id"] for row in chosen]


async def _write_refresh(connection: Connection, times: Mapping[UUID, datetime | None]) -> None:
    query = """
        UPDATE maintenance_windows SET refresh_at = new.refresh_at
        FROM unnest(%s::uuid[], %s::timestamptz[]) AS new (id, refresh_at) WHERE maintenance_windows.id = new.id"""
    await connection.execute(query.strip(), (list(times), list(times.values())))


# The periods of each target or tag are merged first, then those of each target. The order of preference is that of the
# migration 0007.
_CHOOSE = """
    WITH planned AS (
        SELECT target, tag, range_agg(tstzrange(starts_at, ends_at)) AS periods
        FROM unnest(%(targets)s::uuid[], %(tags)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
            AS period (target, tag, starts_at, ends_at)
        GROUP BY target, tag),
    applying AS (
        SELECT target AS id, periods FROM planned WHERE target IS NOT NULL
        UNION ALL
        SELECT id, periods FROM targets CROSS JOIN unnest(tags) AS each (tag) JOIN planned USING (tag)
        WHERE %(target)s::uuid IS NULL OR id = %(target)s),
    combined AS (SELECT id, range_agg(periods) AS periods FROM applying GROUP BY id),
    chosen AS (
        SELECT targets.id, (
            SELECT period FROM unnest(periods) AS period
            ORDER BY CASE
                WHEN lower(period) <= now() AND now() < upper(period) THEN 0
                WHEN lower(period) BETWEEN now() AND now() + %(lead)s THEN 1
                WHEN upper(period) <= now() THEN 2
                ELSE 3 END,
                CASE WHEN upper(period) <= now() THEN upper(period) END DESC, lower(period)
            LIMIT 1) AS period
        FROM targets LEFT JOIN combined USING (id)
        WHERE (combined.id IS NOT NULL OR maintenance_until IS NOT NULL)
            AND (%(target)s::uuid IS NULL OR targets.id = %(target)s))
    SELECT id, lower(period) AS starts_at, upper(period) AS ends_at, maintenance_from, maintenance_until,
        observed_from < maintenance_until OR lower(period) < now() AS observed
    FROM chosen JOIN targets USING (id) JOIN standings ON target = id
    WHERE (maintenance_from, maintenance_until) IS DISTINCT FROM (lower(period), upper(period))"""


def _row(settings: WindowSettings) -> Row:
    schedules = {
        name: Jsonb(schedule.model_dump(mode="json")) if schedule else None
        for name, schedule in (("once", settings.once), ("weekly", settings.weekly))
    }
    ends_at = settings.once.ends_at if settings.once else None
    return {"name": settings.name, "target": settings.target, "tag": settings.tag, **schedules, "ends_at": ends_at}


def _readable(rows: Sequence[Row]) -> list[MaintenanceWindow]:
    """The windows in rows, without those of a later release that this one cannot read."""
    found = []
    for row in rows:
        try:
            found.append(_window(row))
        except ValueError as error:
            log.warning("maintenance window cannot be read", window=str(row["id"]), reason=describe(error))
    return found


def _window(row: Row) -> MaintenanceWindow:
    return MaintenanceWindow(**{name: row[name] for name in MaintenanceWindow.model_fields})
