"""Run the benchmarks named on the command line, or all of them, and print their table."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import (
    alerts,
    checks,
    dashboards,
    listing,
    monitoring,
    overhead,
    probing,
    proxy,
    security,
    signals,
    startup,
    statistics,
)
from bench.measure import CORES
from tests.live.stack import Stack


def on_a_stack(
    rows: Callable[[Stack], Iterable[tuple[str, str]]], settings: Mapping[str, str] | None = None
) -> Iterator[tuple[str, str]]:
    """The rows of a benchmark on a stack of its own, with these settings in .env; the stack is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack.create(Path(folder) / "checkout", "netmon-bench", **(settings or {}))
        try:
            yield from rows(stack)
        finally:
            stack.destroy()


BENCHMARKS: dict[str, Callable[[], Iterable[tuple[str, str]]]] = {
    "listing": listing.rows,
    "startup": lambda: on_a_stack(startup.rows),
    "checks": lambda: on_a_stack(checks.rows),
    "alerts": lambda: on_a_stack(alerts.rows, alerts.SETTINGS),
    "signals": lambda: on_a_stack(signals.rows),
    "monitoring": lambda: on_a_stack(monitoring.rows),
    "overhead": lambda: on_a_stack(overhead.rows),
    "probing": lambda: on_a_stack(probing.rows, probing.SETTINGS),
    "statistics": lambda: on_a_stack(statistics.rows, statistics.SETTINGS),
    "proxy": lambda: on_a_stack(proxy.rows, proxy.SETTINGS),
    "security": lambda: on_a_stack(security.rows, security.SETTINGS),
    "dashboards": lambda: on_a_stack(dashboards.rows),
}


def main(names: list[str]) -> int:
    """Print one table; exit code 2 for an unknown benchmark."""
    if unknown := [name for name in names if name not in BENCHMARKS]:
        print(f"unknown benchmark {', '.join(unknown)}; known: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    console = Console()
    table = Table(title=f"{platform.machine()}, {CORES} cores, Linux {platform.release()}", title_justify="left")
    table.add_column("measurement")
    table.add_column("value", justify="right")
    for name in names or BENCHMARKS:
        with console.status(f"benchmark {name}"):
            for row in BENCHMARKS[name]():
                table.add_row(*row)
        table.add_section()
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
