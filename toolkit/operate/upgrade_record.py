"""The record of upgrades on disk: the commit that runs, and where the last upgrade came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.core.files import write_atomically
from toolkit.operate.revision import Revision, read


@dataclass(frozen=True)
class Upgrade:
    """An upgrade from one commit to another one.

    Attributes:
        source: The commit before.
        target: The commit after.
        release: The release of the application before, whose images are retained.
        images: The image of each service before, to know whether its data can be opened by that version again.
        complete: Every service runs with the files of ``target``.
    """

    source: str
    target: str
    release: str
    images: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False


@dataclass(frozen=True)
class Record:
    """``live`` is the commit with which the stack was started, empty if it is unknown or the files were changed."""

    live: str = ""
    upgrade: Upgrade | None = None

    @classmethod
    def load(cls, project: Project) -> Record:
        """The record of a checkout; an empty one without a file.

        Raises:
            ToolkitError: the file is not a record.
        """
        try:
            content: dict[str, Any] = json.loads(path(project).read_text(encoding="utf-8"))
            upgrade = Upgrade(**content["upgrade"]) if content["upgrade"] else None
            return cls(content["live"], upgrade)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError, KeyError) as error:
            why = f"{path(project)} is not readable: {error}"
            raise ToolkitError("cannot read the record of upgrades", why, f"rm {path(project)}") from error

    def save(self, project: Project) -> None:
        """Write the record, atomically."""
        write_atomically(path(project), json.dumps(asdict(self), indent=2) + "\n", mode=0o600)


def path(project: Project) -> Path:
    """The path of the record, beside the lock."""
    return project.lock_file.with_name("upgrade.json")


def started(project: Project) -> None:
    """Record that the whole stack runs with the files of the checkout."""
    if (revision := read(project.root)) is not None:
        reached(project, revision)


def reached(project: Project, revision: Revision) -> None:
    """Record that the whole stack runs with the files of a revision: an upgrade to it is complete, or undone."""
    before = Record.load(project)
    live = "" if revision.changed else revision.commit
    upgrade = before.upgrade
    if upgrade and live == upgrade.target:
        upgrade = replace(upgrade, complete=True)
    elif upgrade and live == upgrade.source:
        upgrade = None
    if (after := Record(live, upgrade)) != before:
        after.save(project)
