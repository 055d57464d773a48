"""Verifies that what is stored can be restored: restores it, and compares every table with the live database."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
    with _recorded(settings, work):
        return _verify(settings, database, repository, work)[0]


def rehearse(settings: Settings, database: Database, repository: Repository) -> dict[str, Any]:
    """`verify`, in the empty volume of another project, where the restored database stays.

    Returns:
        What was compared, and the rows of each table.

    Raises:
        BackupError: the volume has a database, it cannot be restored, or it differs.
    """
    if settings.pgdata.exists():
        raise BackupError(
            "cannot verify a restore there", f"{settings.pgdata} exists: it may be the database of a stack",
            "use the empty volume of another project",
        )  # fmt: skip
    work = settings.pgdata.parent / "verify"
    work.parent.mkdir(parents=True, exist_ok=True)
    with _recorded(settings, work):
        done, rows = _verify(settings, database, repository, work)
        (work / "data").rename(settings.pgdata)
        return {"verified": done, "rows": rows}


@contextmanager
def _recorded(settings: Settings, work: Path) -> Iterator[None]:
    """Hold the lock, record a failure, and remove the folder afterwards."""
    with state.exclusive(settings.data, "verify a restore", settings.patience):
        try:
            yield
        except BackupError as error:
            state.update(settings.data, failed={"verify": error.line})
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _verify(settings: Settings, database: Database, repository: Repository, work: Path) -> tuple[str, dict[str, int]]:
    started = time.monotonic()
    point = f"netmon-verify-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    live = at_restore_point(database, point)
    rows = {name: each.rows for name, each in live.items()}
    if not any(rows.values()):
        raise BackupError("there is nothing to compare", f"the live database has {len(rows)} tables without rows",
                          "check the service db: invoke smoke")  # fmt: skip
    catalog = transfer(settings, database, repository)
    restored = build(settings, repository, work, plans(catalog, None), Target(point=point))
    if found := differences(live, restored.recovered.tables):
        raise BackupError("the restored database differs from the live one", "; ".join(found[:5]),
                          "run: invoke backup --full, then invoke backup.verify")  # fmt: skip
    if restored.failures:
        raise BackupError("the newest backup is damaged", restored.failures[0],
                          "an older one was restored; run: invoke backup --full")  # fmt: skip
    duration = time.monotonic() - started
    state.update(settings.data, verified=time.time(), verified_duration=duration, failed={"verify": None})
    done = (
        f"backup {restored.plan.backup.id}: {len(live)} tables with {sum(rows.values())} rows restored and equal, "
        f"{duration:.0f} s"
    )
    log(f"verified {done}")
    return done, rows
