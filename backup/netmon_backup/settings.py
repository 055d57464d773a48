"""The settings of the service, from its environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path

from netmon_backup.errors import BackupError

LOCAL_MOUNT = "/target"
"""Where the local folder of BACKUP_TARGET is mounted."""

REMOTE = ("sftp:", "s3:")


@dataclass(frozen=True)
class Settings:
    """The settings; times of day are UTC."""

    target: str = LOCAL_MOUNT
    project: str = "network-monitor"
    host: str = ""
    schedule: tuple[time, ...] = (time(3, 15),)
    full_days: float = 7
    keep_days: float = 14
    wal_seconds: float = 60
    verify_days: float = 7
    rate_megabytes: int = 64
    port: int = 9102
    db_host: str = "db"
    db_user: str = "backup"
    db_password: str = field(default="", repr=False)
    database: str = "network_monitor"
    data: Path = Path("/var/lib/postgresql/backup")
    secrets: Path = Path("/etc/backup-secrets")
    pgdata: Path = Path("/restore/18/docker")
    """The present database, which only a restore mounts."""
    patience: float = 0
    """The seconds that a backup or a restore waits for another one."""

    @property
    def local(self) -> bool:
        """Whether the target is a folder of this host."""
        return not self.target.startswith(REMOTE)

    @property
    def repository(self) -> str:
        """The repository as restic names it."""
        return LOCAL_MOUNT if self.local else self.target

    @property
    def key_file(self) -> Path:
        """The file with the key of the repository."""
        return self.secrets / "key"

    @property
    def wal(self) -> Path:
        """The received WAL."""
        return self.data / "wal"

    @property
    def staging(self) -> Path:
        """The folder of the backup in progress."""
        return self.data / "staging"

    @property
    def manifests(self) -> Path:
        """The manifests of stored backups, which the next incremental one needs."""
        return self.data / "manifests"

    @classmethod
    def load(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """The settings of an environment; empty variables count as unset.

        Raises:
            BackupError: a value is invalid.
        """
        default = cls()
        target = env.get("BACKUP_TARGET", "").strip()
        if not target:
            raise BackupError("BACKUP_TARGET is not set", fix="set it in .env (docs/backup.md)")
        if not target.startswith(("/", *REMOTE)):
            raise BackupError(
                f"BACKUP_TARGET={target} is not a target",
                "it is neither an absolute path nor sftp:USER@HOST:/PATH nor s3:https://HOST/BUCKET",
                "correct BACKUP_TARGET in .env (docs/backup.md)",
            )
        return cls(
            target=target,
            project=env.get("COMPOSE_PROJECT_NAME") or default.project,
            host=env.get("BACKUP_HOST") or "",
            schedule=_times(env.get("BACKUP_SCHEDULE") or "03:15"),
            full_days=_number(env, "BACKUP_FULL_DAYS", default.full_days),
            keep_days=_number(env, "BACKUP_KEEP_DAYS", default.keep_days),
            wal_seconds=_number(env, "BACKUP_WAL_SECONDS", default.wal_seconds),
            verify_days=_number(env, "BACKUP_VERIFY_DAYS", default.verify_days),
            rate_megabytes=int(_number(env, "BACKUP_RATE", default.rate_megabytes)),
            db_host=env.get("BACKUP_DB_HOST") or default.db_host,
            db_password=_password(env),
        )


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "").strip()
    try:
        value = float(text or default)
    except ValueError:
        value = 0
    if not 0 < value < 1e6:
        raise BackupError(f"{name}={text} is not a positive number", fix=f"correct {name} in .env")
    return value


def _times(text: str) -> tuple[time, ...]:
    found = []
    for each in filter(None, re.split(r"[,\s]+", text)):
        match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", each)
        if not match:
            raise BackupError(
                f"BACKUP_SCHEDULE={text} is not a list of times",
                f"{each} is not a time of day",
                "write times of day in UTC, separated by commas: 03:15,15:15",
            )
        found.append(time(int(match[1]), int(match[2])))
    if not found:
        raise BackupError("BACKUP_SCHEDULE has no time", fix="write times of day in UTC: 03:15")
    return tuple(sorted(set(found)))


def _password(env: Mapping[str, str]) -> str:
    file = env.get("POSTGRES_BACKUP_PASSWORD_FILE")
    if not file:
        return env.get("POSTGRES_BACKUP_PASSWORD", "")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BackupError(f"cannot read {file}", error.strerror or str(error), "run: invoke setup") from error
