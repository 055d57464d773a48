"""The secrets that header values refer to: files in secrets/targets, which the worker reads for every probe."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from toolkit.core.errors import ToolkitError
from toolkit.operate.targets.document import Mistake, MistakesError
from toolkit.operate.targets.targetfile import SECRET, TargetFile

FOLDER = Path("secrets", "targets")
MAX_BYTES = 4096
"""Bytes of a header value."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_VALUE = re.compile(rb"[\t\x20-\x7e]+")


def require(root: Path, file: TargetFile) -> None:
    """Return if every secret that a file refers to can be used.

    Args:
        root: The checkout.
        file: The file.

    Raises:
        MistakesError: names each reference, and what is wrong with its secret; the error contains no value.
    """
    mistakes: list[Mistake] = []
    problems: dict[str, str] = {}
    for header in file.headers:
        if not header.value.startswith(SECRET):
            continue
        name = header.value.removeprefix(SECRET)
        if not _NAME.fullmatch(name):
            continue  # the application refuses it
        if name not in problems:
            problems[name] = problem(root, name)
        if problems[name]:
            mistakes.append(file.document.mistake(header.at, problems[name]))
    if mistakes:
        raise MistakesError(file.name, mistakes)


def problem(root: Path, name: str) -> str:
    """Why the worker cannot use a secret; empty if it can."""
    path = FOLDER / name
    try:
        reason = _problem(root / path)
    except FileNotFoundError:
        reason = "is missing: write the value of the header into it"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    return f"{path} {reason}" if reason else ""


def _problem(path: Path) -> str:
    mode = path.lstat().st_mode
    if not stat.S_ISREG(mode):
        return "is not a regular file"
    if not mode & stat.S_IROTH:
        return "is not readable in the container: make it readable with chmod 644"
    with path.open("rb") as stream:
        content = stream.read(MAX_BYTES + 3).rstrip(b"\r\n")
    if not content.strip():
        return "is empty: write the value of the header into it"
    if len(content) > MAX_BYTES or not _VALUE.fullmatch(content):
        return f"is not one line of at most {MAX_BYTES} ASCII characters"
    return ""


def require_folder(root: Path) -> None:
    """Return if the folder of the secrets can be entered by the worker.

    Raises:
        ToolkitError: it cannot.
    """
    path = root / FOLDER
    if path.is_dir() and path.stat().st_mode & 0o005 != 0o005:
        raise ToolkitError(f"{FOLDER} is not readable in the container", "", f"chmod 755 {FOLDER}")
