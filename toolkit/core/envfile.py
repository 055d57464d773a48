"""Reading and changing .env: the user's lines, comments and order stay as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from toolkit.core.errors import ToolkitError
from toolkit.core.files import write_atomically

HEADER = """\
# Settings of this checkout, read by docker compose and by the tasks. Made by `invoke setup`; yours to edit.
# .env.example names every variable that can stand here. Passwords come from secrets/ and are synchronised from there.
"""


def read(path: Path) -> dict[str, str]:
    """The variables of an env file, empty where there is none.

    Values are taken as Compose takes them from single quotes: no ``${…}`` in them is expanded.
    """
    if not path.exists():
        return {}
    try:
        return dict(_variables(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise ToolkitError(
            f"cannot read {path}", str(error), f"check the permissions and the text of {path}"
        ) from error


@lru_cache(maxsize=8)  # it is asked for often, and parsing it takes milliseconds
def _variables(text: str) -> Mapping[str, str]:
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text), interpolate=False).items()}


def update(path: Path, changes: Mapping[str, str]) -> bool:
    """Set variables in an env file, each where it stands or else at the end; readable by its owner only.

    Returns:
        Whether anything changed; where nothing did, the file is not written.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else HEADER
    lines = before.splitlines()
    missing = dict(changes)
    for number, line in reversed(list(enumerate(lines))):  # of a variable that stands twice, the last one counts
        match = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", line)
        if match and match[1] in missing:
            lines[number] = f"{match[1]}={missing.pop(match[1])}"
    lines += [f"{name}={value}" for name, value in missing.items()]
    after = "\n".join(lines) + "\n"
    if path.exists() and after == before:
        return False
    write_atomically(path, after, mode=0o600)
    return True
