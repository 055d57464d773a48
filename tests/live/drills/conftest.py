"""Every test of this folder is a drill; its measurements are rows of the table at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ROWS: list[tuple[str, str]] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.drill)


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A function that adds a row about this drill to the table."""
    return lambda outcome: ROWS.append((request.node.name, outcome))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if ROWS:
        terminalreporter.section("drills")
        width = max(len(name) for name, _ in ROWS)
        for name, outcome in ROWS:
            terminalreporter.write_line(f"{name:<{width}}  {outcome}")
