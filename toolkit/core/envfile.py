"""Read and update .env, preserving the user's lines, comments and order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from toolkit.core import envsyntax
from toolkit.core.errors import ToolkitError
from toolkit.core.files import fix_for, write_atomically

HEADER = """\
# Settings of this checkout, read by docker compose and by the tasks. Created by `invoke setup`; yours to edit.
# .env.example lists every variable. Passwords are synchronised from secrets/.
"""


def read(path: Path) -> dict[str, str]:
    """The variables of an env file; empty if the file does not exist.

    Values are literal: ``${…}`` is not expanded.

    Raises:
        ToolkitError: the file cannot be read or is not UTF-8.
    """
    try:
        return dict(_variables(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ToolkitError(f"cannot read {path}", error.strerror or str(error), fix_for(error, path)) from error
    except UnicodeDecodeError as error:
        raise ToolkitError(f"cannot read {path}", str(error), f"save {path} in the encoding UTF-8") from error


@lru_cache(maxsize=8)  # read often, and parsing takes milliseconds
def _variables(text: str) -> Mapping[str, str]:
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text), interpolate=False).items()}


def update(path: Path, changes: Mapping[str, str]) -> bool:
    """Set variables in an env file, in place or else at the end; the file is readable by its owner only.

    Returns:
        Whether anything changed; an unchanged file is not written.

    Raises:
        ToolkitError: the file cannot be written, or no line of it can have one of the values.
    """
    changes = {name: _written(name, value) for name, value in changes.items()}
    before = path.read_text(encoding="utf-8") if path.exists() else HEADER
    lines = before.removesuffix("\n").split("\n")
    missing = dict(changes)
    for number, line in reversed(list(enumerate(lines))):  # the last of duplicate variables counts
        match = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", line)
        if match and match[1] in missing:
            lines[number] = f"{match[1]}={missing.pop(match[1])}"
    lines += [f"{name}={value}" for name, value in missing.items()]
    after = "\n".join(lines) + "\n"
    if path.exists() and after == before:
        return False
    write_atomically(path, after, mode=0o600)
    return True


def _written(name: str, value: str) -> str:
    written = envsyntax.written(value)
    if written is None:
        what = f"{name} cannot be written into .env"
        raise ToolkitError(what, f"docker compose would change it: {value}", "choose a name with simpler characters")
    return written
