"""Verifies that what is stored can be restored: restores it, and compares every table with the live database."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime

from netmon_backup import state
from netmon_backup.content import at_restore_point, differences
from netmon_backup.errors import BackupError
from netmon_backup.postgres import Database
from netmon_backup.recovery import Target
from netmon_backup.repository import Repository
from netmon_backup.restore import build, plans
from netmon_backup.settings import Settings
from netmon_backup.wal import log, transfer


def verify(settings: Settings, database: Database, repository: Repository) -> str:
    """Restore the newest backup and the WAL since then, and compare; returns what was compared.

    Raises:
        BackupError: it cannot be restored, or it differs; the failure is recorded.
    """
    work = settings.data / "verify"
    with state.exclusive(settings.data, "verify a restore", settings.patience):
        try:
            return _verify(settings, database, repository)
        except BackupError as error:
            state.update(settings.data, failed={"verify": error.line})
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _verify(settings: Settings, database: Database, repository: Repository) -> str:
    started = time.monotonic()
    point = f"netmon-verify-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    live = at_restore_point(database, point)
    catalog = transfer(settings, database, repository)
    restored = build(settings, repository, settings.data / "verify", plans(catalog, None), Target(point=point))
    if found := differences(live, restored.recovered.tables):
        raise BackupError("the restored database differs from the live one", "; ".join(found[:5]),
                          "run: invoke backup --full, then invoke backup.verify")  # fmt: skip
    if restored.failures:
        raise BackupError("the newest backup is damaged", restored.failures[0],
                          "an older one was restored; run: invoke backup --full")  # fmt: skip
    rows, duration = sum(each.rows for each in live.values()), time.monotonic() - started
    state.update(settings.data, verified=time.time(), verified_duration=duration, failed={"verify": None})
    done = f"backup {restored.plan.backup.id}: {len(live)} tables with {rows} rows restored and equal, {duration:.0f} s"
    log(f"verified {done}")
    return done
