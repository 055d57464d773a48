"""The tables of figures in the documents, made from bench/results.json: ``python -m bench.documents`` writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from bench import results
from bench.origin import CHECKOUT
from bench.results import RESULTS, Record, Results
from toolkit.validate.documents import generate, table

MACHINE = "machine"
"""The block about the machine; every other block of docs/performance.md has the name of a benchmark."""
NOTHING = "No results yet.\n"
HIGHLIGHTS = (
    ("startup", "verified"),
    ("startup", "ratio"),
    ("monitoring", "stack-memory"),
    ("overhead", "p99-added"),
    ("alerts", "db-fired"),
)
"""The figures of the README: benchmark and key."""


def performance(found: Results, name: str) -> str:
    """A block of docs/performance.md."""
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
    run = f"`nox -s bench -- {name}`, {record.minutes:g} min, {record.date}, commit {record.commit}{images}"
    return f"{run}\n({record.machine.hardware})"


def readme(found: Results, _name: str) -> str:
    """The block of the README: a few figures."""
    rows = []
    for name, key in HIGHLIGHTS:
        if record := found.get(name):
            figure = record.figure(key)
            rows.append((figure.label, str(figure)))
    return table(("figure", "median (range)"), rows) if rows else NOTHING


DOCUMENTS: Mapping[str, Callable[[Results, str], str]] = {"docs/performance.md": performance, "README.md": readme}


def updated(root: Path) -> Mapping[Path, str]:
    """Each document of a checkout with the tables of its results."""
    found = results.load(str(root / RESULTS))
    return {
        root / name: generate((root / name).read_text(encoding="utf-8"), partial(maker, found))
        for name, maker in DOCUMENTS.items()
    }


def make(root: Path = CHECKOUT) -> None:
    """Write the tables of every document."""
    for path, text in updated(root).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    make()
