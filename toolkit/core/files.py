"""Writing files so that a crash, a full disk or Ctrl-C leaves the old or the new one, never half of one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from toolkit.core.errors import ToolkitError

_held_locks: set[Path] = set()


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace ``path`` by ``text`` in one step, with the permissions ``mode`` from the first byte on.

    Raises:
        ToolkitError: the file cannot be written; the old one is untouched.
    """
    with _temporary_file(path, text, mode) as temporary:
        temporary.replace(path)


def create(path: Path, text: str, mode: int = 0o644) -> None:
    """Make a new file in one step; one that is there already stays as it is.

    Raises:
        ToolkitError: the file cannot be written, or exists.
    """
    with _temporary_file(path, text, mode) as temporary:
        path.hardlink_to(temporary)


def overwrite(path: Path, text: str) -> None:
    """Put other text into the file that is there: whoever has it mounted sees it, which a file in its place is not.

    A text of another length is seen half written by whoever reads at that moment, and after a crash: the caller has it
    elsewhere, and does it again. A file that says so already is not touched.

    Raises:
        ToolkitError: the file cannot be written.
    """
    data = text.encode()
    try:
        with path.open("r+b") as stream:
            if stream.read() == data:
                return
            stream.seek(0)
            stream.write(data)
            stream.truncate()
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise write_error(path, error) from error


def remove_temporaries(path: Path) -> None:
    """Remove what a killed process left of ``write_atomically`` or ``create``; only under a lock that both hold."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)


@contextlib.contextmanager
def _temporary_file(path: Path, text: str, mode: int) -> Iterator[Path]:
    """A finished temporary file beside ``path``, gone after the block; an OSError becomes a ToolkitError."""
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        yield Path(temporary)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def write_error(path: Path, error: OSError) -> ToolkitError:
    """The error of a file that cannot be written."""
    return ToolkitError(f"cannot write {path}", error.strerror or str(error), fix_for(error, path))


def fix_for(error: OSError, path: Path) -> str:
    """What to do about an operating system error on ``path``."""
    match error.errno:
        case 28 | 122:
            return f"free some space on the disk of {path.parent} (docker system df shows Docker's share)"
        case 13 | 30 | 1:
            return f"make {path.parent} writable for your account"
        case _:
            return f"check {path.parent}"


@contextlib.contextmanager
def exclusive(lock: Path, doing: str) -> Iterator[None]:
    """Hold ``lock`` while the block runs, so that two runs of the toolkit take turns.

    The lock belongs to the process: a block inside another one shares it, and it is free however the process ends.

    Raises:
        ToolkitError: another run holds it, or the lock cannot be created.
    """
    if lock in _held_locks:
        yield
        return
    try:
        lock.parent.mkdir(exist_ok=True)
        stream = lock.open("a", encoding="utf-8")
    except OSError as error:
        raise write_error(lock, error) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ToolkitError(
                f"cannot {doing}",
                "another run of the toolkit is at work in this folder",
                "wait until it has ended, then run this again",
            ) from error
        _held_locks.add(lock)
        try:
            yield
        finally:
            _held_locks.remove(lock)
