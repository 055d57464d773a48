"""Every test of this folder is a drill; outcomes and measurements are a table at the end, and stored on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench import origin
from tests.live.drills import results
from tests.live.host_receiver import HostReceiver


@dataclass
class Drill:
    """A drill of this run."""

    outcome: str = "passed"
    measurements: list[str] = field(default_factory=list)
    seconds: float = 0


DRILLS: dict[str, Drill] = {}
ORIGIN: list[tuple[origin.Machine, str, str]] = []
"""Machine, commit and day at the start of the run, if its results are stored."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the option of `nox -s drills`."""
    parser.addoption("--store", action="store_true", help=f"store the results in {results.RESULTS}")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Take the commit before hours of drills in which the checkout may change."""
    if session.config.getoption("--store", default=False):
        ORIGIN.append((origin.Machine.this(), origin.commit(), origin.today()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.drill)


@pytest.fixture(scope="module")
def receiver() -> Iterator[HostReceiver]:
    """A receiver of notifications that outlives the stacks of a file."""
    with HostReceiver.running() as running:
        yield running


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A function that adds a measurement of this drill to the table."""
    return drill(request.node.nodeid).measurements.append


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect the outcome of each phase of a test: one that is not passed is that of the drill."""
    if "drills/" not in report.nodeid:
        return
    found = drill(report.nodeid)
    if report.when == "call":
        found.seconds = report.duration
    if report.outcome != "passed":
        found.outcome = report.outcome
    if report.skipped and isinstance(report.longrepr, tuple):
        found.measurements.append(report.longrepr[2].removeprefix("Skipped: "))


def drill(nodeid: str) -> Drill:
    """The drill of a test, by file and function."""
    return DRILLS.setdefault(nodeid.rpartition("drills/")[2], Drill())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if DRILLS:
        terminalreporter.section("drills")
        width = max(map(len, DRILLS))
        for name, found in DRILLS.items():
            terminalreporter.write_line(f"{name:<{width}}  {found.outcome}  {'; '.join(found.measurements)}".rstrip())


def pytest_runtest_logfinish() -> None:
    """Store the results of the drills that have run: a run that is killed counts as far as it came."""
    for machine, commit, date in ORIGIN:
        results.store({
            name: results.Result(found.outcome, found.measurements, round(found.seconds, 1), machine, commit, date)
            for name, found in DRILLS.items()
        })  # fmt: skip
