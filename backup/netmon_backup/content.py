"""The content of a database in numbers, to compare a restored one with the live one."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from netmon_backup import commands
from netmon_backup.errors import BackupError
from netmon_backup.postgres import Database

CONTENT = r"""
SELECT string_agg(format(
    $$SELECT %L, count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM %I.%I AS t$$,
    schemaname || '.' || tablename, schemaname, tablename), ' UNION ALL ' ORDER BY schemaname, tablename) AS statement
FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') \gset
:statement;
"""
"""Statements of psql: each table with the number of its rows and the sum of their hashes, whatever their order."""

TABLES = """
SELECT string_agg(format('%I.%I', schemaname, tablename), ', ')
FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
"""

LOCK_SECONDS = 2
ATTEMPTS = 5


@dataclass(frozen=True)
class Table:
    """The number of rows of a table, and the sum of their hashes."""

    rows: int
    digest: str


def parse(output: str) -> dict[str, Table]:
    """The tables in the output of `CONTENT`.

    Raises:
        BackupError: there is none.
    """
    rows = [line.split("\t") for line in output.splitlines() if line.strip()]
    if not rows:
        raise BackupError("the database has no table", fix="check the service db: invoke smoke")
    return {name: Table(int(count), digest) for name, count, digest in rows}


def differences(live: Mapping[str, Table], restored: Mapping[str, Table]) -> list[str]:
    """What differs, table by table; empty if nothing does."""
    found = []
    for name in sorted({*live, *restored}):
        one, other = live.get(name), restored.get(name)
        if one is None or other is None:
            found.append(f"{name} is {'missing' if other is None else 'unknown'}")
        elif one.rows != other.rows:
            found.append(f"{name} has {other.rows} rows instead of {one.rows}")
        elif one.digest != other.digest:
            found.append(f"{name} has other content in its {one.rows} rows")
    return found


def at_restore_point(database: Database, point: str) -> dict[str, Table]:
    """Create a restore point, and return the content of the live database at that very position of WAL.

    Writers wait for milliseconds: while the tables are locked, a snapshot is exported and the restore point is written.
    The content is counted afterwards in another session, in that snapshot.

    Raises:
        BackupError: the tables cannot be locked, since a transaction does not end, or the database does not answer.
    """
    tables = database.query(TABLES)[0][0]
    for attempt in range(1, ATTEMPTS + 1):
        holder = _Session(database)
        try:
            holder.ask(f"SET lock_timeout = '{LOCK_SECONDS}s'; BEGIN ISOLATION LEVEL REPEATABLE READ;")
            holder.ask(f"LOCK TABLE {tables} IN SHARE MODE;")
            # The first query takes the snapshot, after the locks.
            snapshot = holder.ask("SELECT pg_export_snapshot();")
            counter = _Session(database)
            try:
                counter.ask(f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{snapshot}';")
                holder.ask(f"SELECT pg_create_restore_point('{point}');")
                holder.ask("COMMIT;")
                return parse(counter.ask(CONTENT))
            finally:
                counter.close()
        except _StatementError as error:
            if attempt == ATTEMPTS or "lock timeout" not in str(error).lower():
                raise BackupError("cannot read the live database at one point", str(error),
                                  "end long transactions, then run it again") from error  # fmt: skip
        finally:
            holder.close()
    raise AssertionError


class _StatementError(Exception):
    """A statement failed."""


class _Session:
    """A session of psql that stays open."""

    END = "-- end of answer --"

    def __init__(self, database: Database) -> None:
        argv = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--field-separator=\t",
                "--set=ON_ERROR_STOP=1", database.connection()]  # fmt: skip
        self._process = commands.start(argv, env=database.environment(), stdin=subprocess.PIPE)

    def ask(self, sql: str) -> str:
        """The output of statements."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise _StatementError("psql has no pipes")
        try:
            stdin.write(f"{sql}\n\\echo {self.END}\n".encode())
            stdin.flush()
        except OSError as error:
            raise _StatementError(self._error() or str(error)) from error
        lines: list[str] = []
        for raw in stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            if line == self.END:
                return "\n".join(lines)
            lines.append(line)
        raise _StatementError(self._error())

    def _error(self) -> str:
        stderr = self._process.stderr
        self._process.kill()
        return " ".join(stderr.read().decode(errors="replace").split()) if stderr else ""

    def close(self) -> None:
        """End the session; an open transaction is rolled back."""
        self._process.kill()
        self._process.communicate()
