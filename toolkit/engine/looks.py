"""Commands that only look: they change nothing and answer within seconds, unless the engine hangs."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Sequence

from toolkit.core.errors import ToolkitError

SECONDS = 20.0
"""The timeout of a command that only looks."""
REMEMBERED_SECONDS = 5.0
"""How long after a timeout further looks fail at once: a task that looks in many places waits for one of them."""

HUNG = "restart Docker (systemctl restart docker, or scripts/engine.sh start); its log: journalctl --unit=docker"

LOOKS = frozenset({"info", "version", "inspect", "ps", "images", "top", "port", "diff"})
"""Subcommands of docker that ask the engine."""
_LISTS = frozenset({"inspect", "ls", "list"})
OBJECTS = {
    **dict.fromkeys(("container", "image", "volume", "network"), _LISTS),
    "system": frozenset({"df", "info"}),
    "buildx": frozenset({"du", "ls"}),
}
"""Groups of subcommands, and those that ask the engine."""
FOLLOW = frozenset({"--follow", "-f"})
"""With one of these, `docker logs` ends with its container."""
OF_COMPOSE = frozenset({"ps", "images", "ls", "top"})
"""Subcommands of Compose that ask the engine; `config` reads files only."""
OPTIONS = frozenset({"--profile", "--file", "-f", "--project-name", "-p", "--progress", "--env-file"})
"""Options of Compose that have a value."""


class TimedOutError(ToolkitError):
    """A command exceeded its timeout and was killed; ``output`` is its output until then, if captured."""

    def __init__(self, what: str, output: str, why: str = "", fix: str = "") -> None:
        super().__init__(what, why, fix)
        self.output = output


class HungEngineError(TimedOutError):
    """The engine did not answer a command that only looks."""

    def __init__(self, args: Sequence[str]) -> None:
        why = f"docker {shlex.join(args)} did not finish within {SECONDS:g} s"
        super().__init__("the Docker Engine does not answer", "", why, HUNG)


def asks_engine(args: Sequence[str]) -> bool:
    """Whether ``docker ARGS`` only asks the engine."""
    first, second = (*args, "", "")[:2]
    if first == "compose":
        return _subcommand(args) in OF_COMPOSE
    if first == "logs":
        return FOLLOW.isdisjoint(args)
    if first == "stats":
        return "--no-stream" in args
    return first in LOOKS or second in OBJECTS.get(first, ())


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
        """The engine did not answer just now."""
        with self._lock:
            self._until = time.monotonic() + REMEMBERED_SECONDS

    @property
    def is_recent(self) -> bool:
        """Whether the engine did not answer a moment ago."""
        with self._lock:
            return time.monotonic() < self._until
