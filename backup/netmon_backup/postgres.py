"""PostgreSQL's own programs, as the role of the service."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from netmon_backup import commands
from netmon_backup.errors import BackupError, DamagedError, FullBackupRequiredError, UnavailableError
from netmon_backup.settings import Settings

SEGMENT_BYTES = 16 * 1024 * 1024
SLOT = "netmon_backup"
RECEIVER = "netmon_backup_wal"
"""The name of the receiver's connection."""

ACCOUNTS = "docker compose exec db /opt/netmon/postgres-accounts.sh"


@dataclass(frozen=True)
class Manifest:
    """The description that pg_basebackup writes with a backup."""

    system: str
    timeline: int
    start: str
    end: str
    size: int

    @property
    def first_segment(self) -> str:
        """The first WAL segment that a recovery from the backup reads."""
        return segment(self.timeline, self.start)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Parse a ``backup_manifest``.

        Raises:
            DamagedError: it is missing or incomplete.
        """
        try:
            content = json.loads(path.read_bytes())
            last = content["WAL-Ranges"][-1]
            size = sum(each["Size"] for each in content["Files"])
            system = str(content["System-Identifier"])
            return cls(system, last["Timeline"], content["WAL-Ranges"][0]["Start-LSN"], last["End-LSN"], size)
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise DamagedError(f"{path} is no manifest of a backup", str(error)) from error


def lsn(text: str) -> int:
    """A log sequence number such as ``1/5000028`` as a number of bytes."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def segment(timeline: int, position: str) -> str:
    """The name of the WAL segment that contains a log sequence number."""
    number = lsn(position) // SEGMENT_BYTES
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


@dataclass(frozen=True)
class Database:
    """The live database, over the network."""

    settings: Settings

    def query(self, sql: str, *, timeout: float = 60) -> list[list[str]]:
        """The rows of a statement.

        Raises:
            UnavailableError: the server does not answer, or the role is not permitted to do this.
        """
        argv = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--field-separator=\t",
                "--set=ON_ERROR_STOP=1", f"--command={sql}", self.connection()]  # fmt: skip
        result = commands.run(argv, env=self.environment(), timeout=timeout)
        if result.code:
            raise self.failure("query the database", result.reason)
        return [line.split("\t") for line in result.stdout.splitlines() if line]

    def system(self) -> str:
        """The identifier of the database system.

        Raises:
            UnavailableError: see `query`.
        """
        argv = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--field-separator=\t",
                "--command=IDENTIFY_SYSTEM", self.connection(replication=True)]  # fmt: skip
        result = commands.run(argv, env=self.environment(), timeout=20)
        if result.code:
            raise self.failure("connect to the database for replication", result.reason)
        return result.stdout.split("\t")[0].strip()

    def size(self) -> int:
        """The bytes of all databases."""
        return int(self.query("SELECT sum(pg_database_size(oid)) FROM pg_database")[0][0])

    def written(self) -> int:
        """The position up to which WAL is on the disk of the server."""
        return lsn(self.query("SELECT pg_current_wal_flush_lsn()", timeout=20)[0][0])

    def received(self) -> int:
        """The position up to which the receiver has flushed WAL; 0 while it is not connected."""
        sql = f"SELECT flush_lsn FROM pg_stat_replication WHERE application_name = '{RECEIVER}'"  # noqa: S608
        rows = self.query(sql, timeout=20)
        return lsn(rows[0][0]) if rows and rows[0][0] else 0

    def slot_lost(self) -> bool:
        """Whether the server has removed WAL that the slot had reserved."""
        rows = self.query(f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{SLOT}'")  # noqa: S608
        return bool(rows) and rows[0][0] == "lost"

    def create_slot(self) -> None:
        """Create the replication slot, if it is missing."""
        self._receivewal("--create-slot", "--if-not-exists")

    def drop_slot(self) -> None:
        """Drop the replication slot; WAL is not reserved until it is created again."""
        self._receivewal("--drop-slot")

    def _receivewal(self, *action: str) -> None:
        argv = ["pg_receivewal", f"--dbname={self.connection(replication=True)}", f"--slot={SLOT}", *action]
        result = commands.run(argv, env=self.environment(), timeout=60)
        if result.code:
            raise self.failure("change the replication slot", result.reason)

    def receiver(self, folder: Path) -> list[str]:
        """The command that receives WAL into a folder, until it is terminated."""
        return ["pg_receivewal", f"--directory={folder}", f"--slot={SLOT}", "--synchronous", "--no-loop",
                f"--dbname={self.connection(replication=True)} application_name={RECEIVER}"]  # fmt: skip

    def base_backup(self, folder: Path, *, parent: Path | None, fast: bool) -> None:
        """Copy the database into a new folder, or with the manifest ``parent`` what has changed since that backup.

        Raises:
            BackupError: the copy is incomplete.
        """
        argv = [
            "pg_basebackup", f"--dbname={self.connection(replication=True)}", f"--pgdata={folder}", "--format=plain",
            "--wal-method=stream", f"--checkpoint={'fast' if fast else 'spread'}", "--label=netmon-backup",
            f"--max-rate={self.settings.rate_megabytes}M", "--no-sync",
            *([f"--incremental={parent}"] if parent else []),
        ]  # fmt: skip
        result = commands.run(argv, env=self.environment())
        if result.code == 0:
            return
        if "no space left" in result.reason.lower():
            raise BackupError("cannot copy the database", f"the volume backup_data is full ({result.reason})",
                              "free space on Docker's disk")  # fmt: skip
        if parent and any(word in result.reason for word in ("summaries", "summarization", "manifest", "timeline")):
            raise FullBackupRequiredError("an incremental backup is not possible", result.reason)
        raise self.failure("copy the database", result.reason)

    def connection(self, *, replication: bool = False) -> str:
        """The connection string, without the password."""
        settings = self.settings
        kind = "replication=true" if replication else f"dbname={settings.database}"
        return f"host={settings.db_host} user={settings.db_user} {kind} connect_timeout=10"

    def environment(self) -> dict[str, str]:
        """The variables of libpq: the password is in a file that only this user can read."""
        settings = self.settings
        path = Path(tempfile.gettempdir()) / f"pgpass-{os.getpid()}"
        line = f"*:*:*:{settings.db_user}:{settings.db_password}\n"
        if not path.exists() or path.read_text(encoding="utf-8") != line:
            path.touch(mode=0o600)
            path.write_text(line, encoding="utf-8")
        return {"PGPASSFILE": str(path), "PGOPTIONS": "", "PGTZ": "UTC", "LC_ALL": "C.UTF-8"}

    def failure(self, action: str, reason: str) -> UnavailableError:
        """The error of a failed program."""
        lowered = reason.lower()
        fix = "check the service db: invoke status"
        if "password authentication failed" in lowered or "pg_hba" in lowered or "permission denied" in lowered:
            fix = f"the volume may be older than the role: {ACCOUNTS}, and restart db"
        return UnavailableError(f"cannot {action}", reason, fix)


def verify_backup(folder: Path, *, wal: bool) -> None:
    """Verify the files of a backup by its manifest, and with ``wal`` that its WAL is complete.

    Raises:
        DamagedError: a file is missing or differs.
    """
    options = [] if wal else ["--no-parse-wal"]
    result = commands.run(["pg_verifybackup", *options, str(folder)])
    if result.code:
        raise DamagedError(f"backup {folder.name} is damaged", result.reason)


def combine(chain: Sequence[Path], target: Path) -> None:
    """Combine a full backup and the incremental ones that follow it into a full one, with hard links where possible.

    Raises:
        DamagedError: they do not fit together.
    """
    result = commands.run(["pg_combinebackup", "--link", "--no-sync", *map(str, chain), f"--output={target}"])
    if result.code:
        if "no space left" in result.reason.lower():
            raise BackupError("cannot combine the backups", result.reason, "free disk space")
        raise DamagedError("the backups do not fit together", result.reason)


def received_segments(folder: Path) -> list[str]:
    """The names of the WAL segments in a folder, the incomplete one included, without its suffix."""
    if not folder.is_dir():
        return []
    names = {each.name.removesuffix(".partial") for each in folder.iterdir()}
    return sorted(name for name in names if re.fullmatch(r"[0-9A-F]{24}", name))
