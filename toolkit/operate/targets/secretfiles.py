"""The secrets that values of targets refer to: files in secrets/targets, which the worker reads for every probe."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from toolkit.core.errors import ToolkitError
from toolkit.operate.targets.document import Mistake, MistakesError
from toolkit.operate.targets.targetfile import SECRET, TargetFile

FOLDER = Path("secrets", "targets")
MAX_BYTES = 4096
"""Bytes of a secret of one line."""
MAX_TEXT = 64 * 1024
"""Bytes of a secret of several lines."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_VALUE = re.compile(rb"[\t\x20-\x7e]+")


def require(root: Path, file: TargetFile) -> None:
    """Return if every secret that a file refers to can be used.

    Args:
        root: The checkout.
        file: The file.

    Raises:
        MistakesError: names each reference, and the problem of its secret; the error contains no value.
    """
    mistakes: list[Mistake] = []
    problems: dict[tuple[str, bool], str] = {}
    for value in file.values:
        if not value.value.startswith(SECRET):
            continue
        name = value.value.removeprefix(SECRET)
        if not _NAME.fullmatch(name):
            continue  # the application refuses it
        key = name, value.is_text
        if key not in problems:
            problems[key] = problem(root, name, is_text=value.is_text)
        if problems[key]:
            mistakes.append(file.document.mistake(value.at, problems[key]))
    if mistakes:
        raise MistakesError(file.name, mistakes)


def problem(root: Path, name: str, *, is_text: bool = False) -> str:
    """Why the worker cannot use a secret, which may have several lines or one; empty if it can."""
    path = FOLDER / name
    try:
        reason = _problem(root / path, is_text=is_text)
    except FileNotFoundError:
        reason = "is missing: write the value into it"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    return f"{path} {reason}" if reason else ""


def _problem(path: Path, *, is_text: bool) -> str:
    mode = path.lstat().st_mode
    if not stat.S_ISREG(mode):
        return "is not a regular file"
    if not mode & stat.S_IROTH:
        return "is not readable in the container: make it readable with chmod 644"
    limit = MAX_TEXT if is_text else MAX_BYTES
    with path.open("rb") as stream:
        content = stream.read(limit + 3)
    if not content.strip():
        return "is empty: write the value into it"
    return _text_problem(content) if is_text else _line_problem(content.rstrip(b"\r\n"))


def _line_problem(content: bytes) -> str:
    valid = len(content) <= MAX_BYTES and _VALUE.fullmatch(content)
    return "" if valid else f"is not one line of at most {MAX_BYTES} ASCII characters"


def _text_problem(content: bytes) -> str:
    if len(content) > MAX_TEXT:
        return f"is longer than {MAX_TEXT} bytes"
    try:
        content.decode()
    except UnicodeDecodeError:
        return "is not text in UTF-8"
    return ""


def require_folder(root: Path) -> None:
    """Return if the folder of the secrets can be entered by the worker.

    Raises:
        ToolkitError: it cannot.
    """
    path = root / FOLDER
    if path.is_dir() and path.stat().st_mode & 0o005 != 0o005:
        raise ToolkitError(f"{FOLDER} is not readable in the container", "", f"chmod 755 {FOLDER}")
