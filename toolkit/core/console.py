"""Console output: colour and live tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from toolkit.core import terminal
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
    """The console of this process; rich honours NO_COLOR, detects pipes, and is slow to import."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def spinner() -> str:
    """The name of rich's spinner, in characters that the output's encoding has."""
    return "dots" if terminal.can_print("⠋") else "line"


def say(text: str, style: str = "") -> None:
    """Print a line without interpreting markup, in one of STYLES."""
    console().print(text, style=STYLES.get(style, style), markup=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """Print aligned columns, one line per row, never truncated, so that pipes receive complete lines.

    Args:
        columns: The headings.
        rows: The cells of each row.
        styles: The style of each row, one of STYLES.
    """
    lines = [columns, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    for line, style in zip(lines, ["dim", *(styles or [""] * len(rows))], strict=True):
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), style)


def address(url: str, what: str) -> None:
    """Print an address as a terminal hyperlink, followed by a description."""
    from rich.text import Text

    style = f"link {url}" if "://" in url else ""
    console().print(Text.assemble("  ", (url, style), " " * max(32 - len(url), 1), what))


@contextmanager
def phase(name: str, changes: str) -> Iterator[None]:
    """Print a step's name and its effect; after success also its duration."""
    from rich.text import Text

    started = time.monotonic()
    console().print(Text.assemble((f"\n▶ {name}", "bold"), ("  " + changes, STYLES["dim"])))
    yield
    say(f"  {name}: {time.monotonic() - started:.1f} s", "dim")


def confirm(action: str, yes: bool, refusal: ToolkitError | None = None) -> None:
    """Return if the user confirms ``action``, with ``--yes`` or at the prompt.

    Args:
        action: A verb with its object.
        yes: It is confirmed.
        refusal: The error without a terminal for a prompt, if it has more to explain than that ``--yes`` is missing.

    Raises:
        ToolkitError: the user declines, or there is no terminal for a prompt.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise refusal or ToolkitError(f"confirmation required to {action}", "nothing was changed", "add --yes")
    try:
        answer = input(f"{action}? [y/N] ")
    except EOFError:  # Ctrl-D
        answer = ""
    if answer.strip().lower() not in {"y", "yes"}:
        raise ToolkitError("cancelled", "nothing was changed")
