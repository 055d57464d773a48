"""PostgreSQL, the record: a pool that survives the server's absence, the migrations, the queries."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection, OperationalError
from psycopg.conninfo import make_conninfo
from psycopg.errors import UndefinedTable
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from netmon import migrations, tracing
from netmon.models import Probe
from netmon.supervision import Backoff, deadline, describe

QUERY_TIMEOUT = 4.0
AWAY = (OperationalError, UndefinedTable, TimeoutError)
"""What a query raises while the database is away or has no schema yet."""

OUTBOX = "outbox"
"""The channel on which new events in the outbox are notified of."""

Row = dict[str, Any]
Connection = AsyncConnection[Row]

_COLUMNS = tuple(name for name in Probe.model_fields if name != "standing")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM probes"  # noqa: S608 - the names are this code's own
_VALUES = f"({', '.join(_COLUMNS)}) VALUES ({', '.join(f'%({name})s' for name in _COLUMNS)})"


class Backlog(NamedTuple):
    """What waits to be done: seconds, but for `events`, which is a count."""

    unfinished: float
    """Age of the oldest probe without a result, beyond the time that its attempts may take."""
    due: float
    """For how long a target has been due."""
    events: float
    """In the outbox."""
    oldest_event: float


class Database:
    """Connections to the database named by a URL."""

    def __init__(self, url: str, application: str) -> None:
        self._conninfo = make_conninfo(
            url,
            application_name=application,
            connect_timeout=3,
            # A peer that vanished without a word is noticed after some 15 s instead of the kernel's two hours.
            keepalives_idle=5,
            keepalives_interval=3,
            keepalives_count=3,
            tcp_user_timeout=10_000,
        )
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._conninfo,
            kwargs={"autocommit": True, "row_factory": dict_row},
            min_size=1,
            max_size=10,
            timeout=2,
            # Give up after about a second: the next query tries anew, where the pool's own back-off would double
            # without bound and leave the service dark for minutes after the database is back.
            reconnect_timeout=1,
            check=_check_connection,
            open=False,
            name="database",
        )
        self._migrated = False

    async def prepare(self) -> None:
        """Open the pool and bring the schema up to date, however long the database is away."""
        await self._pool.open(wait=False)
        backoff = Backoff("database")
        while not self._migrated:
            try:
                await self.migrate()
            except OperationalError as error:
                await backoff.failed(describe(error))

    async def migrate(self) -> None:
        """Bring the schema up to date.

        Raises:
            psycopg.Error: the database is away, or refuses a migration, of which nothing is left then.
        """
        async with await AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
            await migrations.apply(connection)
        self._migrated = True

    async def close(self) -> None:
        """Close the pool, without waiting for connections that hang."""
        await deadline(self._pool.close(timeout=1), 2)

    async def check(self) -> None:
        """Raise unless the database answers and its schema is in place."""
        if not self._migrated:
            raise RuntimeError("the schema is not in place yet")
        async with self._pool.connection() as connection:
            await connection.execute("SELECT 1")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed if the block succeeds, else nothing of it is left."""
        async with self._pool.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Connection]:
        """A transaction whose statements do not wait for each other's results, unless these are asked for."""
        async with self._pool.connection() as connection, connection.pipeline(), connection.transaction():
            yield connection

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A connection of its own, for what lasts as long as one: locks, notifications."""
        async with await AsyncConnection.connect(self._conninfo, autocommit=True, row_factory=dict_row) as connection:
            yield connection

    @asynccontextmanager
    async def queueing(self, *probes: Probe) -> AsyncIterator[None]:
        """Store queued probes if the block succeeds, nothing at all if it fails."""
        async with self.transaction() as connection:
            await queue(connection, probes)
            yield

    async def get(self, probe_id: UUID) -> Probe | None:
        """The probe with this id."""
        row = await deadline(self.one(f"{_SELECT} WHERE id = %s", (probe_id,)), QUERY_TIMEOUT)
        return Probe(**row) if row else None

    async def latest(self, target: str) -> Probe | None:
        """The probe of this target that finished last."""
        query = f"{_SELECT} WHERE target = %s AND finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT 1"
        row = await deadline(self.one(query, (target,)), QUERY_TIMEOUT)
        return Probe(**row) if row else None

    async def backlog(self) -> Backlog:
        """What waits to be done."""
        query = """
            SELECT
                (SELECT max(extract(epoch FROM now() - requested_at) - coalesce(timeout_seconds * (retries + 1), 0))
                 FROM probes LEFT JOIN targets ON targets.id::text = probes.target
                 WHERE status = 'queued') AS unfinished,
                (SELECT extract(epoch FROM now() - min(due_at)) FROM targets WHERE enabled) AS due,
                (SELECT count(*) FROM outbox) AS events,
                (SELECT extract(epoch FROM now() - min(created_at)) FROM outbox) AS oldest_event"""
        row = await self.one(query, ()) or {}
        return Backlog(*(max(float(value or 0), 0) for value in row.values()))

    async def states(self) -> dict[str, int]:
        """How many targets there are, by state."""
        query = """
            SELECT CASE WHEN enabled THEN state ELSE 'paused' END AS state, count(*) AS targets
            FROM targets JOIN standings ON standings.target = targets.id GROUP BY 1"""
        return {row["state"]: row["targets"] for row in await self.all(query, ())}

    async def alerts(self, limit: int, status: str | None) -> list[Row]:
        """The alerts received last, newest first."""
        query = """
            SELECT * FROM alerts WHERE %(status)s::text IS NULL OR status = %(status)s
            ORDER BY received_at DESC LIMIT %(limit)s"""
        return await deadline(self.all(query, {"limit": limit, "status": status}), QUERY_TIMEOUT)

    async def put_alert(self, alert: Row) -> None:
        """Store an alert in place of what is known of the same one.

        Those older than 30 days go, and those whose end was never told although they have begun anew.
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
        await deadline(self.run(query, values), QUERY_TIMEOUT)

    async def run(self, query: str, parameters: Row) -> None:
        """Run a statement whose answer does not matter."""
        async with self._pool.connection() as connection:
            await connection.execute(query.strip(), parameters)

    async def all(self, query: str, parameters: Row | tuple[object, ...]) -> list[Row]:
        """All rows of an answer."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query.strip(), parameters)
            return await cursor.fetchall()

    async def one(self, query: str, parameters: Row | tuple[object, ...]) -> Row | None:
        """The first row of an answer."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query.strip(), parameters)
            return await cursor.fetchone()


async def stored(connection: Connection, ids: Collection[UUID]) -> list[Probe]:
    """The probes with these ids."""
    cursor = await connection.execute(f"{_SELECT} WHERE id = ANY(%s)", (list(ids),))
    return [Probe(**row) async for row in cursor]


async def queue(connection: Connection, probes: Sequence[Probe]) -> None:
    """Store queued probes; what is known of one already stays."""
    query = f"INSERT INTO probes {_VALUES} ON CONFLICT (id) DO NOTHING"
    await connection.cursor().executemany(query, [probe.model_dump(include=set(_COLUMNS)) for probe in probes])


async def _check_connection(connection: Connection) -> None:
    with tracing.quiet():
        await AsyncConnectionPool.check_connection(connection)
