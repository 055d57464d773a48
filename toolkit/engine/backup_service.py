"""Commands of the service `backup`: their progress is shown, their last line is the result as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from toolkit.checkout import backupkey
from toolkit.checkout.project import Project
from toolkit.core import console
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker, Result, explain
from toolkit.engine.health import container_states

SERVICE = "backup"
DATABASE_VOLUME = "postgres_data"
MOUNT = "/restore"
"""Where a restore mounts the volume of the database."""
PROGRAM = ("python3", "-m", "netmon_backup")


@dataclass
class _Output:
    """The progress of a command, and its last line."""

    shown: bool = True
    lines: list[str] = field(default_factory=list)

    def line(self, text: str) -> None:
        if text.startswith(('{"result"', '{"error"')):
            self.lines.append(text)
        elif self.shown and text.strip():
            _, _, message = text.partition("Z ")
            console.say(f"  {message or text}")


def require_target(project: Project) -> str:
    """The target of this checkout.

    Raises:
        ToolkitError: none is set.
    """
    if target := project.env.get(backupkey.TARGET, "").strip():
        return target
    raise ToolkitError(
        "there is no target for backups", "BACKUP_TARGET is not set", "set it in .env (docs/backup.md), then run "
        "invoke up --with=backup",
    )  # fmt: skip


def is_running(docker: Docker) -> bool:
    """Whether the service runs."""
    return any(each.service == SERVICE and each.status == "running" for each in container_states(docker))


def call(docker: Docker, *arguments: str, stdin: str = "", quiet: bool = False) -> Any:
    """The result of a command in the running service.

    Raises:
        ToolkitError: the command failed, or the service does not run.
    """
    if not is_running(docker):
        raise ToolkitError("the service backup does not run", fix="run: invoke up --with=backup")
    return _call(docker, ("exec", "--no-TTY", SERVICE, *PROGRAM, *arguments), stdin, quiet=quiet)


def run(docker: Docker, *arguments: str, volume: str = "", quiet: bool = False) -> Any:
    """The result of a command in a container of its own, with a volume, by default that of the database.

    The service itself may be stopped.

    Raises:
        ToolkitError: the command failed.
    """
    volume = volume or docker.effective(every_group=True)["volumes"][DATABASE_VOLUME]["name"]
    options = ("run", "--rm", "--no-deps", "--no-TTY", "--volume", f"{volume}:{MOUNT}")
    return _call(docker, ("--profile", SERVICE, *options, SERVICE, *arguments), "", quiet=quiet)


def _call(docker: Docker, command: tuple[str, ...], stdin: str, *, quiet: bool) -> Any:
    output = _Output(shown=not quiet)
    if stdin or quiet:
        result = docker.compose(*command, stdin=stdin)
        for line in result.stdout.splitlines():
            output.line(line)
    else:
        result = docker.compose(*command, watch=output.line)
    return parse(output.lines, result)


def parse(lines: list[str], result: Result) -> Any:
    """The result in the last line of a command.

    Raises:
        ToolkitError: it is an error, or there is none.
    """
    try:
        last = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise explain("run the backup service", result) from None
    if "error" in last:
        error = last["error"]
        raise ToolkitError(error["what"], error["why"], error["fix"])
    return last["result"]
