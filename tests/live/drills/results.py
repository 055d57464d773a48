"""The results of the drills and their tables in docs/reliability.md: ``python -m tests.live.drills.results``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.origin import CHECKOUT, Machine
from tests.live.drills import matrix
from toolkit.core.files import write_atomically
from toolkit.validate.documents import generate, table

FOLDER = Path("tests/live/drills")
RESULTS = FOLDER / "results.json"
DOCUMENT = Path("docs/reliability.md")
MACHINE = "machine"
"""The block about the machines; every other block has the name of a file of drills."""
MATRIX = "fault_table"
"""The block that is a matrix."""


@dataclass(frozen=True)
class Result:
    """The latest run of a drill.

    Attributes:
        outcome: ``passed``, ``failed`` or ``skipped``.
        measurements: What the drill has recorded; the reason if it was skipped.
        seconds: The duration, without that of shared stacks.
        machine: Where it ran.
        commit: The abbreviated commit, with ``-dirty`` if the working tree differed from it.
        date: The day, in UTC.
    """

    outcome: str
    measurements: Sequence[str]
    seconds: float
    machine: Machine
    commit: str
    date: str


Results = Mapping[str, Result]
"""By the test: FILE::FUNCTION[PARAMETERS], or FILE::CLASS::FUNCTION[PARAMETERS]."""


def load(root: Path) -> Results:
    """The stored results."""
    data = json.loads((root / RESULTS).read_text(encoding="utf-8"))
    return {test: Result(**{**result, "machine": Machine(**result["machine"])}) for test, result in data.items()}


def store(new: Results, root: Path = CHECKOUT) -> None:
    """Store the results of a run beside those of other drills that still exist, and write the tables."""
    found = {test: result for test, result in {**load(root), **new}.items() if exists(root, test)}
    data = {test: asdict(result) for test, result in sorted(found.items())}
    write_atomically(root / RESULTS, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    make(root)


def exists(root: Path, test: str) -> bool:
    """Whether a drill is in its file."""
    name = test.partition("[")[0]
    path = root / FOLDER / name.partition("::")[0]
    return path.is_file() and f"def {name.rpartition('::')[2]}(" in path.read_text(encoding="utf-8")


def make(root: Path = CHECKOUT) -> None:
    """Write the tables of the document."""
    (root / DOCUMENT).write_text(updated(root), encoding="utf-8")


def updated(root: Path) -> str:
    """The document with the tables of the stored results."""
    found = load(root)
    return generate((root / DOCUMENT).read_text(encoding="utf-8"), lambda name: block(found, name))


def block(found: Results, name: str) -> str:
    """A block of the document: the machines, or the drills of one file."""
    if name == MACHINE:
        machines = dict.fromkeys(result.machine for result in found.values())
        return "".join(f"- {each.hardware}: {each.software}\n" for each in machines) or "No results yet.\n"
    of_file = {test: result for test, result in found.items() if test.startswith(f"test_{name}.py::")}
    return matrix.markdown(of_file) if name == MATRIX else markdown(of_file)


def markdown(found: Results) -> str:
    """A table of results."""
    if not found:
        return "No results yet.\n"
    rows = [
        (
            test.partition("::test_")[2].replace("_", " "),
            result.outcome,
            " ".join("; ".join(result.measurements).split()).replace("|", "\\|"),
            f"{result.seconds:.0f} s",
            f"{result.date}, {result.commit}",
        )
        for test, result in found.items()
    ]
    return table(("drill", "outcome", "measurements", "took", "date, commit"), rows)


def main() -> None:
    """Write the tables of the document, or print one table."""
    parser = argparse.ArgumentParser(description="Write the tables of docs/reliability.md from the stored results.")
    parser.add_argument("--print", action="store_true", help="print one table instead")
    if parser.parse_args().print:
        print(markdown(load(CHECKOUT)))
    else:
        make()


if __name__ == "__main__":
    main()
