"""The standard streams and the exit codes of a command: any encoding, closed and full outputs, no stack trace."""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from toolkit.core import files
from toolkit.core.errors import ToolkitError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDIN, STDOUT, STDERR = 0, 1, 2
SIGNALLED = 128
"""The shell's exit code of a program that a signal ended, less the number of the signal."""
INTERRUPTED = SIGNALLED + signal.SIGINT
BROKEN_PIPE = SIGNALLED + signal.SIGPIPE

CHUNK = 65536

UNENCODABLE = "toolkit.unencodable"
"""The error handler of the outputs."""
SUBSTITUTES = {"▶": ">", "✓": "+", "✗": "x", "·": "-", "…": "...", "—": "-", "→": "->", "÷": "/"}
"""Replacements of characters that the encoding of an output lacks; every other one is replaced by a question mark."""

SYSTEM_ERRORS = frozenset({
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO,
    errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOMEM,
})  # fmt: skip
"""Errors of the host, not of this program."""


class OutputError(ToolkitError):
    """The standard output cannot be written.

    A closed pipe, as in ``| head -1``, is no error of the user: the exit code is that of a program that SIGPIPE ended,
    without a message.
    """

    def __init__(self, error: OSError) -> None:
        closed = error.errno == errno.EPIPE
        super().__init__(
            "cannot write the standard output",
            error.strerror or str(error),
            "free space on its device, or redirect it elsewhere",
            code=BROKEN_PIPE if closed else 1,
        )
        if closed:
            self.message = None


class _Output(io.RawIOBase):
    """A standard output. After an error it discards everything: cleaning up, which also prints, must not fail again.

    Args:
        descriptor: The file descriptor, which child processes inherit.
        strict: Raise an `OutputError`; otherwise output is lost silently, as nothing can report it.
    """

    def __init__(self, descriptor: int, *, strict: bool) -> None:
        self._descriptor, self._strict = descriptor, strict

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: ReadableBuffer, /) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another program has made a shared terminal non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                _replace_by_null(self._descriptor, os.O_WRONLY)
                if self._strict:
                    raise OutputError(error) from None
                break
        return size


def prepare() -> None:
    """Make the standard streams safe, once, before anything is printed; streams that a test replaced are kept."""
    codecs.register_error(UNENCODABLE, _substitute)
    # In the wrong direction, so that use of a closed stream is an error, and no file gets its number.
    for descriptor, flags in ((STDIN, os.O_WRONLY), (STDOUT, os.O_RDONLY), (STDERR, os.O_RDONLY)):
        if not _is_open(descriptor):
            _replace_by_null(descriptor, flags)
    if sys.stdin is None:
        sys.stdin = open(STDIN, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    elif sys.stdin is sys.__stdin__ and isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Output(STDOUT, strict=True), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Output(STDERR, strict=False), sys.stderr)


def _text(output: _Output, former: TextIO | None) -> io.TextIOWrapper:
    encoding = (former and former.encoding) or "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(output), encoding, UNENCODABLE, line_buffering=True)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _replace_by_null(descriptor: int, flags: int) -> None:
    null = os.open(os.devnull, flags)
    if null == descriptor:
        os.set_inheritable(null, True)
    else:
        os.dup2(null, descriptor)
        os.close(null)


def _substitute(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(SUBSTITUTES.get(each, "?") for each in error.object[error.start : error.end]), error.end


def can_print(text: str) -> bool:
    """Whether the encoding of the standard output has every character of ``text``."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run the main function of a module, which returns its exit code or None, as a task is run, and exit."""
    prepare()
    try:
        with host_errors():
            code = main() or 0
    except ToolkitError as error:
        if error.message:
            print(error.message, file=sys.stderr)
        code = error.code
    sys.exit(code)


def copy_to_stdout(source: int) -> None:
    """Copy a file descriptor to the standard output, unchanged, as it is written, until its end.

    Raises:
        OutputError: the standard output cannot be written.
    """
    sys.stdout.flush()
    while chunk := os.read(source, CHUNK):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


@contextmanager
def host_errors() -> Iterator[None]:
    """Report the host's errors in the block, such as a file that cannot be read, and Ctrl-C without a stack trace.

    Raises:
        ToolkitError: in place of these errors; exit code 130 for Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise ToolkitError("interrupted", code=INTERRUPTED) from None
    except OSError as error:
        if error.errno not in SYSTEM_ERRORS:
            raise
        reason = error.strerror or str(error)
        if not error.filename:
            raise ToolkitError("the host refuses an operation", reason, "invoke doctor examines the host") from error
        path = Path(os.fsdecode(error.filename))
        raise ToolkitError(f"cannot use {path}", reason, files.fix_for(error, path)) from error
