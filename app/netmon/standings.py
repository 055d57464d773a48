"""Standings: every change is made under the lock of its row, and written with the periods that it closes.

Each change gives a standing a higher version. Events and cached states are ordered by it, so that their order is that
of storing: a clock that is set back, or that differs between two machines, cannot put a new state behind an old one.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

from netmon.database import Connection, Row
from netmon.models import Point, Standing
from netmon.periods import Interval, OpenPeriod, Period, observe
from netmon.periods import settle as settle_period

COLUMNS = ", ".join(f"standings.{name}" for name in Standing.model_fields)
"""The columns of a standing, for `standing_of`."""
MAINTENANCE_COLUMNS = "maintenance_from, maintenance_until"
"""The columns of the maintenance of a target, for `maintenance_of`."""
LOCKED_COLUMNS = (
    f"standings.target, {COLUMNS}, latest, generation, observed_state, observed_from, overdue_at, now() AS now, "
    f"{MAINTENANCE_COLUMNS}"
)
"""The columns of a locked standing with its target, for `LockedStanding.of`."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def standing_of(row: Row) -> Standing:
    """The standing in a row with COLUMNS, which is valid: forty results take most of the time of a validation."""
    columns = {name: row[name] for name in Standing.model_fields}
    return Standing.model_construct(**columns | {"recent": [Point(*point) for point in row["recent"]]})


def opened_of(row: Row) -> OpenPeriod | None:
    """The open period in a row with the columns `observed_state`, `observed_from` and `overdue_at`."""
    if row["observed_state"] is None:
        return None
    return OpenPeriod(row["observed_state"], row["observed_from"], row["overdue_at"])


def maintenance_of(row: Row) -> Interval | None:
    """The maintenance of the target that is current, next, or just over, in a row with MAINTENANCE_COLUMNS."""
    start, end = row["maintenance_from"], row["maintenance_until"]
    return None if start is None or end is None else Interval(start, end)


def next_version(version: int, now: datetime) -> int:
    """The version after `version`: the time in microseconds since 1970, or the next number if that is not higher.

    With the time as a part of it, versions stay higher than those in caches after a backup was restored, and higher
    than the times by which the former release orders its states.
    """
    return max(version + 1, (now - _EPOCH) // _MICROSECOND)


@dataclass(slots=True)
class LockedStanding:
    """A standing whose row is locked, and its changes, which `write` stores."""

    target: UUID
    standing: Standing
    latest: UUID | None
    """The last stored result."""
    generation: int
    """How often the standing was reset."""
    opened: OpenPeriod | None
    """The open period of the target."""
    now: datetime
    """The time of the transaction, by the clock of the database."""
    maintenance: Interval | None = None
    """The maintenance of the target that is current, next, or just over."""
    closed: list[Period] = field(default_factory=list)
    set_back: bool = False
    """Whether the clock was set back, to a time before the open period."""

    @classmethod
    def of(cls, row: Row) -> Self:
        """From a row with LOCKED_COLUMNS."""
        return cls(
            row["target"],
            standing_of(row),
            row["latest"],
            row["generation"],
            opened_of(row),
            row["now"],
            maintenance_of(row),
        )

    def change(self, **changes: Any) -> None:
        """Change fields of the standing, and give it the next version."""
        version = next_version(self.standing.version, self.now)
        self.standing = self.standing.model_copy(update={**changes, "version": version})  # already valid

    def observe(self, overdue_at: datetime) -> None:
        """Account for a result after which the next one is overdue at a time."""
        self._account(observe(self.opened, self.now, self.standing.state, overdue_at, self.maintenance))

    def reset(self) -> None:
        """Reset the standing: the state is unknown, and probes that were requested before do not change it."""
        self.generation += 1
        self.change(stored_at=self.now, state="unknown", since=self.now, recent=[], succeeded_at=None)
        self.observe(self.now)

    def resume(self) -> None:
        """Expect results from now on."""
        self.change(stored_at=self.now)

    def reschedule(self, overdue_after: timedelta) -> None:
        """Change the time after a result at which the next one is overdue."""
        self.change()
        if self.opened and self.standing.stored_at and self.opened.overdue_at > self.now:
            overdue_at = max(self.standing.stored_at + overdue_after, self.now)
            self.opened = replace(self.opened, overdue_at=overdue_at)

    def _account(self, accounted: tuple[Sequence[Period], OpenPeriod | None]) -> None:
        self.set_back = self.set_back or bool(self.opened and self.now < self.opened.started_at)
        periods, self.opened = accounted
        self.closed += periods

    def encode(self) -> str:
        """The columns of the row as JSON."""
        columns = {
            "target": str(self.target),
            "latest": self.latest and str(self.latest),
            "generation": self.generation,
            **_open_columns(self.opened),
        }
        return f"{json.dumps(columns)[:-1]}, {self.standing.model_dump_json()[1:]}"


async def lock(connection: Connection, target: UUID) -> LockedStanding | None:
    """Lock the standing of a target until the transaction ends; None if there is no such target."""
    query = f"""
        SELECT {LOCKED_COLUMNS} FROM standings JOIN targets ON targets.id = standings.target
        WHERE standings.target = %s FOR UPDATE OF standings"""  # noqa: S608 - names of this code
    row = await (await connection.execute(query.strip(), (target,))).fetchone()
    return LockedStanding.of(row) if row else None


async def write(connection: Connection, standings: Iterable[LockedStanding]) -> None:
    """Write changed standings, and the periods that they have closed."""
    changed = list(standings)
    query = """
        UPDATE standings
        SET state = new.state, since = new.since, recent = new.recent, succeeded_at = new.succeeded_at,
            stored_at = new.stored_at, version = new.version, latest = new.latest, generation = new.generation,
            observed_state = new.observed_state, observed_from = new.observed_from, overdue_at = new.overdue_at
        FROM (SELECT * FROM jsonb_populate_recordset(NULL::standings, %s::jsonb) LIMIT %s) AS new
        WHERE standings.target = new.target"""
    # The limit is a hint for PostgreSQL that the rows are few: it would expect a hundred, and read the whole table.
    rows = f"[{','.join(each.encode() for each in changed)}]"
    await connection.execute(query.strip(), (rows, len(changed)))
    for each in changed:
        if each.set_back:
            await _discard_future(connection, each)
    await _write_periods(connection, [(each.target, period) for each in changed for period in each.closed])


async def settle(connection: Connection, maintenance: Mapping[UUID, Interval | None]) -> None:
    """Close the periods of targets until now, before their maintenance windows change.

    Args:
        connection: in the transaction of that change.
        maintenance: the windows as they are before the change.
    """
    query = """
        SELECT target, observed_state, observed_from, overdue_at, now() AS now FROM standings
        WHERE target = ANY(%s) AND observed_state IS NOT NULL ORDER BY target FOR UPDATE"""
    rows = await (await connection.execute(query.strip(), (list(maintenance),))).fetchall()
    settled = {row["target"]: settle_period(opened_of(row), row["now"], maintenance[row["target"]]) for row in rows}
    update = """
        UPDATE standings SET version = standings.version + 1,
            observed_state = new.observed_state, observed_from = new.observed_from, overdue_at = new.overdue_at
        FROM jsonb_populate_recordset(NULL::standings, %s::jsonb) AS new
        WHERE standings.target = new.target"""
    opened = [{"target": str(target), **_open_columns(left)} for target, (_, left) in settled.items()]
    await connection.execute(update.strip(), (json.dumps(opened),))
    await _write_periods(connection, [(target, each) for target, (closed, _) in settled.items() for each in closed])


def _open_columns(opened: OpenPeriod | None) -> dict[str, str | None]:
    return {
        "observed_state": opened.state if opened else None,
        "observed_from": opened.started_at.isoformat() if opened else None,
        "overdue_at": opened.overdue_at.isoformat() if opened else None,
    }


async def _write_periods(connection: Connection, periods: Iterable[tuple[UUID, Period]]) -> None:
    rows = [
        {"target": str(target), "state": state, "started_at": start.isoformat(), "ended_at": end.isoformat()}
        for target, (state, start, end) in periods
    ]
    if rows:
        insert = """
            INSERT INTO periods (target, state, started_at, ended_at)
            SELECT target, state, started_at, ended_at FROM jsonb_populate_recordset(NULL::periods, %s::jsonb)
            ON CONFLICT (target, ended_at) DO NOTHING"""
        await connection.execute(insert.strip(), (json.dumps(rows),))


async def _discard_future(connection: Connection, locked: LockedStanding) -> None:
    """Discard the time of periods after now: it has not passed yet, as the clock was set back."""
    query = """
        WITH discarded AS (
            DELETE FROM periods WHERE target = %(target)s AND ended_at > %(now)s RETURNING state, started_at)
        INSERT INTO periods (target, state, started_at, ended_at)
        SELECT %(target)s, state, started_at, %(now)s FROM discarded
        WHERE started_at < %(now)s ORDER BY started_at LIMIT 1
        ON CONFLICT (target, ended_at) DO NOTHING"""
    await connection.execute(query.strip(), {"target": locked.target, "now": locked.now})
