"""Stores monitored targets in PostgreSQL, and reads them with their standings and last results.

Every change locks the windows of maintenance, then the standing of a target, as `netmon.result_store` does, and then
the target itself, to avoid deadlocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from netmon import heartbeat_store, outbox, standings, tracing
from netmon.database import QUERY_TIMEOUT_SECONDS, Connection, Database, Row
from netmon.kafka import STATES
from netmon.maintenance_store import choose_periods, lock_windows
from netmon.models import Plan, Probe, Standing
from netmon.standings import LockedStanding, standing_of
from netmon.states import State, overdue_after
from netmon.supervision import deadline
from netmon.target_models import StateChange, Target, TargetSettings, settings_of

MAX_TARGETS = 20_000
"""The number that `bench.targets` measures the status page and the API with."""

_SETTINGS = tuple(TargetSettings.model_fields)
COLUMNS = ", ".join(f'"{name}"' for name in Target.model_fields)
RESULT_COLUMNS = ", ".join(name for name in Probe.model_fields if name != "standing")
"""The columns of a result in the table `probes`."""
LAST_RESULT = f"""
    LATERAL (
        SELECT {RESULT_COLUMNS} FROM probes WHERE id = coalesce(standings.latest, (
            SELECT id FROM probes
            WHERE probes.target = standings.target::text AND finished_at IS NOT NULL
            ORDER BY finished_at DESC LIMIT 1))
    ) AS last ON true""".strip()  # noqa: S608 - the names are this code's own
"""SQL: a join of a standing with the last result; by time only if a release without the column `latest` stored it."""


class NameTakenError(Exception):
    """Another target has the name."""


class TooManyTargetsError(Exception):
    """MAX_TARGETS are stored already."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The standing of a target, and its last result, which carries the standing; None without a result.

    `stored_at` is the time at which the last result was stored, or the target was added, edited or resumed.
    """

    standing: Standing
    latest: Probe | None
    stored_at: datetime


@dataclass(frozen=True, slots=True)
class TargetChange:
    """A target after a change; `reset` is its standing if that was reset."""

    target: Target
    reset: Standing | None
    retagged: bool = False
    """Whether its tags have changed."""


class PlannedTarget(NamedTuple):
    """The plan of a target's probes, and the generation of its standing."""

    plan: Plan
    generation: int


class TargetStore:
    """Reads and writes targets, with their credentials.

    Every method raises `psycopg.OperationalError` or `TimeoutError` while the database is unavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, settings: TargetSettings) -> Target:
        """Add a target; its first probe is due immediately.

        Raises:
            NameTakenError, TooManyTargetsError: the target was not added.
        """
        return await deadline(self._add(Target.of(settings)), QUERY_TIMEOUT_SECONDS)

    async def change(self, target: UUID, to: Callable[[Target], TargetSettings]) -> TargetChange | None:
        """Change the settings of a target to `to(target)`; None if there is no such target.

        If the spec changes or the target is paused, its standing is reset: the state becomes unknown, and an incident
        ends; statistics are kept. If the spec changes or the target is resumed, it is probed immediately.

        Raises:
            NameTakenError: nothing was changed; the same holds for errors that `to` raises.
        """
        return await deadline(self._change(target, to), QUERY_TIMEOUT_SECONDS)

    async def delete(self, target: UUID) -> bool:
        """Delete a target with its standing, rollups and incidents; returns whether there was one.

        Its results are deleted by `netmon.retention`, like all others.
        """
        return await deadline(self._delete(target), QUERY_TIMEOUT_SECONDS)

    async def get(self, target: UUID) -> Target | None:
        """The target with this id."""
        query = f"SELECT {COLUMNS} FROM targets WHERE id = %s"  # noqa: S608 - the names are this code's own
        row = await deadline(self._database.one(query, (target,)), QUERY_TIMEOUT_SECONDS)
        return Target(**row) if row else None

    async def planned(self, target: UUID) -> PlannedTarget | None:
        """The content of a job of this target; None if there is no such target."""
        query = f"""
            SELECT {", ".join(Plan.model_fields)}, generation
            FROM targets JOIN standings ON target = id WHERE id = %s"""  # noqa: S608 - as above
        row = await deadline(self._database.one(query, (target,)), QUERY_TIMEOUT_SECONDS)
        return PlannedTarget(Plan(**row), row["generation"]) if row else None

    async def snapshot(self, target: UUID) -> Snapshot | None:
        """The snapshot of a target; None if there is no such target."""
        query = f"""
            SELECT {standings.COLUMNS}, to_jsonb(last) AS latest FROM standings LEFT JOIN {LAST_RESULT}
            WHERE standings.target = %s"""  # noqa: S608 - as above
        row = await deadline(self._database.one(query, (target,)), QUERY_TIMEOUT_SECONDS)
        return snapshot(row) if row else None

    async def _add(self, target: Target) -> Target:
        try:
            async with self._database.transaction() as connection:
                await lock_windows(connection)
                await require_room(connection, 1)
                await insert(connection, [target])
                if target.tags and await choose_periods(connection, target.id):
                    return await _read(connection, target.id)
        except UniqueViolation:
            raise NameTakenError from None
        return target

    async def _change(self, target: UUID, to: Callable[[Target], TargetSettings]) -> TargetChange | None:
        try:
            async with self._database.transaction() as connection:
                await lock_windows(connection)
                done = await change(connection, target, to)
                if done and done.retagged and await choose_periods(connection, target):
                    return replace(done, target=await _read(connection, target))
                return done
        except UniqueViolation:
            raise NameTakenError from None

    async def _delete(self, target: UUID) -> bool:
        async with self._database.transaction() as connection:
            await lock_windows(connection)
            return await delete(connection, target)


async def _read(connection: Connection, target: UUID) -> Target:
    query = f"SELECT {COLUMNS} FROM targets WHERE id = %s"  # noqa: S608 - the names are this code's own
    row = await (await connection.execute(query, (target,))).fetchone()
    return Target(**(row or {}))


async def require_room(connection: Connection, number: int) -> None:
    """Return if this number of targets can be added.

    Raises:
        TooManyTargetsError: there would be more than MAX_TARGETS.
    """
    row = await (await connection.execute("SELECT count(*) AS number FROM targets")).fetchone()
    if row and row["number"] + number > MAX_TARGETS:
        raise TooManyTargetsError


async def insert(connection: Connection, targets: Sequence[Target]) -> None:
    """Insert targets with their standings; the first probes are due immediately.

    Raises:
        psycopg.errors.UniqueViolation: a name is taken.
    """
    rows = [
        _row(target) | {"id": target.id, "created_at": target.created_at, "updated_at": target.updated_at}
        for target in targets
    ]
    names = list(rows[0]) if rows else []
    query = f"""
        INSERT INTO targets ({", ".join(f'"{name}"' for name in names)}, due_at)
        VALUES ({", ".join(f"%({name})s" for name in names)}, now())"""  # noqa: S608 - as above
    cursor = connection.cursor()
    await cursor.executemany(query.strip(), rows)
    await cursor.executemany(
        "INSERT INTO standings (target, state, since, recent) VALUES (%s, 'unknown', %s, '[]')",
        [(target.id, target.created_at) for target in targets],
    )
    await heartbeat_store.expect(connection, targets)


async def change(connection: Connection, target: UUID, to: Callable[[Target], TargetSettings]) -> TargetChange | None:
    """Change a target, see `TargetStore.change`; equal settings change nothing.

    The caller locks the windows before, and chooses the period of maintenance of a target whose tags have changed.

    Raises:
        psycopg.errors.UniqueViolation: the name is taken.
    """
    query = f"SELECT {COLUMNS} FROM targets WHERE id = %s FOR NO KEY UPDATE"  # noqa: S608 - as above
    locked = await standings.lock(connection, target)
    row = await (await connection.execute(query, (target,))).fetchone()
    if row is None or locked is None:
        return None
    before = Target(**row)
    settings = settings_of(to(before))
    if settings == before.settings:
        return TargetChange(before, None)
    given = {name: getattr(before, name) for name in Target.model_fields if name not in _SETTINGS}
    after = Target(**dict(settings), **(given | {"updated_at": datetime.now(UTC)}))
    await _update(connection, before, after)
    await heartbeat_store.follow(connection, before, after)
    retagged = after.tags != before.tags
    if after.spec != before.spec or (before.enabled and not after.enabled):
        state = locked.standing.state
        await _reset(connection, locked)
        cause = "edited" if after.enabled else "paused"
        await _publish_unknown(connection, after, state, locked.now, cause, locked.standing.version)
        return TargetChange(after, locked.standing, retagged)
    if after.enabled and not before.enabled:
        locked.resume()
        await standings.write(connection, [locked])
    elif _overdue_after(after) != _overdue_after(before):
        locked.reschedule(_overdue_after(after))
        await standings.write(connection, [locked])
    return TargetChange(after, None, retagged)


async def delete(connection: Connection, target: UUID) -> bool:
    """Delete a target, see `TargetStore.delete`."""
    query = f"DELETE FROM targets WHERE id = %s RETURNING {COLUMNS}"  # noqa: S608 - as above
    locked = await standings.lock(connection, target)
    await _report_end(connection, target)
    row = await (await connection.execute(query, (target,))).fetchone()
    if row and locked:
        await _publish_unknown(connection, Target(**row), locked.standing.state, locked.now, "deleted")
    return row is not None


async def _update(connection: Connection, before: Target, after: Target) -> None:
    values = _row(after)
    immediately = after.spec != before.spec or (after.enabled and not before.enabled)
    due = "now()" if immediately else "least(due_at, now() + make_interval(secs => %(interval_seconds)s))"
    query = f"""
        UPDATE targets SET {", ".join(f'"{name}" = %({name})s' for name in values)},
        updated_at = %(updated_at)s, due_at = {due}
        WHERE id = %(id)s"""  # noqa: S608 - the names are this code's own
    await connection.execute(query.strip(), values | {"id": after.id, "updated_at": after.updated_at})


async def _reset(connection: Connection, locked: LockedStanding) -> None:
    """Reset a standing to unknown, and close the incident of its target."""
    locked.reset()
    await standings.write(connection, [locked])
    await connection.execute(
        "UPDATE incidents SET ended_at = greatest(%s, started_at) WHERE target = %s AND ended_at IS NULL",
        (locked.now, locked.target),
    )


async def _report_end(connection: Connection, target: UUID) -> None:
    """Keep the id of an open incident that is deleted with its target, so that its alert resolves at once."""
    await connection.execute("DELETE FROM deleted_incidents WHERE deleted_at < now() - interval '1 hour'")
    await connection.execute(
        """
        INSERT INTO deleted_incidents (id, target)
        SELECT id, target FROM incidents WHERE target = %s AND ended_at IS NULL""".strip(),
        (target,),
    )


async def _publish_unknown(
    connection: Connection, target: Target, previous: State, now: datetime, cause: str, version: int = 0
) -> None:
    """Publish the change to the state unknown, unless the target was in it already."""
    if previous != "unknown":
        change = StateChange(
            target=target.id,
            name=target.name,
            previous=previous,
            state="unknown",
            at=now,
            version=version,
            cause=cause,
        )
        event = outbox.OutboxEvent(STATES, str(target.id), change.model_dump_json(), tracing.carrier())
        await outbox.put(connection, [event])


def _overdue_after(target: Target) -> timedelta:
    return overdue_after(target.interval_seconds, target.patience_seconds)


def _row(settings: TargetSettings) -> Row:
    values: dict[str, Any] = settings.model_dump(include=set(_SETTINGS))
    return values | {"spec": Jsonb(values["spec"])}


def snapshot(row: Row) -> Snapshot:
    """The snapshot in a row with the columns of a standing and the `latest` result."""
    standing = standing_of(row)
    latest = Probe(**row["latest"], standing=standing) if row["latest"] else None
    return Snapshot(standing, latest, row["stored_at"])
