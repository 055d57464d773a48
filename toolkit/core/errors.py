"""The base class of the toolkit's errors, and the error for unknown names."""

from __future__ import annotations

from collections.abc import Iterable

from invoke.exceptions import Exit


class ToolkitError(Exit):
    """A failure that the user can act on: what failed, why, and the fix.

    Invoke exits with the message and the exit code, without a stack trace.
    """

    def __init__(self, what: str, why: str = "", fix: str = "", code: int = 1) -> None:
        self.what, self.why, self.fix = what, why, fix
        super().__init__(self.render(), code)

    def render(self) -> str:
        """The message as printed: ``error: WHAT: WHY`` and, on a line of its own, ``fix: FIX``."""
        lines = [f"error: {self.what}" + (f": {self.why}" if self.why else "")]
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render()


def require_known(kind: str, name: str, names: Iterable[str]) -> str:
    """Return ``name`` if it is one of ``names``.

    Raises:
        ToolkitError: the name is unknown; the message lists the known ones. Exit code 2.
    """
    if name in (names := list(names)):
        return name
    raise ToolkitError(
        f"unknown {kind} '{name}'", f"known: {', '.join(names)}", f"use one of the known {kind}s", code=2
    )
