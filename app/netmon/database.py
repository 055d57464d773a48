"""PostgreSQL, the system of record: a connection pool that survives outages, migrations, queries."""

import time
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection, OperationalError
from psycopg.conninfo import make_conninfo
from psycopg.errors import UndefinedTable
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from netmon import migrations, tracing
from netmon.models import CLOCK_TOLERANCE, Probe
from netmon.states import SHOWN_STATE, STALE_SECONDS
from netmon.supervision import Backoff, deadline, describe

QUERY_TIMEOUT_SECONDS = 4.0
UNAVAILABLE_ERRORS = (OperationalError, UndefinedTable, TimeoutError)
"""The errors of a query while the database is unavailable or has no schema yet."""

CATCH_UP_SECONDS = 60.0
"""How long probes may be late after a start, as in the alert `MonitoredTargetsStale`."""

OUTBOX = "outbox"
"""The notification channel for new events in the outbox."""

Row = dict[str, Any]
Connection = AsyncConnection[Row]

_COLUMNS = tuple(name for name in Probe.model_fields if name != "standing")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM probes"  # noqa: S608 - the names are this code's own
NOT_EXECUTED = "not_executed"
"""The error of a probe that ended without being executed: its job was lost. A later result replaces it."""
REQUEST_COLUMNS = ("id", "url", "target", "kind", "requested_at", "trace_id")
"""The columns of a probe that its result does not change."""


class Backlog(NamedTuple):
    """The backlog of the platform; 0 if there is none."""

    unfinished_seconds: float
    """Age of the oldest probe without a result, less the time that its attempts may take."""
    due_seconds: float
    """How long the most overdue target has been due."""
    events: float
    """Number of events in the outbox."""
    oldest_event_seconds: float
    """Age of the oldest event in the outbox."""


class Database:
    """A pool of connections to the database, and the queries that several modules need.

    Queries raise one of `UNAVAILABLE_ERRORS` while the database is unavailable.
    """

    def __init__(self, url: str, application: str) -> None:
        self._conninfo = make_conninfo(
            url,
            application_name=application,
            connect_timeout=3,
            # A peer that vanished is detected after about 15 s instead of the two hours of the kernel.
            keepalives_idle=5,
            keepalives_interval=3,
            keepalives_count=3,
            tcp_user_timeout=10_000,
            # A client that hangs in a transaction would block the others; none waits for longer than 5 s in one.
            options="-c idle_in_transaction_session_timeout=30s",
        )
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._conninfo,
            kwargs={"autocommit": True, "row_factory": dict_row},
            min_size=1,
            max_size=10,
            timeout=2,
            # Give up after about a second, and reconnect at the next query: the backoff of the pool doubles without
            # bound, which would prolong an outage by minutes after the database is back.
            reconnect_timeout=1,
            check=_check_connection,
            open=False,
            name="database",
        )
        self._migrated = False
        self._created_at = time.monotonic()

    async def prepare(self) -> None:
        """Open the pool and migrate the schema, retrying for as long as the database is unavailable."""
        await self._pool.open(wait=False)
        backoff = Backoff("database")
        while not self._migrated:
            try:
                await self.migrate()
            except OperationalError as error:
                await backoff.failed(describe(error))

    async def migrate(self) -> None:
        """Migrate the schema.

        Raises:
            psycopg.Error: the database is unavailable, or a migration failed and was rolled back.
        """
        async with await AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
            await migrations.apply(connection)
        self._migrated = True

    async def close(self) -> None:
        """Close the pool without waiting for hanging connections."""
        await deadline(self._pool.close(timeout=1), 2)

    async def check(self) -> None:
        """Raise an error unless the database answers and its schema is up to date."""
        if not self._migrated:
            raise RuntimeError("the schema is not migrated yet")
        async with self._pool.connection() as connection:
            await connection.execute("SELECT 1")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed if the block succeeds, otherwise rolled back."""
        async with self._pool.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Connection]:
        """A transaction in pipeline mode: statements are sent without waiting for the results of earlier ones."""
        async with self._pool.connection() as connection, connection.pipeline(), connection.transaction():
            yield connection

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A connection outside the pool, for session-level locks and notifications."""
        async with await AsyncConnection.connect(self._conninfo, autocommit=True, row_factory=dict_row) as connection:
            yield connection

    @asynccontextmanager
    async def queueing(self, *probes: Probe) -> AsyncIterator[None]:
        """Store queued probes, but only if the block succeeds."""
        async with self.transaction() as connection:
            await queue(connection, probes)
            yield

    async def get(self, probe_id: UUID) -> Probe | None:
        """The probe with this id; None if there is none."""
        row = await deadline(self.one(f"{_SELECT} WHERE id = %s", (probe_id,)), QUERY_TIMEOUT_SECONDS)
        return Probe(**row) if row else None

    async def finished(self, probes: Collection[UUID]) -> set[UUID]:
        """Those of these probes that have a result."""
        query = "SELECT id FROM probes WHERE id = ANY(%s) AND status <> 'queued' AND error IS DISTINCT FROM %s"
        found = await deadline(self.all(query, (list(probes), NOT_EXECUTED)), QUERY_TIMEOUT_SECONDS)
        return {row["id"] for row in found}

    async def abandon(self, probe: UUID, reason: str) -> bool:
        """End a queued probe as failed, without effect on its target; returns whether it was queued."""
        work = self._abandon("id = %(probe)s", {"probe": probe, "reason": reason})
        return bool(await deadline(work, QUERY_TIMEOUT_SECONDS))

    async def abandon_older_than(self, age: timedelta, reason: str) -> int:
        """End queued probes that were requested before this time as failed; returns their number, at most 1000."""
        work = self._abandon("requested_at < now() - %(age)s", {"age": age, "reason": reason})
        return await deadline(work, QUERY_TIMEOUT_SECONDS)

    async def _abandon(self, condition: str, parameters: Row) -> int:
        # No event and no change of a standing: the failure is one of the platform, not of the target.
        query = f"""
            UPDATE probes SET status = 'failed', finished_at = greatest(now(), requested_at), duration_ms = 0,
                error = '{NOT_EXECUTED}', detail = 'the probe was not executed: ' || %(reason)s::text
            WHERE id IN (
                SELECT id FROM probes WHERE status = 'queued' AND {condition} LIMIT 1000 FOR UPDATE SKIP LOCKED)
            RETURNING id"""  # noqa: S608 - parts of this code
        return len(await self.all(query, parameters))

    async def latest(self, target: str) -> Probe | None:
        """The last finished probe of this target; None if there is none."""
        # A time in the future, by a clock that was set back since, comes after all others.
        query = f"""
            SELECT * FROM (
                ({_SELECT} WHERE target = %(target)s AND finished_at <= now() + %(tolerance)s
                 ORDER BY finished_at DESC LIMIT 1)
                UNION ALL
                ({_SELECT} WHERE target = %(target)s AND finished_at > now() + %(tolerance)s
                 ORDER BY finished_at DESC LIMIT 1)
            ) AS found ORDER BY finished_at LIMIT 1"""  # noqa: S608 - the names are this code's own
        row = await deadline(self.one(query, {"target": target, "tolerance": CLOCK_TOLERANCE}), QUERY_TIMEOUT_SECONDS)
        return Probe(**row) if row else None

    async def backlog(self) -> Backlog:
        """Measure the backlog."""
        query = """
            SELECT
                (SELECT max(extract(epoch FROM now() - requested_at) - coalesce(timeout_seconds * (retries + 1), 0))
                 FROM probes LEFT JOIN targets ON targets.id::text = probes.target
                 WHERE status = 'queued') AS unfinished_seconds,
                (SELECT extract(epoch FROM now() - min(due_at)) FROM targets WHERE enabled) AS due_seconds,
                (SELECT count(*) FROM outbox) AS events,
                (SELECT extract(epoch FROM now() - min(created_at)) FROM outbox) AS oldest_event_seconds"""
        row = await self.one(query, ()) or {}
        return Backlog(*(max(float(value or 0), 0) for value in row.values()))

    async def outdated_collations(self) -> int:
        """The number of collations in use whose version is not the one of the server's libraries.

        Indexes of texts were sorted by the recorded version: with another one they miss rows.
        """
        query = """
            SELECT
                (SELECT count(*) FROM pg_database WHERE datname = current_database()
                 AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid))
                + (SELECT count(*) FROM pg_collation
                   WHERE collversion <> pg_collation_actual_version(oid) AND oid IN (
                       SELECT attcollation FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0)) AS outdated"""
        row = await self.one(query, ())
        return row["outdated"] if row else 0

    async def check_probing(self) -> None:
        """Raise unless due targets are probed, and probes finished, in time.

        In the first CATCH_UP_SECONDS of this process they may be late: after a stop of the stack all targets are due.

        Raises:
            RuntimeError: the scheduler or the workers are behind by more than STALE_SECONDS.
        """
        backlog = await deadline(self.backlog(), QUERY_TIMEOUT_SECONDS)
        if time.monotonic() - self._created_at < CATCH_UP_SECONDS:
            return
        if backlog.due_seconds > STALE_SECONDS:
            raise RuntimeError(f"a target has been due for {backlog.due_seconds:.0f} s")
        if backlog.unfinished_seconds > STALE_SECONDS:
            raise RuntimeError(f"a probe has had no result for {backlog.unfinished_seconds:.0f} s")

    async def states(self) -> dict[str, int]:
        """The number of targets by state."""
        query = f"""
            SELECT {SHOWN_STATE} AS state, count(*) AS targets
            FROM targets JOIN standings ON standings.target = targets.id GROUP BY 1"""  # noqa: S608 - names of this code
        return {row["state"]: row["targets"] for row in await self.all(query, ())}

    async def alerts(self, limit: int, status: str | None) -> list[Row]:
        """The latest `limit` alerts, newest first."""
        query = """
            SELECT * FROM alerts WHERE %(status)s::text IS NULL OR status = %(status)s
            ORDER BY received_at DESC LIMIT %(limit)s"""
        return await deadline(self.all(query, {"limit": limit, "status": status}), QUERY_TIMEOUT_SECONDS)

    async def put_alert(self, alert: Row) -> None:
        """Insert an alert, or update the stored one.

        Alerts older than 30 days are deleted, and those that fired again although their end was never reported.
        """
        values = alert | {"labels": Jsonb(alert["labels"]), "annotations": Jsonb(alert["annotations"])}
        query = f"""
            WITH outdated AS (
                DELETE FROM alerts WHERE received_at < now() - interval '30 days'
                OR fingerprint = %(fingerprint)s AND starts_at < %(starts_at)s AND status = 'firing')
            INSERT INTO alerts AS known ({", ".join(alert)}) VALUES ({", ".join(f"%({name})s" for name in alert)})
            ON CONFLICT (fingerprint, starts_at) DO UPDATE SET status = excluded.status, ends_at = excluded.ends_at,
            labels = excluded.labels, annotations = excluded.annotations, received_at = excluded.received_at
            WHERE known.status = 'firing' OR excluded.status = 'resolved'"""  # noqa: S608 - names of this code
        await deadline(self.run(query, values), QUERY_TIMEOUT_SECONDS)

    async def run(self, query: str, parameters: Row) -> None:
        """Execute a statement and discard its result."""
        async with self._pool.connection() as connection:
            await connection.execute(query.strip(), parameters)

    async def all(self, query: str, parameters: Row | tuple[object, ...]) -> list[Row]:
        """All rows of a result."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query.strip(), parameters)
            return await cursor.fetchall()

    async def one(self, query: str, parameters: Row | tuple[object, ...]) -> Row | None:
        """The first row of a result; None if it is empty."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query.strip(), parameters)
            return await cursor.fetchone()


async def probes_by_id(connection: Connection, ids: Collection[UUID]) -> list[Probe]:
    """The probes with these ids."""
    cursor = await connection.execute(f"{_SELECT} WHERE id = ANY(%s)", (list(ids),))
    return [Probe(**row) async for row in cursor]


async def queue(connection: Connection, probes: Sequence[Probe]) -> None:
    """Insert queued probes, in order; probes that are stored already stay as they are."""
    query = f"""
        INSERT INTO probes ({", ".join(REQUEST_COLUMNS)}, status)
        SELECT {", ".join(REQUEST_COLUMNS)}, 'queued' FROM jsonb_populate_recordset(NULL::probes, %s::jsonb)
        ON CONFLICT (id) DO NOTHING"""  # noqa: S608 - the names are this code's own
    await connection.execute(query.strip(), (rows_of(probes, set(REQUEST_COLUMNS)),))


def rows_of(probes: Iterable[Probe], columns: set[str]) -> str:
    """These columns of probes as a JSON list, for `jsonb_populate_recordset`."""
    return f"[{','.join(probe.model_dump_json(include=columns) for probe in probes)}]"


async def _check_connection(connection: Connection) -> None:
    with tracing.untraced():
        await AsyncConnectionPool.check_connection(connection)
