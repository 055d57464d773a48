"""The targets that are watched, in the record: added, changed, deleted, and listed with what is known of them.

Every change locks a target's standing before the target itself, as the record of a result does, so that the two wait
for each other instead of for ever.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from netmon import outbox, tracing
from netmon.database import QUERY_TIMEOUT, Connection, Database, Row
from netmon.kafka import STATES
from netmon.models import Probe, Standing, StateChange, Target, TargetSettings
from netmon.states import State
from netmon.supervision import deadline

MAX_TARGETS = 2000
"""Together with their last results they are still one answer of a few megabytes."""

_SETTINGS = tuple(TargetSettings.model_fields)
_COLUMNS = ", ".join(f'"{name}"' for name in Target.model_fields)
_RESULT = ", ".join(name for name in Probe.model_fields if name != "standing")


class NameTakenError(Exception):
    """Another target has the name."""


class TooManyTargetsError(Exception):
    """There are MAX_TARGETS already."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the record says of a target: its standing, and its last result, which carries it, if it has one."""

    standing: Standing
    latest: Probe | None


@dataclass(frozen=True, slots=True)
class Change:
    """A target that was changed; `begun_anew` says since when nothing is known of it, where it is another one now."""

    target: Target
    begun_anew: datetime | None


class Watched:
    """Reads and writes targets, the values of their headers included.

    Every method raises `psycopg.OperationalError` or `TimeoutError` while the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, settings: TargetSettings) -> Target:
        """Add a target; its first probe is due at once.

        Raises:
            NameTakenError, TooManyTargetsError: it is not added.
        """
        return await deadline(self._add(Target.of(settings)), QUERY_TIMEOUT)

    async def change(self, target: UUID, to: Callable[[Target], TargetSettings]) -> Change | None:
        """Give a target the settings that `to` makes of what it is now; None if there is no such target.

        With another spec it is another target, and one that is paused is not known any more: its state is unknown
        then, and its incident ends. What was counted of it stays. With another spec, or going on after a pause, it is
        probed at once.

        Raises:
            NameTakenError: nothing is changed; nor is it where `to` raises.
        """
        return await deadline(self._change(target, to), QUERY_TIMEOUT)

    async def delete(self, target: UUID) -> bool:
        """Delete a target with its standing, rollups and incidents; whether there was one.

        Its single results go like all others, when they are old enough.
        """
        return await deadline(self._delete(target), QUERY_TIMEOUT)

    async def get(self, target: UUID) -> Target | None:
        """The target with this id."""
        query = f"SELECT {_COLUMNS} FROM targets WHERE id = %s"  # noqa: S608 - the names are this code's own
        row = await deadline(self._database.one(query, (target,)), QUERY_TIMEOUT)
        return Target(**row) if row else None

    async def all(self) -> list[Target]:
        """Every target, by name."""
        query = f"SELECT {_COLUMNS} FROM targets ORDER BY lower(name), name"  # noqa: S608 - as above
        return [Target(**row) for row in await deadline(self._database.all(query, ()), QUERY_TIMEOUT)]

    async def known(self, targets: Iterable[UUID]) -> dict[UUID, Known]:
        """What is known of these targets, as far as they are watched."""
        query = f"""
            SELECT standings.target, state, since, recent, to_jsonb(last) AS latest
            FROM standings LEFT JOIN LATERAL (
                SELECT {_RESULT} FROM probes
                WHERE probes.target = standings.target::text AND finished_at IS NOT NULL
                ORDER BY finished_at DESC LIMIT 1) AS last ON true
            WHERE standings.target = ANY(%s)"""  # noqa: S608 - as above
        rows = await deadline(self._database.all(query, (list(targets),)), QUERY_TIMEOUT)
        return {row["target"]: _known(row) for row in rows}

    async def _add(self, target: Target) -> Target:
        values = _row(target) | {"id": target.id, "created_at": target.created_at, "updated_at": target.updated_at}
        insert = f"""
            INSERT INTO targets ({", ".join(f'"{name}"' for name in values)}, due_at)
            SELECT {", ".join(f"%({name})s" for name in values)}, now()
            WHERE (SELECT count(*) FROM targets) < {MAX_TARGETS}"""  # noqa: S608 - as above
        try:
            async with self._database.transaction() as connection:
                cursor = await connection.execute(insert.strip(), values)
                if not cursor.rowcount:
                    raise TooManyTargetsError
                await connection.execute(
                    "INSERT INTO standings (target, state, since, recent) VALUES (%s, 'unknown', %s, '[]')",
                    (target.id, target.created_at),
                )
        except UniqueViolation:
            raise NameTakenError from None
        return target

    async def _change(self, target: UUID, to: Callable[[Target], TargetSettings]) -> Change | None:
        query = f"SELECT {_COLUMNS} FROM targets WHERE id = %s FOR NO KEY UPDATE"  # noqa: S608 - as above
        try:
            async with self._database.transaction() as connection:
                state = await _lock_standing(connection, target)
                row = await (await connection.execute(query, (target,))).fetchone()
                if row is None:
                    return None
                before = Target(**row)
                now = datetime.now(UTC)
                after = Target(**dict(to(before)), id=target, created_at=before.created_at, updated_at=now)
                await _update(connection, before, after)
                begins_anew = after.spec != before.spec or (before.enabled and not after.enabled)
                if begins_anew:
                    await _begin_anew(connection, target, now)
                    await _tell_unknown(connection, after, state, now, "edited" if after.enabled else "paused")
                return Change(after, now if begins_anew else None)
        except UniqueViolation:
            raise NameTakenError from None

    async def _delete(self, target: UUID) -> bool:
        query = f"DELETE FROM targets WHERE id = %s RETURNING {_COLUMNS}"  # noqa: S608 - as above
        async with self._database.transaction() as connection:
            state = await _lock_standing(connection, target)
            row = await (await connection.execute(query, (target,))).fetchone()
            if row:
                await _tell_unknown(connection, Target(**row), state, datetime.now(UTC), "deleted")
        return row is not None


async def _lock_standing(connection: Connection, target: UUID) -> State:
    """The state of a target, which stays what it is until the transaction ends."""
    query = "SELECT state FROM standings WHERE target = %s FOR UPDATE"
    row = await (await connection.execute(query, (target,))).fetchone()
    return row["state"] if row else "unknown"


async def _update(connection: Connection, before: Target, after: Target) -> None:
    values = _row(after)
    at_once = after.spec != before.spec or (after.enabled and not before.enabled)
    due = "now()" if at_once else "least(due_at, now() + make_interval(secs => %(interval_seconds)s))"
    query = f"""
        UPDATE targets SET {", ".join(f'"{name}" = %({name})s' for name in values)},
        updated_at = %(updated_at)s, due_at = {due}
        WHERE id = %(id)s"""  # noqa: S608 - the names are this code's own
    await connection.execute(query.strip(), values | {"id": after.id, "updated_at": after.updated_at})


async def _begin_anew(connection: Connection, target: UUID, now: datetime) -> None:
    """Know nothing of a target any more: its standing is new, and its incident ends."""
    await connection.execute(
        "UPDATE standings SET state = 'unknown', since = %s, recent = '[]' WHERE target = %s", (now, target)
    )
    await connection.execute(
        "UPDATE incidents SET ended_at = greatest(%s, started_at) WHERE target = %s AND ended_at IS NULL",
        (now, target),
    )


async def _tell_unknown(connection: Connection, target: Target, previous: State, now: datetime, cause: str) -> None:
    """Tell that nothing is known of a target any more, if something was."""
    if previous != "unknown":
        change = StateChange(
            target=target.id, name=target.name, previous=previous, state="unknown", at=now, cause=cause
        )
        event = outbox.Event(STATES, str(target.id), change.model_dump_json(), tracing.carrier())
        await outbox.put(connection, [event])


def _row(settings: TargetSettings) -> Row:
    values: dict[str, Any] = settings.model_dump(include=set(_SETTINGS))
    return values | {"spec": Jsonb(values["spec"])}


def _known(row: Row) -> Known:
    standing = Standing(state=row["state"], since=row["since"], recent=row["recent"])
    latest = Probe(**row["latest"], standing=standing) if row["latest"] else None
    return Known(standing, latest)
