"""Takes base backups: copied, verified, stored, and the expired ones removed."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from netmon_backup import postgres, state
from netmon_backup.catalog import FULL, INCREMENTAL, Backup, Catalog
from netmon_backup.errors import BackupError, FullBackupRequiredError
from netmon_backup.postgres import Database, Manifest
from netmon_backup.repository import Repository
from netmon_backup.settings import Settings
from netmon_backup.wal import log, transfer

MARGIN_BYTES = 256 * 1024 * 1024
"""Space that a backup leaves free."""


def open_repository(settings: Settings, repository: Repository) -> Catalog:
    """The catalog of the repository; at first it is created and claimed.

    Raises:
        BackupError: it has vanished, it is of another host, or it cannot be opened.
    """
    known = state.load(settings.data).repository
    if not known:
        repository.ensure()
        catalog = repository.catalog()
        if not catalog.claims and not catalog.foreign:
            repository.claim()
            catalog = repository.catalog()
        repository.require_own(catalog)
        state.update(settings.data, repository=True)
        return catalog
    # A repository that was there is never created again: its disk may not be mounted.
    catalog = repository.catalog()
    repository.require_own(catalog)
    return catalog


def choose_parent(settings: Settings, catalog: Catalog, system: str, now: datetime) -> Backup | None:
    """The backup that an incremental one continues; None if a full one is due.

    It is due if there is none of this system, the last is older than `Settings.full_days`, an incremental backup since
    then is missing, or WAL is.
    """
    own = [each for each in catalog.backups if each.system == system]
    if not own or "gap" in state.load(settings.data).failed or not _manifest(settings, own[-1].id).exists():
        return None
    try:
        chain = catalog.chain(own[-1])
    except BackupError:
        return None
    # An hour less, so that the backup of the seventh day at the same time is full.
    due = (now - chain[0].ended).total_seconds() >= settings.full_days * 86400 - 3600
    return None if due else own[-1]


def take(
    settings: Settings, database: Database, repository: Repository, *, full: bool = False, fast: bool = True
) -> Backup:
    """Take a base backup and store it, then remove what has expired.

    Args:
        settings: The settings.
        database: The live database.
        repository: The repository.
        full: A full backup, even if an incremental one is possible.
        fast: Begin with an immediate checkpoint; without, it is spread over minutes.

    Raises:
        BackupError: nothing was stored; the failure is recorded.
    """
    with state.exclusive(settings.data, "take a backup", settings.patience):
        try:
            try:
                return _take(settings, database, repository, full=full, fast=fast)
            except FullBackupRequiredError as error:
                log(f"{error.line}; taking a full one")
                return _take(settings, database, repository, full=True, fast=fast)
        except BackupError as error:
            state.update(settings.data, failed={"backup": error.line})
            raise
        finally:
            shutil.rmtree(settings.staging, ignore_errors=True)


def _take(settings: Settings, database: Database, repository: Repository, *, full: bool, fast: bool) -> Backup:
    began, started = datetime.now(UTC), time.monotonic()
    catalog = open_repository(settings, repository)
    system = database.system()
    parent = None if full else choose_parent(settings, catalog, system, began)
    name = f"{began:%Y%m%dT%H%M%S}{began.microsecond // 1000:03d}Z"
    folder = settings.staging / name
    _make_room(settings, 0 if parent else database.size())
    log(f"backup {name}: copying the database, {'changes since ' + parent.id if parent else 'all of it'}")
    database.base_backup(folder, parent=_manifest(settings, parent.id) if parent else None, fast=fast)
    ended = datetime.now(UTC)
    postgres.verify_backup(folder, wal=True)
    manifest = Manifest.read(folder / "backup_manifest")
    if manifest.system != system:
        raise BackupError("the database was replaced during the backup", fix="run: invoke backup")
    size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    log(f"backup {name}: {size / 1e6:.0f} MB copied and verified, storing")
    backup = Backup("", name, INCREMENTAL if parent else FULL, parent.id if parent else "", system,
                    manifest.first_segment, began, ended, size)  # fmt: skip
    stored = repository.store(folder, backup.tags)
    _keep_manifest(settings, folder / "backup_manifest", name, [each.id for each in catalog.backups])
    backup = replace(backup, snapshot=stored.snapshot)
    duration = time.monotonic() - started
    kind = backup.kind
    state.update(
        settings.data,
        backup={kind: ended.timestamp()},
        size={kind: size},
        added={kind: stored.added},
        duration={kind: duration},
        failed={"backup": None, **({"gap": None} if kind == FULL else {})},
    )
    log(f"backup {name}: stored, {stored.added / 1e6:.1f} MB added in {duration:.0f} s")
    remove_expired(settings, repository, transfer(settings, database, repository))
    return backup


def remove_expired(settings: Settings, repository: Repository, catalog: Catalog) -> None:
    """Remove what the retention does not keep, and with it the data that nothing else uses.

    Raises:
        BackupError: the target failed; the backups that are kept are complete.
    """
    expired = catalog.expired(datetime.now(UTC), settings.keep_days)
    repository.forget(expired, prune=bool(set(expired) & {each.snapshot for each in catalog.backups}))
    gone = set(expired)
    kept = [each for each in catalog.backups if each.snapshot not in gone]
    if kept:
        state.update(settings.data, oldest=kept[0].ended.timestamp())


def _make_room(settings: Settings, needed: int) -> None:
    shutil.rmtree(settings.staging, ignore_errors=True)
    settings.staging.mkdir(parents=True)
    require_space(settings.data, needed, "copy the database")


def require_space(folder: Path, needed: int, action: str) -> None:
    """Return if the file system of a folder has ``needed`` bytes and a margin.

    Raises:
        BackupError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + MARGIN_BYTES:
        raise BackupError(
            f"cannot {action}: too little disk space",
            f"{(needed + MARGIN_BYTES) / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free at {folder}",
            "free space on Docker's disk (docker system df)",
        )


def _manifest(settings: Settings, name: str) -> Path:
    return settings.manifests / name


def _keep_manifest(settings: Settings, manifest: Path, name: str, known: list[str]) -> None:
    """Keep the manifest for the next incremental backup, and those of the backups before."""
    settings.manifests.mkdir(exist_ok=True)
    shutil.copyfile(manifest, settings.manifests / f"{name}.new")
    (settings.manifests / f"{name}.new").replace(_manifest(settings, name))
    for each in settings.manifests.iterdir():
        if each.name not in {name, *known}:
            each.unlink()
