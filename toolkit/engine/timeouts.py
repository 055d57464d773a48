"""Timeouts of docker commands: a read-only command takes seconds, unless the engine hangs."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Sequence

from toolkit.core.errors import ToolkitError

SECONDS = 20.0
"""The timeout of a read-only command."""
REMEMBERED_SECONDS = 5.0
"""Seconds after a timeout in which read-only commands fail at once: a task that runs many waits for one of them."""

HUNG = "restart Docker (systemctl restart docker, or scripts/engine.sh start); its log: journalctl --unit=docker"

QUERIES = frozenset({"info", "version", "inspect", "ps", "images", "top", "port", "diff"})
"""Read-only subcommands of docker that query the engine."""
_LISTS = frozenset({"inspect", "ls", "list"})
OBJECTS = {
    **dict.fromkeys(("container", "image", "volume", "network"), _LISTS),
    "system": frozenset({"df", "info"}),
    "buildx": frozenset({"du", "ls"}),
}
"""Groups of subcommands, and the read-only ones."""
FOLLOW = frozenset({"--follow", "-f"})
"""With one of these, `docker logs` ends with its container."""
OF_COMPOSE = frozenset({"ps", "images", "ls", "top"})
"""Read-only subcommands of Compose that query the engine; `config` reads files only."""
OPTIONS = frozenset({"--profile", "--file", "-f", "--project-name", "-p", "--progress", "--env-file"})
"""Options of Compose that have a value."""


class TimedOutError(ToolkitError):
    """A command exceeded its timeout and was killed; ``output`` is its output until then, if captured."""

    def __init__(self, what: str, output: str, why: str = "", fix: str = "") -> None:
        super().__init__(what, why, fix)
        self.output = output


class HungEngineError(TimedOutError):
    """The engine did not answer a read-only command."""

    def __init__(self, args: Sequence[str]) -> None:
        why = f"docker {shlex.join(args)} did not finish within {SECONDS:g} s"
        super().__init__("the Docker Engine does not answer", "", why, HUNG)


def is_query(args: Sequence[str]) -> bool:
    """Whether ``docker ARGS`` is a read-only command that queries the engine."""
    first, second = (*args, "", "")[:2]
    if first == "compose":
        return _subcommand(args) in OF_COMPOSE
    if first == "logs":
        return FOLLOW.isdisjoint(args)
    if first == "stats":
        return "--no-stream" in args
    return first in QUERIES or second in OBJECTS.get(first, ())


def _subcommand(args: Sequence[str]) -> str:
    """The subcommand of Compose: the first word that is neither an option nor the value of one."""
    rest = iter(args[1:])
    for word in rest:
        if word in OPTIONS:
            next(rest, "")
        elif not word.startswith("-"):
            return word
    return ""


class Hang:
    """The last time at which the engine did not answer, for all threads of a task."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0

    def remember(self) -> None:
        """Record that the engine did not answer."""
        with self._lock:
            self._until = time.monotonic() + REMEMBERED_SECONDS

    @property
    def is_recent(self) -> bool:
        """Whether the engine did not answer within the last ``REMEMBERED_SECONDS``."""
        with self._lock:
            return time.monotonic() < self._until
