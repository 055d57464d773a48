"""What the service remembers in its volume: the owner's id and the outcome of its work; and the lock of a backup."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import IO, Any

from netmon_backup.errors import BackupError, BusyError

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class State:
    """Times are Unix times; 0 is never.

    Attributes:
        owner: The random id of this volume, which claims the repository.
        repository: Whether the repository was created or claimed by this volume.
        since: When the volume was set up.
        backup: The end of the last successful backup, by kind.
        size: The bytes of the last backup, by kind.
        added: The bytes that the last backup added to the repository, by kind.
        duration: The seconds that the last backup took, by kind.
        failed: The last failure of each activity that has not succeeded since; empty if all did.
        wal_stored: Up to when every commit is in the repository.
        wal_bytes: The bytes of WAL that the last transfer added to the repository.
        verified: The last restore that was verified.
        verified_duration: The seconds that it took.
        platform: The last copy of the platform's files.
        oldest: The oldest restorable time.
    """

    owner: str = ""
    repository: bool = False
    since: float = 0
    backup: dict[str, float] = field(default_factory=dict)
    size: dict[str, int] = field(default_factory=dict)
    added: dict[str, int] = field(default_factory=dict)
    duration: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    wal_stored: float = 0
    wal_bytes: int = 0
    verified: float = 0
    verified_duration: float = 0
    platform: float = 0
    oldest: float = 0


def load(data: Path) -> State:
    """The state of a volume; a new one gets an owner's id.

    Raises:
        BackupError: the volume cannot be written.
    """
    with _locked(data):
        return _load(data)


def update(data: Path, **changes: Any) -> State:
    """Change the state atomically and return it. The value of a dictionary is merged; None removes its key."""
    with _locked(data):
        state = _load(data)
        for name, value in changes.items():
            if isinstance(value, dict):
                merged = {**getattr(state, name), **value}
                value = {key: each for key, each in merged.items() if each is not None}  # noqa: PLW2901
            state = replace(state, **{name: value})
        _write(data, state)
        return state


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Serialize reads and writes of the state: of the threads of the service, and of commands in other processes."""
    # A descriptor of its own in each thread: flock excludes threads as well then.
    with _opened(data / "state.lock") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _load(data: Path) -> State:
    path = data / "state.json"
    names = {each.name for each in fields(State)}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return State(**{name: value for name, value in content.items() if name in names})
    except FileNotFoundError:
        state = State(owner=secrets.token_hex(16), since=time.time())
        _write(data, state)
        return state
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BackupError(f"cannot read {path}", str(error), 'see docs/backup.md, "A new host"') from error


def _write(data: Path, state: State) -> None:
    path = data / "state.json"
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(asdict(state), stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise BackupError(f"cannot write {path}", error.strerror or str(error), "free disk space") from error


@contextmanager
def exclusive(data: Path, action: str, patience: float = 0) -> Iterator[None]:
    """Hold the lock of backups and restores, which every container with this volume shares.

    Args:
        data: The folder of the state.
        action: What the lock is for; other runs show it.
        patience: The seconds to wait for another run.

    Raises:
        BusyError: another run holds it.
    """
    deadline = time.monotonic() + patience
    with _opened(data / "lock") as stream:
        while not _taken(stream):
            stream.seek(0)
            active = stream.read().strip() or "another run"
            if time.monotonic() >= deadline:
                raise BusyError(f"cannot {action}", f"in progress: {active}", "wait until it has finished")
            time.sleep(POLL_SECONDS)
        stream.truncate(0)
        stream.write(action)
        stream.flush()
        yield


def _taken(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def waiting(data: Path) -> Iterator[None]:
    """Hold the lock of transfers of WAL, once no other process does."""
    with _opened(data / "transfer.lock") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _opened(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> BackupError:
    return BackupError(f"cannot write {path}", error.strerror or str(error), "check the volume backup_data")
