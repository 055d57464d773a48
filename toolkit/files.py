"""Writing files so that a crash, a full disk or Ctrl-C leaves the old or the new one, never half of one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import ToolkitError


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace ``path`` by ``text`` in one step, with the permissions ``mode`` from the first byte on.

    Raises:
        ToolkitError: the file cannot be written; the old one is untouched.
    """
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        raise ToolkitError(f"cannot write {path}", error.strerror or str(error), fix_for(error, path)) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


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

    The lock belongs to the process: it is free again however the process ends.

    Raises:
        ToolkitError: another run holds it, or the lock cannot be created.
    """
    try:
        lock.parent.mkdir(exist_ok=True)
        stream = lock.open("a", encoding="utf-8")
    except OSError as error:
        raise ToolkitError(f"cannot write {lock}", error.strerror or str(error), fix_for(error, lock)) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ToolkitError(
                f"cannot {doing}",
                "another run of the toolkit is at work in this folder",
                "wait until it has ended, then run this again",
            ) from error
        yield
