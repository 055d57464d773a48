"""The tables of docs/performance.md, made from bench/results.json: ``python -m bench.documents`` writes them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench import results
from bench.origin import CHECKOUT
from bench.results import RESULTS, Record, Results
from toolkit.validate.documents import generate, table

DOCUMENT = "docs/performance.md"
MACHINE = "machine"
"""The block about the machine."""
SUMMARY = "summary"
"""The block of highlights; every other block has the name of a benchmark."""
NOTHING = "No results yet.\n"
HIGHLIGHTS = (
    ("startup", "verified"),
    ("startup", "ratio"),
    ("monitoring", "stack-memory"),
    ("overhead", "p99-added"),
    ("alerts", "db-fired"),
)
"""The figures of the summary: benchmark and key."""


def block(found: Results, name: str) -> str:
    """A block of the document."""
    if name == SUMMARY:
        return summary(found)
    if name == MACHINE:
        machines = {record.machine: record for record in found.values()}
        return "".join(f"- {each.hardware}: {each.software}\n" for each in machines) or NOTHING
    record = found.get(name)
    if record is None:
        return f"Not measured yet: `nox -s bench -- {name}`.\n"
    if record.reason:
        return f"Not measured: {record.reason}.\n"
    rows = [
        (figure.label, figure.value, figure.range, str(len(figure.samples)))
        for figure in record.figures
        if not figure.detail
    ]
    return f"{table(('figure', 'median', 'range', 'samples'), rows)}\n{origin(name, record)}\n"


def origin(name: str, record: Record) -> str:
    """Where the figures of a benchmark come from."""
    images = f", {record.images} images" if record.images else ""
    return f"`nox -s bench -- {name}`, {record.minutes:g} min, {record.date}, commit {record.commit}{images}"


def summary(found: Results) -> str:
    """A few figures of several benchmarks."""
    rows = []
    for name, key in HIGHLIGHTS:
        if record := found.get(name):
            figure = record.figure(key)
            rows.append((figure.label, str(figure)))
    return table(("figure", "median (range)"), rows) if rows else NOTHING


def updated(root: Path) -> str:
    """The document of a checkout with the tables of its results."""
    text = (root / DOCUMENT).read_text(encoding="utf-8")
    return generate(text, partial(block, results.load(str(root / RESULTS))))


def make(root: Path = CHECKOUT) -> None:
    """Write the tables of the document."""
    (root / DOCUMENT).write_text(updated(root), encoding="utf-8")


if __name__ == "__main__":
    make()
