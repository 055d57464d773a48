"""Restores a database beside the present one, and exchanges the two."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from netmon_backup import commands, postgres, state
from netmon_backup.backups import require_space
from netmon_backup.catalog import Backup, Catalog, segment_number
from netmon_backup.errors import BackupError, DamagedError, GoneError
from netmon_backup.postgres import SEGMENT_BYTES
from netmon_backup.recovery import Recovered, Target, recover
from netmon_backup.repository import Repository
from netmon_backup.settings import Settings
from netmon_backup.wal import log, set_aside

COMPLETE, EXCHANGING = "complete.json", "exchanging.json"
"""A prepared restore is one with the first file; with the second, its data may be that of the former database."""


ATTEMPTS = 4


@dataclass(frozen=True)
class Plan:
    """A restore: the backups to combine, the WAL to replay, and what it takes."""

    at: datetime | None
    backup: Backup
    chain: tuple[Backup, ...]
    wal_bytes: int
    until: datetime

    @property
    def size(self) -> int:
        """The bytes that the restore needs on the disk while it runs."""
        # pg_combinebackup links what it can; at worst the result is as large as the full backup.
        combined = self.chain[0].size if len(self.chain) > 1 else 0
        return sum(each.size for each in self.chain) + combined + self.wal_bytes

    @property
    def summary(self) -> dict[str, Any]:
        """For the toolkit, as JSON."""
        return {
            "at": self.at.isoformat() if self.at else None,
            "backup": self.backup.id,
            "chain": [each.id for each in self.chain],
            "wal_bytes": self.wal_bytes,
            "bytes": self.size,
            "until": self.until.isoformat(),
        }


def plans(catalog: Catalog, at: datetime | None, name: str = "") -> list[Plan]:
    """The ways to restore, the best first.

    Raises:
        BackupError: there is none: no backup is old enough, or WAL does not reach until then.
    """
    if at is not None and at > datetime.now(UTC):
        raise BackupError(f"{at:%Y-%m-%d %H:%M:%S %Z} is in the future", fix="choose a time in the past")
    found, problem = [], None
    for backup in catalog.candidates(at, name):
        try:
            chain = catalog.chain(backup)
        except DamagedError as error:
            problem = error
            continue
        wal = catalog.wal_for(backup)
        count = sum(segment_number(each.last) - segment_number(each.first) + 1 for each in wal)
        until = max([backup.ended, *(each.until for each in wal)])
        found.append(Plan(at, backup, tuple(chain), count * SEGMENT_BYTES, until))
    if not found and problem:
        raise problem
    if at is not None and all(plan.until + timedelta(seconds=1) < at for plan in found):
        raise BackupError(
            f"no WAL reaches until {at:%Y-%m-%d %H:%M:%S %Z}",
            f"the newest restorable time is {max(plan.until for plan in found):%Y-%m-%d %H:%M:%S %Z}",
            "choose an earlier time",
        )
    return found


@dataclass(frozen=True)
class Restored:
    """A restored database: its folder, the plan that succeeded, and those that failed."""

    data: Path
    plan: Plan
    recovered: Recovered
    failures: tuple[str, ...]


def build(
    settings: Settings, repository: Repository, work: Path, candidates: list[Plan], target: Target,
    report: Callable[[str], None] = log,
) -> Restored:  # fmt: skip
    """Restore into ``work``, which has ``data`` afterwards; falls back to an older backup if one is damaged.

    Raises:
        DamagedError: no backup is intact.
        BackupError: the target, the disk or the time.
    """
    failures: list[str] = []
    for plan in candidates:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        require_space(work, plan.size, "restore")
        try:
            recovered = _build(settings, repository, work, plan, target, report)
        except DamagedError as error:
            failures.append(error.line)
            report(f"{error.line}; falling back to an older backup")
            continue
        return Restored(work / "data", plan, recovered, tuple(failures))
    raise DamagedError("no backup is intact", " | ".join(failures), 'docs/backup.md, "A damaged repository"')


def _build(
    settings: Settings, repository: Repository, work: Path, plan: Plan, target: Target, report: Callable[[str], None]
) -> Recovered:  # fmt: skip
    parts = []
    for backup in plan.chain:
        report(f"fetching backup {backup.id} ({backup.kind}, {backup.size / 1e6:.0f} MB)")
        folder = work / backup.id
        repository.fetch(backup.snapshot, folder)
        postgres.verify_backup(folder, wal=False)
        folder.chmod(0o700)
        parts.append(folder)
    data = work / "data"
    if len(parts) > 1:
        report(f"combining {len(parts)} backups")
        postgres.combine(parts, data)
    else:
        parts[0].rename(data)
    wal = work / "wal"
    _fetch_wal(repository, plan.backup, wal, report)
    for partial in wal.glob("*.partial"):
        whole = partial.with_suffix("")
        if whole.exists():
            partial.unlink()
        else:
            partial.rename(whole)
    report("replaying WAL" + (f" until {target.at:%Y-%m-%d %H:%M:%S.%f %Z}" if target.at else ""))
    complete = target.at is not None and plan.until >= target.at
    recovered = recover(settings, data, wal, target, complete=complete)
    shutil.rmtree(wal)
    for part in parts:
        shutil.rmtree(part, ignore_errors=True)
    return recovered


def _fetch_wal(repository: Repository, backup: Backup, folder: Path, report: Callable[[str], None]) -> None:
    """Fetch the WAL since a backup; again if the service has replaced a snapshot by a newer one in the meantime."""
    for attempt in range(ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            for snapshot in repository.catalog().wal_for(backup):
                report(f"fetching WAL {snapshot.first} to {snapshot.last}")
                repository.fetch(snapshot.snapshot, folder)
        except GoneError:
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return


def prepare(
    settings: Settings, repository: Repository, catalog: Catalog, *, at: datetime | None = None, name: str = ""
) -> dict[str, Any]:
    """Restore into a folder beside the present database, which may be running; returns the report.

    Raises:
        BackupError: nothing was prepared; the present database is unchanged.
    """
    root = settings.pgdata.parent
    with state.exclusive(settings.data, "restore", settings.patience):
        root.mkdir(parents=True, exist_ok=True)
        remove_leftovers(root)
        candidates = plans(catalog, at, name)
        work = root / f"restore-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        try:
            restored = build(settings, repository, work, candidates, Target(at))
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        last = restored.recovered.last_commit
        report = {
            "id": work.name,
            **restored.plan.summary,
            "last_commit": last.isoformat() if last else None,
            "rows": {table: content.rows for table, content in restored.recovered.tables.items()},
            "failures": list(restored.failures),
        }
        _write(work / COMPLETE, json.dumps(report))
        return report


def exchange(settings: Settings, name: str, *, now: datetime | None = None) -> dict[str, Any]:
    """Put a prepared database into place, atomically; the present one is set aside. No server may be running.

    Raises:
        BackupError: it is not prepared, or a server runs on the present database.
    """
    with state.exclusive(settings.data, "restore", settings.patience):
        present = settings.pgdata
        work = present.parent / name
        if Path(name).name != name or not (work / COMPLETE).exists():
            raise BackupError(f"{name} is not a prepared restore", fix="run: invoke restore")
        report: dict[str, Any] = json.loads((work / COMPLETE).read_bytes())
        aside = present.with_name(f"set-aside-{(now or datetime.now(UTC)):%Y%m%dT%H%M%SZ}")
        (work / COMPLETE).rename(work / EXCHANGING)
        _sync(work)
        if present.exists():
            # Both names change in one system call, or neither.
            exchanged = ["mv", "--exchange", "--no-copy", "--no-target-directory", str(work / "data"), str(present)]
            moved = commands.run(exchanged)
            if moved.code:
                (work / EXCHANGING).rename(work / COMPLETE)
                raise BackupError("cannot exchange the databases", moved.reason, "run it again")
            _sync(present.parent)
            (work / "data").rename(aside)
            report["set_aside"] = aside.name
        else:
            (work / "data").rename(present)
            report["set_aside"] = None
        _sync(present.parent)
        shutil.rmtree(work)
        for folder in settings.wal.glob("*"):
            if folder.is_dir() and not folder.name.endswith(".set-aside"):
                set_aside(folder)
        state.update(settings.data, failed={"gap": "the database was restored"})
        return report


def remove_leftovers(root: Path) -> None:
    """Remove what interrupted restores have left; what may be a former database is set aside."""
    for work in sorted(root.glob("restore-*")):
        if (work / EXCHANGING).exists() and (work / "data").exists():
            (work / "data").rename(work.with_name(f"set-aside-{work.name.removeprefix('restore-')}"))
            _sync(root)
        shutil.rmtree(work, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
