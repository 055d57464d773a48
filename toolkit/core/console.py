"""What people see: one console, colour and tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from toolkit.core.errors import ToolkitError

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "ok": "green",
    "done": "green",
    "starting": "yellow",
    "warning": "yellow",
    "skipped": "yellow",
    "failed": "bold red",
    "dim": "dim",
}


@cache
def console() -> Console:
    """The console of this process (rich honours NO_COLOR and notices pipes); imported late, since it is heavy."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def say(text: str, style: str = "") -> None:
    """Print a line as it is, in one of STYLES."""
    console().print(text, style=STYLES.get(style, style), markup=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """Print aligned columns, one line a row, never cut off: whoever reads a pipe wants whole lines.

    Args:
        columns: The headings.
        rows: The cells of each row.
        styles: One of STYLES for each row.
    """
    lines = [columns, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    for line, style in zip(lines, ["dim", *(styles or [""] * len(rows))], strict=True):
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), style)


def address(url: str, what: str) -> None:
    """Print an address that a terminal opens on a click, and what is found there."""
    from rich.text import Text

    style = f"link {url}" if "://" in url else ""
    console().print(Text.assemble("  ", (url, style), " " * max(32 - len(url), 1), what))


@contextmanager
def phase(name: str, touches: str) -> Iterator[None]:
    """Announce a step and what it touches; once it has succeeded, say how long it took."""
    from rich.text import Text

    started = time.monotonic()
    console().print(Text.assemble((f"\n▶ {name}", "bold"), ("  " + touches, STYLES["dim"])))
    yield
    say(f"  {name}: {time.monotonic() - started:.1f} s", "dim")


def confirm(doing: str, yes: bool) -> None:
    """Return if the user agrees to ``doing``: has said ``--yes``, or answers so.

    Raises:
        ToolkitError: they do not, or there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ToolkitError(f"consent is missing to {doing}", "nothing was changed", "add --yes")
    if input(f"{doing}? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise ToolkitError("called off", "nothing was changed")
