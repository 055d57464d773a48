"""The journal of a deploy on disk, so that the next run can complete or roll back an interrupted one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from toolkit.checkout.project import Project
from toolkit.core.files import remove as remove_file
from toolkit.core.files import write_atomically


@dataclass(frozen=True)
class Journal:
    """``settings`` select the new release, ``former`` are names and ids of the former images.

    The outcome is not in the journal: .env, which changes atomically, names the live release.
    """

    settings: Mapping[str, str]
    former: Mapping[str, str]

    def committed(self, project: Project) -> bool:
        """Whether the new release is live."""
        return self.settings.items() <= project.env.items()

    def write(self, project: Project) -> None:
        """Write the journal."""
        write_atomically(path(project), json.dumps(asdict(self), indent=2) + "\n", mode=0o600)


def path(project: Project) -> Path:
    """The path of the journal, beside its lock."""
    return project.lock_file.with_name("deploy.json")


def read(project: Project) -> Journal | None:
    """The journal of an unfinished deploy, or None."""
    try:
        return Journal(**json.loads(path(project).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def remove(project: Project) -> None:
    """Delete the journal: the deploy is finished.

    Raises:
        ToolkitError: it cannot be deleted.
    """
    remove_file(path(project))
