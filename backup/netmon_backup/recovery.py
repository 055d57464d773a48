"""A PostgreSQL server without network, that replays WAL onto a restored backup until a time or a restore point."""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from netmon_backup import commands
from netmon_backup.content import CONTENT, Table, parse
from netmon_backup.errors import BackupError, DamagedError
from netmon_backup.settings import Settings

POLL_SECONDS = 0.2
TOO_SHORT = "recovery ended before configured recovery target was reached"


@dataclass(frozen=True)
class Target:
    """Where a recovery stops; without either at the end of WAL."""

    at: datetime | None = None
    point: str = ""

    @property
    def options(self) -> list[str]:
        """The settings of the server."""
        if self.point:
            return [f"recovery_target_name={self.point}"]
        # Exclusive or inclusive makes no difference to a time between commits; inclusive keeps one at the very time.
        return [f"recovery_target_time={self.at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f+00}"] if self.at else []


@dataclass(frozen=True)
class Recovered:
    """A completed recovery: the time of the last commit (None: none after the backup), and the content of tables."""

    last_commit: datetime | None
    tables: dict[str, Table]


def recover(settings: Settings, data: Path, wal: Path, target: Target, *, complete: bool = False) -> Recovered:
    """Replay WAL until the target, and stop the server cleanly.

    Args:
        settings: The settings.
        data: The restored backup; afterwards a database that can be started.
        wal: The folder of the WAL segments.
        target: Where to stop.
        complete: WAL is known to reach until the target: if it ends before, nothing was committed in between.

    Raises:
        DamagedError: the backup or WAL is damaged.
        BackupError: WAL ends before the target.
    """
    (data / "recovery.signal").touch()
    log = data.with_name(f"{data.name}.log")
    try:
        text, tables = _replay(settings, data, wal, target, log)
    except _TooShortError as error:
        last = _last_commit(str(error))
        if not complete:
            ended = f"the last commit in it is of {last:%Y-%m-%d %H:%M:%S.%f %Z}" if last else "it has no commit"
            raise BackupError("WAL ends before the requested time", ended, "choose an earlier --at") from error
        text, tables = _replay(settings, data, wal, Target(), log)
        text = f"{error}\n{text}"
    return Recovered(_last_commit(text), tables)


class _TooShortError(Exception):
    """WAL ended before the target; the message is the log."""


def _replay(settings: Settings, data: Path, wal: Path, target: Target, log: Path) -> tuple[str, dict[str, Table]]:
    """Start the server, which waits for the end of the recovery, and stop it; returns its log and its tables."""
    copy = f"cp {shlex.quote(str(wal))}/%f %p"
    options = [f"restore_command={copy}", "recovery_target_action=promote", "recovery_target_timeline=latest",
               *target.options]  # fmt: skip
    with server(settings, data, log, options) as socket:
        if socket.query("SELECT pg_is_in_recovery()") != "f":
            raise DamagedError("the restored database did not complete its recovery", _last_error(log.read_text()))
        content = parse(socket.query(CONTENT, database=settings.database))
        # The first checkpoint after a recovery: from here on a crash recovers without the archive.
        socket.query("CHECKPOINT")
        return log.read_text(encoding="utf-8", errors="replace"), content


@dataclass(frozen=True)
class Socket:
    """The connection to a server without network."""

    folder: Path
    database: str

    def accepts(self) -> bool:
        """Whether the server accepts connections, which it does after its recovery."""
        return commands.run(["pg_isready", "--quiet", f"--host={self.folder}"]).code == 0

    def query(self, sql: str, *, database: str = "postgres") -> str:
        """The output of statements: rows in lines, columns separated by tabs.

        Raises:
            BackupError: they failed.
        """
        argv = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--field-separator=\t",
                "--set=ON_ERROR_STOP=1", f"--dbname=host={self.folder} user=postgres dbname={database}"]  # fmt: skip
        result = commands.run(argv, stdin=sql.encode(), env={"PGTZ": "UTC"})
        if result.code:
            raise BackupError("cannot query the restored database", result.reason)
        return result.stdout.strip()


@contextmanager
def server(settings: Settings, data: Path, log: Path, options: list[str]) -> Iterator[Socket]:
    """A server on a socket in a folder of its own, stopped cleanly afterwards.

    Raises:
        DamagedError: it does not start.
    """
    data.chmod(0o700)
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    access = folder / "hba.conf"
    access.write_text("local all all trust\n", encoding="utf-8")
    fixed = ["listen_addresses=", f"unix_socket_directories={folder}", f"hba_file={access}", "hot_standby=off",
             "log_min_messages=info", "logging_collector=off", "archive_mode=off", "timezone=UTC",
             "log_timezone=UTC", "max_wal_senders=0",
             "shared_buffers=128MB", "ssl=off", "wal_level=replica", "summarize_wal=off"]  # fmt: skip
    arguments = " ".join(shlex.quote(f"-c{each}") for each in [*fixed, *options])
    log.unlink(missing_ok=True)
    control = ["pg_ctl", f"--pgdata={data}", f"--log={log}", "--timeout=86400"]
    try:
        started = commands.run([*control, "start", "--no-wait", f"--options={arguments}"])
        socket = Socket(folder, settings.database)
        while started.code == 0 and not socket.accepts():
            time.sleep(POLL_SECONDS)
            started = commands.run([*control, "status"])
        if started.code:
            text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else started.reason
            if TOO_SHORT in text:
                raise _TooShortError(text)
            raise DamagedError("the restored database does not start", _last_error(text))
        yield socket
        stopped = commands.run([*control, "stop", "--wait", "--mode=fast"])
        if stopped.code:
            raise BackupError("the restored database does not stop", stopped.reason)
    finally:
        commands.run(["pg_ctl", f"--pgdata={data}", "stop", "--wait", "--mode=immediate"])
        shutil.rmtree(folder, ignore_errors=True)


def _last_commit(text: str) -> datetime | None:
    found = re.findall(r"last completed transaction was at log time (\d+-\d+-\d+ \d+:\d+:\d+(?:\.\d+)?)", text)
    return datetime.fromisoformat(found[-1]).replace(tzinfo=UTC) if found else None


def _last_error(text: str) -> str:
    lines = [line for line in text.splitlines() if re.search(r"(FATAL|PANIC|ERROR):", line)] or text.splitlines()
    return "; ".join(lines[-2:])
