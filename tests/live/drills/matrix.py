"""The fault table as documents show it: a matrix of services and faults, and a row of measurements for each cell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tests.live.fault_table import FAULTS, SERVICES, Inapplicable, expected
from toolkit.validate.documents import table

if TYPE_CHECKING:
    from tests.live.drills.results import Result

CELL = re.compile(r"::test_\w+\[(?P<service>[^/\]]+)/(?P<fault>[^\]]+)\]$")
MEASUREMENTS = ("refused", "lost", "recovery", "alert")
NOT_RUN, FAILED = "not run", "**failed**"


def markdown(found: Mapping[str, Result]) -> str:
    """The faults, the matrix and the measurements of all cells; tests that are no cells are in no table."""
    results = by_cell(found)
    meanings = [(fault, column.meaning) for fault, column in FAULTS.items()]
    matrix = [(service, *(short(results, service, fault) for fault in FAULTS)) for service in SERVICES]
    return "\n".join((
        table(("fault", "what is done"), meanings),
        table(("service", *FAULTS), matrix),
        table(("fault", "service", "outcome", *MEASUREMENTS, "date, commit"), list(rows(results))),
    ))  # fmt: skip


def by_cell(found: Mapping[str, Result]) -> dict[tuple[str, str], Result]:
    """The results by service and fault."""
    cells = ((CELL.search(test), result) for test, result in found.items())
    return {(cell["service"], cell["fault"]): result for cell, result in cells if cell}


def short(results: Mapping[tuple[str, str], Result], service: str, fault: str) -> str:
    """The outcome of a cell in a word: the seconds of the recovery, or why there is none."""
    want, result = expected(service, fault), results.get((service, fault))
    if isinstance(want, Inapplicable):
        return str(want)
    if result is None:
        return NOT_RUN
    seconds = re.search(r"\d+ s$", values(result)["recovery"])
    return {"passed": seconds[0] if seconds else FAILED, "failed": FAILED}.get(result.outcome, result.outcome)


def rows(results: Mapping[tuple[str, str], Result]) -> Iterator[tuple[str, ...]]:
    """A row for each cell that has run."""
    for fault in FAULTS:
        for service in SERVICES:
            if result := results.get((service, fault)):
                measured = values(result)
                yield (fault, service, described(result), *(measured[name] for name in MEASUREMENTS),
                       f"{result.date}, {result.commit}")  # fmt: skip


def described(result: Result) -> str:
    """The outcome, with the reason if the cell has failed or was skipped."""
    last = result.measurements[-1] if result.measurements else "no outcome"
    return result.outcome if result.outcome == "passed" else f"{result.outcome}: {last.removeprefix('problem: ')}"


def values(result: Result) -> dict[str, str]:
    """The measurements of a cell by name; those that it does not have are empty."""
    named = dict(each.partition(": ")[::2] for each in result.measurements)
    return {name: named.get(name, "").replace("|", "\\|") for name in MEASUREMENTS}
