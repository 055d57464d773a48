"""A database with the backup service in containers of their own, without a stack."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

SERVER = 999
DATABASE_IMAGE, BACKUP_IMAGE = "netmon-local/postgres:18", "netmon-local/backup:18"
PASSWORD = "a-password-of-a-drill-0123456789"
TABLES = """
CREATE ROLE backup LOGIN REPLICATION PASSWORD '{password}';
GRANT pg_monitor, pg_read_all_data, pg_maintain TO backup;
GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO backup;
CREATE TABLE targets (id bigserial PRIMARY KEY, url text);
CREATE TABLE results (id bigint PRIMARY KEY, payload text);
INSERT INTO targets (url) SELECT 'http://x/' || n FROM generate_series(1, 1000) n;
INSERT INTO results SELECT -n, repeat(md5(n::text), 4) FROM generate_series(1, {rows}) n;
"""


class CommandError(Exception):
    """A command of the service failed: what, why, fix."""


@dataclass
class Host:
    """A host: the volumes of a database and of its backup service. ``limits`` are sizes of the volumes, as a tmpfs."""

    folder: Path
    target: Path
    name: str = field(default_factory=lambda: f"netmon-drill-backup-{uuid4().hex[:8]}")
    host: str = "one"
    wal_limit: str = "1GB"
    env: dict[str, str] = field(default_factory=dict)
    beside: str = ""
    """Another host, whose network this one uses; their databases do not run at the same time."""

    @property
    def network(self) -> str:
        """The network of the containers."""
        return self.beside or self.name

    def docker(self, *args: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["docker", *args], input=text, capture_output=True, text=True, check=False, timeout=600)
        assert not check or done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done

    def create(self) -> None:
        if not self.beside:
            self.docker("network", "create", self.name)
        for volume in ("pg", "data"):
            self.docker("volume", "create", f"{self.name}-{volume}")
        secrets = self.folder / "secrets"
        secrets.mkdir(parents=True, exist_ok=True)
        if not (secrets / "key").exists():
            (secrets / "key").write_text("the key of a drill, 0123456789\n")
        self.target.mkdir(exist_ok=True)
        os.chown(self.target, SERVER, SERVER)

    def secret(self, name: str, content: str) -> None:
        """Write a file of secrets/backup, in place: it is seen by running containers."""
        (self.folder / "secrets" / name).write_text(content)

    def start_database(self, rows: int = 20_000) -> None:
        """Start the database; at first with tables."""
        self.docker(
            "run", "--detach", "--rm", f"--name={self.name}-db", f"--network={self.network}", "--network-alias=db",
            f"--volume={self.name}-pg:/var/lib/postgresql", f"--env=POSTGRES_PASSWORD={PASSWORD}",
            "--env=POSTGRES_DB=network_monitor", DATABASE_IMAGE, "postgres", "-c", "summarize_wal=on",
            "-c", f"max_slot_wal_keep_size={self.wal_limit}",
        )  # fmt: skip
        deadline = time.monotonic() + 60
        # Over the network: during the first start the server listens on its socket only.
        while self.docker("exec", f"{self.name}-db", "pg_isready", "-q", "-h", "db", check=False).returncode:
            assert time.monotonic() < deadline, "the database does not start"
            time.sleep(0.3)
        if self.sql("SELECT to_regclass('targets') IS NULL") == "t":
            self.sql(TABLES.format(password=PASSWORD, rows=rows))
            line = "host replication backup all scram-sha-256"
            self.docker("exec", f"{self.name}-db", "sh", "-c", f'echo "{line}" >>$PGDATA/pg_hba.conf')
            self.sql("SELECT pg_reload_conf()")

    def stop_database(self) -> None:
        self.docker("stop", f"{self.name}-db")

    def sql(self, statements: str) -> str:
        psql = ("psql", "-U", "postgres", "-d", "network_monitor", "-qAt", "-v", "ON_ERROR_STOP=1")
        return self.docker("exec", "-i", f"{self.name}-db", *psql, text=statements).stdout.strip()

    def options(self, **env: str) -> list[str]:
        """The options of a container of the service."""
        variables = {"BACKUP_TARGET": "/mnt/backup", "BACKUP_HOST": self.host, "BACKUP_WAL_SECONDS": "3",
                     "POSTGRES_BACKUP_PASSWORD": PASSWORD, **self.env, **env}  # fmt: skip
        return [
            "--hostname=backup", f"--network={self.network}", f"--volume={self.name}-data:/var/lib/postgresql",
            f"--volume={self.target}:/target", f"--volume={self.folder / 'secrets'}:/etc/backup-secrets:ro",
            *(f"--env={name}={value}" for name, value in variables.items()),
        ]  # fmt: skip

    def start_service(self, **env: str) -> None:
        self.docker("run", "--detach", f"--name={self.name}-service", *self.options(**env), BACKUP_IMAGE, "serve")

    def stop_service(self, *, kill: bool = False) -> None:
        self.docker("kill" if kill else "stop", f"{self.name}-service", check=False)
        self.docker("rm", "--force", f"{self.name}-service", check=False)

    def logs(self) -> str:
        done = self.docker("logs", f"{self.name}-service", check=False)
        return done.stdout + done.stderr

    def call(self, *command: str) -> Any:
        """The result of a command in the running service, which may be busy at first."""
        argv = ("exec", f"{self.name}-service", "python3", "-m", "netmon_backup", *command)
        deadline = time.monotonic() + 120
        while True:
            try:
                return self.parse(self.docker(*argv, check=False))
            except CommandError as error:
                if "in progress" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def start_command(self, *command: str, volume: str = "") -> subprocess.Popen[str]:
        """Start a command in a container of its own, with the volume of the database."""
        return subprocess.Popen(
            ["docker", "run", "--rm", f"--name={self.name}-command", *self.options(),
             f"--volume={volume or self.name + '-pg'}:/restore", BACKUP_IMAGE, *command],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *command: str, volume: str = "") -> Any:
        """The result of a command in a container of its own."""
        process = self.start_command(*command, volume=volume)
        stdout, stderr = process.communicate(timeout=600)
        return self.parse(subprocess.CompletedProcess(command, process.returncode, stdout, stderr))

    @staticmethod
    def parse(done: subprocess.CompletedProcess[str]) -> Any:
        lines = done.stdout.splitlines()
        assert lines, done.stderr
        last: Mapping[str, Any] = json.loads(lines[-1])
        if "error" in last:
            error = last["error"]
            raise CommandError(f"{error['what']}: {error['why']} | {error['fix']} | {lines[:-1]}")
        return last["result"]

    def state(self) -> dict[str, Any]:
        read = ("python3", "-c", "print(open('/var/lib/postgresql/backup/state.json').read())")
        found: dict[str, Any] = json.loads(self.docker("exec", f"{self.name}-service", *read).stdout)
        return found

    def until(self, what: str, condition: Any, within: float = 120) -> None:
        """Wait for a condition of the state."""
        deadline = time.monotonic() + within
        while True:
            with suppress(AssertionError, ValueError):
                if condition(self.state()):
                    return
            assert time.monotonic() < deadline, f"timed out waiting for {what}: {self.state()}\n{self.logs()}"
            time.sleep(1)

    def folders(self) -> set[str]:
        """The folders beside the data of the database."""
        listing = ("run", "--rm", f"--volume={self.name}-pg:/v", "--entrypoint=ls", BACKUP_IMAGE, "/v/18")
        return set(self.docker(*listing).stdout.split())

    def remove(self) -> None:
        for container in ("service", "command", "db"):
            self.docker("rm", "--force", "--volumes", f"{self.name}-{container}", check=False)
        for volume in ("pg", "data"):
            self.docker("volume", "rm", "--force", f"{self.name}-{volume}", check=False)
        if not self.beside:
            self.docker("network", "rm", self.name, check=False)


@contextmanager
def host(folder: Path, target: Path | None = None, **options: Any) -> Iterator[Host]:
    """A host whose containers and volumes are removed afterwards."""
    made = Host(folder, target or folder / "target", **options)
    try:
        made.create()
        yield made
    finally:
        made.remove()


@dataclass(frozen=True)
class Write:
    """A write: when it began, when it was acknowledged, and its number."""

    began: float
    acknowledged: float
    number: int


def write(database: Host, seconds: float, every: float = 0.02) -> list[Write]:
    """Insert numbered rows, one transaction each, and keep a ledger of what was acknowledged."""
    psql = ["docker", "exec", "-i", f"{database.name}-db", "psql", "-U", "postgres", "-d", "network_monitor", "-qAt"]
    ledger: list[Write] = []
    with subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin
        assert process.stdout
        first = int(database.sql("SELECT coalesce(max(id), 0) FROM results")) + 1
        end = time.time() + seconds
        number = max(first, 1)
        while time.time() < end:
            began = time.time()
            process.stdin.write(f"INSERT INTO results VALUES ({number}, 'w') RETURNING id;\n")  # noqa: S608
            process.stdin.flush()
            assert process.stdout.readline().strip() == str(number)
            ledger.append(Write(began, time.time(), number))
            number += 1
            time.sleep(every)
        process.stdin.close()
    return ledger


def moment(seconds: float) -> str:
    """A Unix time in ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()
