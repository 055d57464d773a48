"""What people see: one console, colour and tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@cache
def console() -> Console:
    """The console of this process (rich honours NO_COLOR and notices pipes); imported late, since it is heavy."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


STYLES = {"ok": "green", "failed": "bold red", "warning": "yellow", "skipped": "yellow", "dim": "dim"}
