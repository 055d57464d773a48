"""When the password of a store was generated here, until its stack has started: an older volume is of another checkout.

Only a fingerprint of the password is recorded: one that was replaced since, for instance by that of the other checkout,
has no record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.core import files

PASSWORDS = {"db": "postgres_password"}
"""The stores that keep their password in their volume, and refuse another one."""


def path(project: Project) -> Path:
    """The file of the record."""
    return project.lock_file.with_name("generated.json")


def record(project: Project, created: Iterable[str]) -> None:
    """Record the creation of credentials, now.

    Raises:
        ToolkitError: the record cannot be written.
    """
    new = {name: _fingerprint(project, name) for name in created if name in PASSWORDS.values()}
    if new:
        now = datetime.now(UTC).replace(microsecond=0).isoformat()
        entries = {name: {"at": now, "of": fingerprint} for name, fingerprint in new.items()}
        files.write_atomically(path(project), json.dumps(_read(project) | entries, indent=1) + "\n", mode=0o600)


def since(project: Project, service: str) -> datetime | None:
    """When the password of a store was generated here, to the second; None if it is not known."""
    name = PASSWORDS.get(service, "")
    entry = _read(project).get(name)
    with suppress(KeyError, TypeError, ValueError):  # an invalid record
        if entry is not None and entry["of"] == _fingerprint(project, name):
            return datetime.fromisoformat(entry["at"]).astimezone(UTC)
    return None


def forget(project: Project) -> None:
    """Remove the record: the stores have accepted their passwords.

    Raises:
        ToolkitError: it cannot be removed.
    """
    files.remove(path(project))


def _read(project: Project) -> dict[str, dict[str, str]]:
    try:
        found = json.loads(path(project).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _fingerprint(project: Project, name: str) -> str:
    value = credentials.first_line(project, name) or ""
    return hashlib.sha256(f"{name}:{value}".encode()).hexdigest()[:16]
