"""Apply a file of targets to the application, or compare both."""

from __future__ import annotations

from typing import Any

from toolkit.checkout.project import Project
from toolkit.core import console
from toolkit.core.errors import ToolkitError
from toolkit.core.terminal import BROKEN_PIPE
from toolkit.engine.compose import Docker
from toolkit.operate.targets import difference, heartbeaturl, secretfiles, targetfile
from toolkit.operate.targets.client import Client, InvalidTargetsError
from toolkit.operate.targets.targetfile import SECRET, TargetFile


def apply(project: Project, docker: Docker, path: str, *, prune: bool, yes: bool) -> None:
    """Show the difference between a file and the stored targets, ask, and store the targets of the file.

    Everything is changed in one transaction of the application, or nothing.

    Args:
        project: The checkout.
        docker: Docker in its folder.
        path: The file; ``-`` is the standard input.
        prune: Delete the targets that are not in the file.
        yes: Do not ask.

    Raises:
        ToolkitError: the file has mistakes, the application does not answer, or the user declines.
    """
    file = targetfile.load(path)
    secretfiles.require_folder(project.root)
    secretfiles.require(project.root, file)
    client = Client.of(project, docker)
    change = _change(client, file, prune=prune, dry_run=True)
    for each in file.exposed:
        line = file.document.line(each.at)
        console.say(
            f"warning: {file.name}:{line}: the value of {each.name} is in the file; {SECRET}NAME keeps it out",
            "warning",
        )
    difference.show(change)
    if not difference.is_change(change):
        console.say("nothing to change")
        return
    console.confirm("apply this", yes)
    done = _change(client, file, prune=prune, dry_run=False)
    console.say(f"applied: {difference.summary(done, done=True)}", "done")
    heartbeaturl.create(client, docker, file, done)


def diff(project: Project, docker: Docker, path: str) -> None:
    """Show the difference between a file and the stored targets.

    Args:
        project: The checkout.
        docker: Docker in its folder.
        path: The file; ``-`` is the standard input.

    Raises:
        ToolkitError: they differ (exit code 1), or cannot be compared (exit code 2).
    """
    try:
        file = targetfile.load(path)
        change = _change(Client.of(project, docker), file, prune=False, dry_run=True)
        difference.show(change)
    except ToolkitError as error:
        if error.code == BROKEN_PIPE:
            raise
        raise ToolkitError(error.what, error.why, error.fix, code=2) from error
    if difference.is_drift(change):
        raise ToolkitError(
            f"{file.name} and the application differ",
            difference.summary(change),
            "invoke targets.apply changes the application, invoke targets.export writes the file",
        )


def _change(client: Client, file: TargetFile, *, prune: bool, dry_run: bool) -> dict[str, Any]:
    try:
        return client.change(file.targets, file.maintenance, prune=prune, dry_run=dry_run)
    except InvalidTargetsError as error:
        raise file.mistakes(error.errors) from error
