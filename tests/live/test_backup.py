"""A production stack with backups: what was deleted is restored, and the restore is verified."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.stack import Stack, until
from toolkit.checkout.project import Project
from toolkit.engine.compose import Docker
from toolkit.operate.backup import archive

SERVER = 999
"""The user of PostgreSQL, and of the backup service."""


ACCEPTED = """
INSERT INTO probes (id, url, target, kind, status, requested_at)
VALUES ('00000000-0000-4000-8000-000000000001', 'http://app:3000/', 'http:app:3000', 'http', 'queued',
        now() - interval '1 min')"""
"""An accepted probe whose job no queue has."""
EXECUTED = """
SELECT status <> 'queued' AND error IS DISTINCT FROM 'not_executed' FROM probes
WHERE id = '00000000-0000-4000-8000-000000000001'"""


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A production stack without monitoring, with a backup in a local target."""
    target = tmp_path_factory.mktemp("target")
    os.chown(target, SERVER, SERVER)
    root = tmp_path_factory.mktemp("backup") / "checkout"
    settings = {"BACKUP_TARGET": str(target), "BACKUP_WAL_SECONDS": "10", "DOMAIN": "netmon.localhost"}
    stack = Stack.create(root, "netmon-backup", COMPOSE_PROFILES="", **settings)
    try:
        stack.invoke("setup", "--profile=prod")
        stack.invoke("up", "--with=backup", "--no-smoke", timeout=900)
        made = stack.invoke("backup").stdout
        assert "backup 20" in made, made
        assert "secrets/backup/key" in made, "the copy of the key is not acknowledged yet"
        yield stack
    finally:
        stack.destroy()


def sql(stack: Stack, statement: str) -> str:
    psql = ("psql", "--username=postgres", "--dbname=network_monitor", "--no-psqlrc", "--quiet", "--tuples-only",
            "--no-align", "--set=ON_ERROR_STOP=1")  # fmt: skip
    return stack.exec("db", *psql, text=statement).strip()


def state(stack: Stack) -> dict[str, float]:
    read = ("python3", "-c", "print(open('/var/lib/postgresql/backup/state.json').read())")
    found: dict[str, float] = json.loads(stack.exec("backup", *read))
    return found


def test_deleted_rows_are_restored_and_the_former_database_is_set_aside(backed_up: Stack) -> None:
    stack = backed_up
    sql(stack, "CREATE TABLE kept (id int PRIMARY KEY); INSERT INTO kept SELECT generate_series(1, 1000);")
    sql(stack, ACCEPTED)
    time.sleep(1)
    at = sql(stack, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')")
    time.sleep(1)
    sql(stack, "DELETE FROM kept; CREATE TABLE later (id int);")

    plan = stack.invoke("restore", f"--at={at}", "--dry-run").stdout
    assert "undone" in plan, plan
    assert sql(stack, "SELECT count(*) FROM kept") == "0", "a dry run changes nothing"

    refused = stack.invoke("restore", f"--at={at}", check=False)
    assert refused.returncode == 1, "a restore requires confirmation"
    assert "confirmation required" in refused.stderr

    done = stack.invoke("restore", f"--at={at}", "--yes").stdout
    assert sql(stack, "SELECT count(*) FROM kept") == "1000", done
    assert sql(stack, "SELECT to_regclass('later') IS NULL") == "t"
    folders = stack.exec("db", "sh", "-c", "ls /var/lib/postgresql/18").split()
    assert len([name for name in folders if name.startswith("set-aside-")]) == 1, folders
    assert not [name for name in folders if name.startswith("restore-")], folders
    assert "public.kept" in done
    assert "1 accepted probes are queued again" in done
    until(lambda: sql(stack, EXECUTED) == "t", 30, "the accepted probe to be executed")


def test_a_restore_is_verified_and_backups_continue_after_it(backed_up: Stack) -> None:
    """After a restore the database has another timeline: WAL is received again, and the next backup is full."""
    stack = backed_up
    until(lambda: not state(stack)["failed"], 120, "the backup after the restore")
    verified = stack.invoke("backup.verify").stdout
    assert "restored and equal" in verified
    assert "db is healthy, with the same rows in" in verified
    assert "app is healthy, and serves 0 of 0 targets" in verified
    own = f"{stack.name}-verify"
    for kind in ("container", "network", "volume"):
        listed = ("ls", "--all") if kind == "container" else ("ls",)
        assert own not in stack.docker(kind, *listed), "the project is removed"
    shown = stack.invoke("backup.status").stdout
    assert "restorable: " in shown
    assert "last verified restore: 20" in shown
    stored = state(stack)["wal_stored"]
    until(lambda: state(stack)["wal_stored"] > stored, 60, "a transfer")


def test_the_platforms_files_are_in_the_backup_without_the_key(backed_up: Stack) -> None:
    stack = backed_up
    key = (stack.root / "secrets/backup/key").read_text().strip()
    project = Project.load(stack.root)
    made = archive.make(project, Docker(stack.root))
    assert {"checkout/.env", "checkout/secrets/postgres_password.txt", "definitions/rabbitmq.json"} <= {*made.members}
    assert not made.missing
    assert key.encode() not in made.content
    target = Path(stack.root) / ".netmon" / "files"
    assert "checkout/.env" in archive.extract(made.content, target)
    assert (target / "checkout/.env").read_text() == (stack.root / ".env").read_text()


ROOT = "/data/caddy/pki/authorities/local/root.crt"


def test_certificates_are_put_back_with_their_owners(backed_up: Stack) -> None:
    stack = backed_up
    # The proxy renews the other certificates as it likes.
    shown = ("sh", "-c", f"cat {ROOT}; find /data/caddy -name 'root.*' -exec stat -c '%u %g %a %n' {{}} + | sort")
    before = stack.exec("proxy", *shown)
    assert "BEGIN CERTIFICATE" in before
    stack.exec("proxy", "rm", "-r", "/data/caddy/pki", "/data/caddy/certificates")
    done = stack.invoke("restore", "--files", "--yes").stdout
    assert "volumes/proxy.tar is in the volume of proxy" in done
    assert stack.exec("proxy", *shown) == before, "clients trust it still"
    assert stack.proxy().session().get(f"{stack.proxy().address}/healthz", timeout=10).status_code == 200
