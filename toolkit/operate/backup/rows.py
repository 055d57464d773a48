"""The rows of each table of a running database."""

from __future__ import annotations

from toolkit.engine.compose import Docker

ROWS = """
SELECT schemaname || '.' || tablename,
    (xpath('/row/rows/text()', query_to_xml(
        format('SELECT count(*) AS rows FROM %I.%I', schemaname, tablename), false, true, '')))[1]::text
FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema');
"""
PSQL = ("psql", "--username=postgres", "--dbname=network_monitor", "--no-psqlrc", "--quiet", "--tuples-only",
        "--no-align")  # fmt: skip


def count(docker: Docker) -> dict[str, int]:
    """The rows of each table of the service db; empty if it does not answer."""
    result = docker.exec("db", *PSQL, stdin=ROWS, timeout=600)
    if result.code:
        return {}
    return {name: int(rows) for name, _, rows in (line.partition("|") for line in result.stdout.split())}
