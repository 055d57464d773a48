"""What a deploy has begun, on disk, so that the next run can finish or undo it whatever ended this one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from toolkit.checkout.project import Project
from toolkit.core.files import write_atomically


@dataclass(frozen=True)
class Journal:
    """``settings`` select the new release, ``former`` are names and ids of the images before.

    Whether the deploy came through is not written here: .env, which changes in one step, says so.
    """

    settings: Mapping[str, str]
    former: Mapping[str, str]

    def committed(self, project: Project) -> bool:
        """Whether the new release is the one in force."""
        return self.settings.items() <= project.env.items()

    def write(self, project: Project) -> None:
        """Put it on disk."""
        write_atomically(path(project), json.dumps(asdict(self), indent=2) + "\n", mode=0o600)


def path(project: Project) -> Path:
    """Where the journal is, beside the lock that guards it."""
    return project.lock_file.with_name("deploy.json")


def read(project: Project) -> Journal | None:
    """The journal of a deploy that has not come to its end, or None."""
    try:
        return Journal(**json.loads(path(project).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def remove(project: Project) -> None:
    """The deploy is over."""
    path(project).unlink(missing_ok=True)
