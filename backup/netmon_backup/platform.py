"""The files of the platform, which the toolkit collects as an archive: stored and returned as they are."""

from __future__ import annotations

import hashlib
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

from netmon_backup import state
from netmon_backup.backups import open_repository
from netmon_backup.catalog import Catalog
from netmon_backup.errors import BackupError, DamagedError
from netmon_backup.repository import Repository
from netmon_backup.settings import Settings

NAME = "platform.tar"


def put(settings: Settings, repository: Repository, archive: bytes, commit: str) -> str:
    """Store an archive; returns its digest.

    Raises:
        BackupError: it is empty, or the target failed.
    """
    if not archive:
        raise BackupError("the archive of the platform's files is empty", fix="run: invoke backup")
    open_repository(settings, repository)
    digest = hashlib.sha256(archive).hexdigest()
    tags = {"kind": "platform", "taken": datetime.now(UTC).isoformat(), "commit": commit, "digest": digest}
    repository.store_text(NAME, archive, tags)
    state.update(settings.data, platform=time.time())
    return digest


def get(settings: Settings, repository: Repository, catalog: Catalog, at: datetime | None) -> bytes:
    """The newest archive, or the one that was the newest at a time.

    Raises:
        BackupError: there is none, or it is damaged.
    """
    usable = [each for each in catalog.platform if at is None or each.taken <= at]
    if not usable:
        raise BackupError("there is no copy of the platform's files", fix="run: invoke backup")
    folder = settings.data / "platform"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        repository.fetch(usable[-1].snapshot, folder)
        content = Path(folder / NAME).read_bytes()
    except OSError as error:
        raise DamagedError("the copy of the platform's files is damaged", str(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if hashlib.sha256(content).hexdigest() != usable[-1].digest:
        raise DamagedError("the copy of the platform's files is damaged", "its digest differs")
    return content
