"""Receives WAL into the volume, and transfers it to the repository."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from netmon_backup import commands, state
from netmon_backup.catalog import Catalog, WalSnapshot, gaps, position
from netmon_backup.errors import BackupError
from netmon_backup.postgres import Database, received_segments
from netmon_backup.repository import ChangedError, Repository, Stored
from netmon_backup.settings import Settings

RECEIVED_SECONDS = 15.0
"""How long a transfer waits for the receiver to have what is written now."""

RETRY_SECONDS = 5.0
ATTEMPTS = 4
SUPERSEDED = 10
"""Copies of WAL that are removed together once a newer one has all of their segments."""

DIVERGED = ("is ahead of the wal flush position", "has already been removed", "can no longer get changes",
            "can no longer access replication slot", "requested timeline")  # fmt: skip
"""Errors after which the received WAL cannot be continued: the slot was lost, or the database restored."""


def log(text: str) -> None:
    """Print a line to the log of the container."""
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}", flush=True)


@dataclass
class Receiver:
    """Runs pg_receivewal, and starts it again when it ends."""

    settings: Settings
    database: Database
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Receive until `stopping` is set."""
        while not self.stopping.is_set():
            try:
                self._receive()
            except BackupError as error:
                self._failed(error.line)
            self.stopping.wait(RETRY_SECONDS)

    def _receive(self) -> None:
        folder = self.settings.wal / self.database.system()
        folder.mkdir(parents=True, exist_ok=True)
        if self.database.slot_lost():
            self._start_over(folder, "the server has removed WAL that was not received yet (max_slot_wal_keep_size)")
        self.database.create_slot()
        process = commands.start(self.database.receiver(folder), env=self.database.environment())
        ended = threading.Event()

        def end() -> None:
            while not ended.is_set() and not self.stopping.wait(0.2):
                pass
            commands.terminate([process])

        threading.Thread(target=end, daemon=True).start()
        state.update(self.settings.data, failed={"receive": None})
        _, stderr = process.communicate()
        ended.set()
        if self.stopping.is_set():
            return
        reason = " ".join(stderr.decode(errors="replace").split())[-400:]
        if any(sign in reason.lower() for sign in DIVERGED):
            self._start_over(folder, reason)
        self._failed(f"pg_receivewal: {reason}")

    def _start_over(self, folder: Path, reason: str) -> None:
        """Set the received WAL aside; a base backup is needed, since the period until then cannot be restored."""
        set_aside(folder)
        self.database.drop_slot()
        state.update(self.settings.data, failed={"gap": f"WAL is missing: {reason}"})

    def _failed(self, reason: str) -> None:
        log(f"receiving WAL failed: {reason}")
        state.update(self.settings.data, failed={"receive": reason})


def set_aside(folder: Path) -> None:
    """Rename a folder of received WAL; only the newest such folder is kept."""
    aside = folder.with_name(f"{folder.name}.set-aside")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)


def transfer(settings: Settings, database: Database, repository: Repository, *, current: bool = True) -> Catalog:
    """Store the received WAL in the repository, and remove segments from the volume that it no longer needs.

    Args:
        settings: The settings.
        database: The live database.
        repository: The repository, which must be of this host.
        current: Wait for everything that is committed now. Without, the database may be down.

    Returns:
        The catalog of the repository, with the new snapshot.

    Raises:
        BackupError: the receiver is behind, or the repository failed.
    """
    with state.waiting(settings.data):
        began = time.time()
        if current:
            _wait_until_received(database)
        catalog = repository.catalog()
        repository.require_own(catalog)
        folders = [database.system()] if current else [each.name for each in _folders(settings)]
        for system in folders:
            catalog = _transfer(settings, repository, catalog, system, began if current else None)
        return catalog


def _folders(settings: Settings) -> list[Path]:
    return [each for each in settings.wal.glob("*") if each.is_dir() and not each.name.endswith(".set-aside")]


def _wait_until_received(database: Database) -> None:
    wanted, deadline = database.written(), time.monotonic() + RECEIVED_SECONDS
    while (received := database.received()) < wanted:
        if time.monotonic() > deadline:
            behind = f"{(wanted - received) / 1e6:.0f} MB behind" if received else "not connected"
            raise BackupError("WAL is not received", f"the receiver is {behind}", "docker compose logs backup")
        time.sleep(0.2)


def _transfer(
    settings: Settings, repository: Repository, catalog: Catalog, system: str, began: float | None
) -> Catalog:
    folder = settings.wal / system
    segments = received_segments(folder)
    if not segments:
        return catalog
    if missing := gaps([each for each in segments if each[:8] == segments[-1][:8]]):
        raise BackupError("received WAL is incomplete", f"missing: {', '.join(missing[:3])}",
                          "run: invoke backup --full")  # fmt: skip
    newest = max(each.stat().st_mtime for each in folder.iterdir())
    until = datetime.fromtimestamp(began or newest, UTC)
    tags = {"kind": "wal", "system": system, "first": segments[0], "last": segments[-1], "until": until.isoformat()}
    stored = _store(repository, folder, tags)
    new = WalSnapshot(stored.snapshot, system, segments[0], segments[-1], until)
    catalog = Catalog(catalog.backups, (*catalog.wal, new), catalog.platform, catalog.claims, catalog.foreign)
    superseded = catalog.superseded(new)
    if len(superseded) >= SUPERSEDED:
        repository.forget(superseded)
    _prune(folder, catalog, system)
    if began is not None:
        state.update(settings.data, wal_stored=began, wal_bytes=stored.added, failed={"transfer": None})
    return catalog


def _store(repository: Repository, folder: Path, tags: dict[str, str]) -> Stored:
    """Store the folder; again, if the receiver completed a segment, which renames it, at the same time."""
    for _ in range(ATTEMPTS - 1):
        try:
            return repository.store(folder, tags)
        except ChangedError:
            time.sleep(1)
    return repository.store(folder, tags)


def _prune(folder: Path, catalog: Catalog, system: str) -> None:
    """Delete stored segments that are older than the newest backup."""
    own = [each for each in catalog.backups if each.system == system]
    if not own:
        return
    for name in received_segments(folder):
        if position(name) < position(own[-1].first_segment):
            (folder / name).unlink(missing_ok=True)
