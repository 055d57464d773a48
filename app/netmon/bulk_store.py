"""Changes many targets, and maintenance windows, in one transaction: all of the changes are made, or none."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from psycopg.errors import UniqueViolation

from netmon.database import Connection, Database
from netmon.maintenance import MaintenanceWindow
from netmon.maintenance_store import (
    WindowChanges,
    change_windows,
    choose_periods,
    lock_for_change,
    lock_windows,
    stored_windows,
)
from netmon.supervision import deadline
from netmon.target_models import Target, TargetSettings
from netmon.target_store import (
    COLUMNS,
    NameTakenError,
    TargetChange,
    change,
    delete,
    insert,
    require_room,
)

TIMEOUT_SECONDS = 120.0
"""Creating 20,000 targets takes a few seconds, changing or deleting that many half a minute or more."""
LOCK = 0x746172676574
"""Key of the advisory lock that serialises bulk changes: "target" in ASCII."""


class ConcurrentChangeError(Exception):
    """A target was changed by another request between the reading of the targets and the change."""


@dataclass(frozen=True, slots=True)
class BulkChange:
    """What to change."""

    create: Sequence[Target] = ()
    update: Sequence[tuple[Target, TargetSettings]] = ()
    """Targets, each with its new settings."""
    delete: Sequence[Target] = ()
    missing: Sequence[Target] = ()
    """Targets that are kept although the request does not have them."""
    unchanged: int = 0
    """The number of targets that have the requested settings already."""
    windows: WindowChanges = field(default_factory=WindowChanges)
    """Changes of maintenance windows."""
    changed: Sequence[TargetChange] = field(default=(), compare=False)
    """The updated targets; empty before the change is made."""
    planned: Sequence[UUID] = field(default=(), compare=False)
    """The targets whose period of maintenance has changed because of windows."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The targets and windows stored before a change, and the time of the database."""

    targets: Sequence[Target]
    windows: Sequence[MaintenanceWindow]
    now: datetime


Planner = Callable[[Stored], BulkChange]
"""Plans a change of the stored targets; runs in a thread. An error that it raises changes nothing."""


class BulkStore:
    """Plans and makes bulk changes.

    Every method raises `psycopg.OperationalError` or `TimeoutError` while the database is unavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def preview(self, planner: Planner) -> BulkChange:
        """Plan a change without making it.

        Raises:
            TooManyTargetsError: there would be too many targets; and any error of the planner.
        """
        return await deadline(self._preview(planner), TIMEOUT_SECONDS)

    async def apply(self, planner: Planner, *, windows: bool = False) -> BulkChange:
        """Make a change; only with `windows` it may change maintenance windows.

        Raises:
            TooManyTargetsError, NameTakenError, ConcurrentChangeError: nothing was changed; the same holds for any
                error of the planner.
        """
        try:
            return await deadline(self._apply(planner, windows), TIMEOUT_SECONDS)
        except UniqueViolation:
            raise NameTakenError from None

    async def _preview(self, planner: Planner) -> BulkChange:
        async with self._database.transaction() as connection:
            planned = await _plan(connection, planner)
            await require_room(connection, len(planned.create) - len(planned.delete))
            return planned

    async def _apply(self, planner: Planner, windows: bool) -> BulkChange:
        async with self._database.transaction() as connection:
            await (lock_for_change if windows else lock_windows)(connection)
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            planned = await _plan(connection, planner)
            choose = planned.windows.any or any(target.tags for target in planned.create)
            choose = choose or any(before.tags != after.tags for before, after in planned.update)
            await _lock(connection, [*(before for before, _ in planned.update), *planned.delete], all_standings=choose)
            for target in planned.delete:
                await delete(connection, target.id)
            await _free_names(connection, planned.update)
            changed = [await _changed(connection, before.id, after) for before, after in planned.update]
            await require_room(connection, len(planned.create))
            await insert(connection, planned.create)
            await change_windows(connection, planned.windows)
            periods = await choose_periods(connection) if choose else []
        return replace(planned, changed=changed, planned=periods)


async def _plan(connection: Connection, planner: Planner) -> BulkChange:
    cursor = await connection.execute(f"SELECT {COLUMNS} FROM targets")  # noqa: S608 - the names are this code's own
    rows = await cursor.fetchall()
    windows, now = await stored_windows(connection)
    # In a thread: with thousands of targets it takes longer than other requests should wait.
    return await asyncio.to_thread(lambda: planner(Stored([Target(**row) for row in rows], windows, now)))


async def _lock(connection: Connection, targets: Sequence[Target], *, all_standings: bool) -> None:
    """Lock targets that were read: standings first and by id, as in `netmon.result_store`, to avoid deadlocks.

    With `all_standings` also those of all other targets, whose periods of maintenance may change.

    Raises:
        ConcurrentChangeError: one of them was changed or deleted since it was read.
    """
    ids = [target.id for target in targets]
    query = "SELECT target FROM standings WHERE %s OR target = ANY(%s) ORDER BY target FOR UPDATE"
    await connection.execute(query, (all_standings, ids))
    query = "SELECT id, updated_at FROM targets WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
    found = {row["id"]: row["updated_at"] async for row in await connection.execute(query, (ids,))}
    if found != {target.id: target.updated_at for target in targets}:
        raise ConcurrentChangeError


async def _free_names(connection: Connection, update: Sequence[tuple[Target, TargetSettings]]) -> None:
    """Replace names that are about to change, which other targets may get, by names that start with a space.

    No request can give such a name.
    """
    renamed = [before.id for before, after in update if before.name != after.name]
    await connection.execute("UPDATE targets SET name = ' ' || id WHERE id = ANY(%s)", (renamed,))


async def _changed(connection: Connection, target: UUID, settings: TargetSettings) -> TargetChange:
    done = await change(connection, target, lambda _before: settings)
    if done is None:
        raise ConcurrentChangeError
    return done
