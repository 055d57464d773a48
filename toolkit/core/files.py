"""Atomic file updates and locks: a crash, a full disk or Ctrl-C never leaves a partly written file.

A change is on disk when the function returns: the file is synced, and its folder, without which a power cut may undo a
rename.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from toolkit.core import ownership
from toolkit.core.errors import ToolkitError

_held_locks: set[Path] = set()


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file atomically; the permissions ``mode`` apply from the first byte.

    Raises:
        ToolkitError: the file cannot be written; the old one is unchanged.
    """
    with _temporary_file(path, text, mode) as temporary:
        temporary.replace(path)
        sync_folder(path.parent)


def create(path: Path, text: str, mode: int = 0o644) -> None:
    """Create a file atomically; an existing one is never overwritten.

    Raises:
        ToolkitError: the file cannot be written or already exists.
    """
    with _temporary_file(path, text, mode) as temporary:
        path.hardlink_to(temporary)
        sync_folder(path.parent)


def remove(path: Path) -> None:
    """Delete a file if it exists, for good.

    Raises:
        ToolkitError: it cannot be deleted.
    """
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error


def rename(path: Path, target: Path) -> None:
    """Rename a file or folder within its folder, for good.

    Raises:
        OSError: it cannot be renamed.
    """
    path.rename(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Write the entries of a folder to disk; without effect on file systems that cannot.

    Raises:
        OSError: the disk reports an error.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def overwrite(path: Path, text: str) -> None:
    """Overwrite an existing file in place, so that containers that have mounted it see the new text.

    Text of a different length is not written atomically: readers may see a partly written file, also after a crash. The
    caller therefore keeps the text elsewhere and repeats the write. An unchanged file is not written.

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
    """Remove temporary files that a killed process left behind; requires the lock under which they were written."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def _temporary_file(path: Path, text: str, mode: int) -> Iterator[Path]:
    """A complete temporary file next to ``path``, removed after the block; an OSError becomes a ToolkitError."""
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), mode)
            ownership.hand_over(stream.fileno(), path)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        yield Path(temporary)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Create a folder if it does not exist; the permissions ``mode`` are subject to the umask.

    Raises:
        OSError: it cannot be created.
    """
    if not path.is_dir():
        path.mkdir(mode)
        ownership.hand_over(path, path)


def write_error(path: Path, error: OSError) -> ToolkitError:
    """The error for a file that cannot be written."""
    return ToolkitError(f"cannot write {path}", error.strerror or str(error), fix_for(error, path))


def fix_for(error: OSError, path: Path) -> str:
    """The fix for an operating system error on ``path``."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"free disk space for {path.parent} (docker system df shows Docker's share)"
        case errno.EROFS:
            return f"the file system of {path.parent} is read-only: mount it writable, or use another checkout"
        case errno.EACCES | errno.EPERM:
            if found := ownership.foreign(path):
                file, owner = found
                return f"it belongs to {owner}: sudo chown -R {ownership.name(os.geteuid())} {file}"
            return f"make {path.parent} accessible for your account: chmod u+rwX {path.parent}"
        case _:
            return f"check {path.parent}"


@contextlib.contextmanager
def exclusive(lock: Path, action: str) -> Iterator[None]:
    """Hold ``lock`` for the duration of the block, so that only one run of the toolkit changes a checkout.

    The lock is reentrant within the process, and released when the process exits, however it exits.

    Raises:
        ToolkitError: another run holds the lock, or the lock file cannot be created.
    """
    if lock in _held_locks:
        yield
        return
    try:
        make_folder(lock.parent)
        created = not lock.exists()
        stream = lock.open("a", encoding="utf-8")
        if created:
            ownership.hand_over(lock, lock)
    except OSError as error:
        raise write_error(lock, error) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ToolkitError(
                f"cannot {action}",
                "another run of the toolkit is active in this folder",
                "wait until it has finished, then run this again",
            ) from error
        _held_locks.add(lock)
        try:
            yield
        finally:
            _held_locks.remove(lock)
