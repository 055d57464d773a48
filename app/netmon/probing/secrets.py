"""Header values that are references to secrets: files of one folder, read for every probe.

A changed file takes effect with the next probe, without a restart. A value leaves this module as a header of a request
only: no error contains it.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from netmon.probing.errors import SECRET, ProbeError
from netmon.specs import secret_name

MAX_SECRET = 4096
"""Bytes of a secret, as of any other header value."""

_VALUE = re.compile(rb"[\t\x20-\x7e]+")


class SecretFolder:
    """The folder of the secrets that headers of targets refer to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def resolve(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers with the values of the secrets that they refer to.

        Raises:
            ProbeError: a secret is missing, empty, unreadable, or not valid as a header value.
        """
        return {name: self._value(value) for name, value in headers.items()}

    def _value(self, value: str) -> str:
        name = secret_name(value)
        return value if name is None else self._read(name)

    def _read(self, name: str) -> str:
        try:
            content = _content(self._path / name)
        except FileNotFoundError:
            raise ProbeError(SECRET, f"the secret {name} is missing") from None
        except OSError:
            raise ProbeError(SECRET, f"the secret {name} cannot be read") from None
        value = content.rstrip(b"\r\n")
        if not value.strip():
            raise ProbeError(SECRET, f"the secret {name} is empty")
        if len(value) > MAX_SECRET or not _VALUE.fullmatch(value):
            raise ProbeError(SECRET, f"the secret {name} is not one line of at most {MAX_SECRET} ASCII characters")
        return value.decode("ascii")


def _content(path: Path) -> bytes:
    """The start of a file: enough to see that it is too long.

    Raises:
        OSError: there is no such file, or it is not readable or not a regular one.
    """
    # A link could lead out of the folder, and opening a pipe would block.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        return os.read(descriptor, MAX_SECRET + 3)
    finally:
        os.close(descriptor)
