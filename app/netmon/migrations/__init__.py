"""Schema migrations: the numbered SQL files beside this module, each applied once, in order.

Whichever process starts first applies them. A session-level advisory lock excludes other processes and is released with
its connection, so that a killed process does not block the next one. The lock rows of common migration tools survive a
kill and must be removed by hand, and their dependencies (an ORM or an SQL parser) have no benefit for plain SQL.

Migrations are additive. During a deploy and after a rollback, code of the previous release works on the new schema: the
columns that it reads or writes stay, with their meaning. A new column has a default or is nullable; unused columns are
removed by a later release.
"""

from pathlib import Path
from typing import Any

from psycopg import AsyncConnection

from netmon.logs import logger

LOCK = 0x6E65746D6F6E
"""Key of the advisory lock: "netmon" in ASCII."""

LOCK_TIMEOUT = "2s"
"""A migration that waits for a table lock blocks all later queries of the table, so it fails early and is retried."""

log = logger(__name__)


async def apply(connection: AsyncConnection[Any]) -> None:
    """Apply pending migrations through an autocommit connection; waits while another process applies them."""
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
