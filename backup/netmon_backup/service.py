"""The service: receives WAL, transfers it, takes backups on schedule and verifies that they can be restored."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from functools import partial

from netmon_backup import commands, metrics, state
from netmon_backup.backups import open_repository, take
from netmon_backup.errors import BackupError, BusyError
from netmon_backup.postgres import Database
from netmon_backup.repository import Repository
from netmon_backup.settings import Settings
from netmon_backup.verify import verify
from netmon_backup.wal import Receiver, log, transfer

POLL_SECONDS = 10.0
MAX_BACKOFF_SECONDS = 1800.0


def last_due(schedule: tuple[time_of_day, ...], now: datetime) -> datetime:
    """The last scheduled time until now."""
    days = (now.date(), now.date() - timedelta(days=1))
    return max(due for day in days for each in schedule if (due := datetime.combine(day, each, UTC)) <= now)


def backup_due(settings: Settings, known: state.State, now: datetime) -> bool:
    """Whether a backup is due: none was taken since the last scheduled time, or WAL is missing since the last one."""
    newest = max(known.backup.values(), default=0.0)
    return "gap" in known.failed or newest < last_due(settings.schedule, now).timestamp() or newest == 0


def verification_due(settings: Settings, known: state.State, now: datetime) -> bool:
    """Whether a restore is to be verified: at first after the first backup."""
    return bool(known.backup) and now.timestamp() - known.verified >= settings.verify_days * 86400


@dataclass
class Service:
    """The threads of the service."""

    settings: Settings
    database: Database
    repository: Repository
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Run until a signal."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        for leftover in (self.settings.staging, self.settings.data / "verify"):
            shutil.rmtree(leftover, ignore_errors=True)
        server = metrics.server(self.settings.port, lambda: state.load(self.settings.data))
        receiver = Receiver(self.settings, self.database, self.stopping)
        loops: list[Callable[[], None]] = [server.serve_forever, receiver.run, self._transfers, self._backups]
        threads = [threading.Thread(target=loop, daemon=True) for loop in loops]
        for thread in threads:
            thread.start()
        log(f"started: {self.settings.target}")
        self.stopping.wait()
        log("stopping")
        commands.terminate()
        server.shutdown()
        for thread in threads:
            thread.join(timeout=10)

    def _transfers(self) -> None:
        while not self.stopping.wait(self.settings.wal_seconds):
            if state.load(self.settings.data).repository:
                self._attempt("transfer", lambda: transfer(self.settings, self.database, self.repository))

    def _backups(self) -> None:
        failures = 0
        if self._attempt("backup", lambda: open_repository(self.settings, self.repository)):
            self.repository.unlock()
        while not self.stopping.wait(POLL_SECONDS if not failures else backoff(failures)):
            known, now = state.load(self.settings.data), datetime.now(UTC)
            done = True
            if backup_due(self.settings, known, now):
                first = not known.backup
                work = partial(take, self.settings, self.database, self.repository, fast=first)
                done = self._attempt("backup", work)
            elif verification_due(self.settings, known, now):
                done = self._attempt("verify", lambda: verify(self.settings, self.database, self.repository))
            failures = 0 if done else failures + 1

    def _attempt(self, activity: str, work: Callable[[], object]) -> bool:
        """Whether the work succeeded or has to wait for another run; a failure is logged and recorded."""
        try:
            work()
        except BusyError:
            return True
        except BackupError as error:
            if self.stopping.is_set():
                return False
            log(f"{activity} failed: {error.line}")
            state.update(self.settings.data, failed={activity: error.line})
        except Exception as error:  # the thread must not end
            log(f"{activity} failed: {error!r}")
            state.update(self.settings.data, failed={"internal": f"{activity}: {error!r}"})
        else:
            return True
        return False


def backoff(failures: int) -> float:
    """The seconds until the next attempt after a number of failures."""
    return float(min(60 * 2 ** (failures - 1), MAX_BACKOFF_SECONDS))
