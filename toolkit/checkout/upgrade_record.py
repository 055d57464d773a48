"""The record of upgrades on disk: the commit that runs, where the last upgrade came from, and whether it is final."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.core.files import write_atomically


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
    """What is known about the running stack.

    Attributes:
        live: The commit with which the stack was started; empty if it is unknown or the files were changed.
        upgrade: The last upgrade, to which there is a way back.
        unfinalized: The formats that the brokers still write as the version before, in words; the last upgrade is not
            final until they are raised.
        finalized: The formats that were raised since the last upgrade, in words; empty if none was.
        finalized_at: When, in ISO 8601.
    """

    live: str = ""
    upgrade: Upgrade | None = None
    unfinalized: tuple[str, ...] = ()
    finalized: tuple[str, ...] = ()
    finalized_at: str = ""

    @classmethod
    def load(cls, project: Project) -> Record:
        """The record of a checkout; an empty one without a file.

        Raises:
            ToolkitError: the file is not a record.
        """
        try:
            content: dict[str, Any] = json.loads(path(project).read_text(encoding="utf-8"))
            upgrade = Upgrade(**content["upgrade"]) if content["upgrade"] else None
            # Earlier releases write the first two only.
            return cls(content["live"], upgrade, tuple(content.get("unfinalized", ())),
                       tuple(content.get("finalized", ())), content.get("finalized_at", ""))  # fmt: skip
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
