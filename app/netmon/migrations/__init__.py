"""Schema migrations: the numbered SQL files beside this module, each applied once, in order.

They are run by whatever starts first, so two starters must not meet, and a starter that is killed must not bar the
next. A session's advisory lock gives both, as it ends with its connection; the lock *row* of the usual migration tools
outlives a kill and has to be broken by hand, and their weight (an ORM, or a SQL parser) buys nothing for plain SQL.

A migration only adds. While a release replaces another one, and after it was rolled back, code that does not know the
migration works on the schema: what that code reads or writes stays, with its meaning. A new column has a default or
takes NULL; what nothing reads any more is removed by a later release.
"""

from pathlib import Path
from typing import Any

from psycopg import AsyncConnection

from netmon.logs import logger

LOCK = 0x6E65746D6F6E
"""Key of the advisory lock: "netmon" in ASCII."""

LOCK_TIMEOUT = "2s"
"""A migration that waits for a table's lock bars every later query of that table: so it gives up, to be tried again."""

log = logger(__name__)


async def apply(connection: AsyncConnection[Any]) -> None:
    """Bring the schema up to date through an autocommit connection; wait while another process does so."""
    await connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            " name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        cursor = await connection.execute("SELECT name FROM schema_migrations")
        applied = {name for (name,) in await cursor.fetchall()}
        for path in sorted(Path(__file__).parent.glob("*.sql")):
            if path.stem in applied:
                continue
            async with connection.transaction():
                await connection.execute("SELECT set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
                await connection.execute(path.read_bytes())
                await connection.execute("INSERT INTO schema_migrations (name) VALUES (%s)", (path.stem,))
            log.info("schema migrated", migration=path.stem)
    finally:
        await connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
