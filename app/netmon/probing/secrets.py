"""Settings that are references to secrets: files of one folder, read for every probe.

A changed file takes effect with the next probe, without a restart. A value leaves this module as a part of a request
only: no error contains it.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from netmon.probing.errors import SECRET, ProbeError
from netmon.secret_values import secret_name

MAX_SECRET = 4096
"""Bytes of a secret of one line, as of any other header value."""
MAX_TEXT = 64 * 1024
"""Bytes of a secret of several lines."""

_VALUE = re.compile(rb"[\t\x20-\x7e]+")


class SecretFolder:
    """The folder of the secrets that settings of targets refer to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def resolve(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers with the values of the secrets that they refer to.

        Raises:
            ProbeError: a secret is missing, empty, unreadable, or not valid as a header value.
        """
        return {name: self.line(value) for name, value in headers.items()}

    def line(self, value: str) -> str:
        """A value of one line, or that of the secret that it refers to; raises the same errors as `resolve`."""
        name = secret_name(value)
        if name is None:
            return value
        content = self._read(name, MAX_SECRET).rstrip(b"\r\n")
        if len(content) > MAX_SECRET or not _VALUE.fullmatch(content):
            raise ProbeError(SECRET, f"the secret {name} is not one line of at most {MAX_SECRET} ASCII characters")
        return content.decode("ascii")

    def text(self, value: str, valid: Callable[[str], str] = str) -> str:
        """A text, or the content of the secret that it refers to.

        Args:
            value: a setting.
            valid: raises ValueError, with a reason that does not contain it, if a content is not suitable.

        Raises:
            ProbeError: the secret is missing, empty, unreadable, or not suitable.
        """
        name = secret_name(value)
        if name is None:
            return value
        content = self._read(name, MAX_TEXT)
        if len(content) > MAX_TEXT:
            raise ProbeError(SECRET, f"the secret {name} is longer than {MAX_TEXT} bytes")
        try:
            return valid(content.decode())
        except UnicodeDecodeError:
            raise ProbeError(SECRET, f"the secret {name} is not text in UTF-8") from None
        except ValueError as error:
            raise ProbeError(SECRET, f"the secret {name} {error}") from None

    def _read(self, name: str, limit: int) -> bytes:
        try:
            content = _content(self._path / name, limit)
        except FileNotFoundError:
            raise ProbeError(SECRET, f"the secret {name} is missing") from None
        except OSError:
            raise ProbeError(SECRET, f"the secret {name} cannot be read") from None
        if not content.strip():
            raise ProbeError(SECRET, f"the secret {name} is empty")
        return content


def _content(path: Path, limit: int) -> bytes:
    """The start of a file: enough to see that it is too long.

    Raises:
        OSError: there is no such file, or it is not readable or not a regular one.
    """
    # A link could lead out of the folder, and opening a pipe would block.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        return os.read(descriptor, limit + 3)
    finally:
        os.close(descriptor)
