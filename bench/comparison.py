"""Compare the results of two runs: the figures that became worse or better by more than their spread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from bench import results
from bench.figure import Figure
from bench.origin import CHECKOUT
from bench.results import RESULTS, Record, Results
from toolkit.core.errors import ToolkitError

THRESHOLD = 0.05
"""Smaller changes of a median do not count, however small the spread: between two runs the machine changes, too."""
ROUNDS = 3
"""Fewer samples show no spread."""
STYLES = {"worse": "red", "better": "green", "different": "yellow"}


@dataclass(frozen=True)
class Change:
    """A figure in the old run and in the new one."""

    name: str
    old: Figure
    new: Figure

    @property
    def verdict(self) -> str:
        """``worse``, ``better`` or ``different``; empty if the change is not larger than the spread.

        It is larger if the medians differ by more than the threshold and the confidence intervals do not overlap.
        """
        (old_low, old_high), (new_low, new_high) = self.old.spread, self.new.spread
        difference = self.new.median - self.old.median
        if (new_low <= old_high and old_low <= new_high) or abs(difference) <= THRESHOLD * abs(self.old.median):
            return ""
        if self.new.better == "neither":
            return "different"
        return "worse" if (difference > 0) == (self.new.better == "less") else "better"

    @property
    def percent(self) -> str:
        """The change of the median in percent of the old one."""
        return f"{(self.new.median / self.old.median - 1) * 100:+.0f} %" if self.old.median > 0 else ""


@dataclass(frozen=True)
class Comparison:
    """The figures of both runs, and what cannot be compared, with the reason."""

    changes: list[Change]
    excluded: list[tuple[str, str]]


def main(sources: Sequence[str]) -> int:
    """Compare OLD with NEW, by default the stored results; the exit code is 1 if a figure became worse."""
    if len(sources) not in {1, 2}:
        raise ToolkitError("compare takes one or two results", "each is a file or a Git revision",
                           "nox -s bench -- compare OLD [NEW]", code=2)  # fmt: skip
    old, new = sources if len(sources) == 2 else (sources[0], str(CHECKOUT / RESULTS))
    found = compare(results.load(old), results.load(new))
    shown = Table(title=f"{len(found.changes)} figures compared", title_justify="left")
    for heading in ("figure", "old median (range)", "new median (range)", "change", ""):
        shown.add_column(heading)
    verdicts = [each.verdict for each in found.changes]
    for each, verdict in zip(found.changes, verdicts, strict=True):
        if verdict:
            shown.add_row(each.name, str(each.old), str(each.new), each.percent, verdict, style=STYLES[verdict])
    console = Console(highlight=False)
    if any(verdicts):
        console.print(shown)
    else:
        console.print(f"{len(verdicts)} figures compared, none changed by more than its spread")
    for name, reason in found.excluded:
        console.print(f"not compared: {name}: {reason}", markup=False)
    return 1 if "worse" in verdicts else 0


def compare(old: Results, new: Results) -> Comparison:
    """Compare the benchmarks that both runs have.

    Raises:
        ToolkitError: there are none, or they ran on different machines or images (exit code 2).
    """
    common = [name for name in old if name in new]
    if not common:
        raise ToolkitError("the two runs have no benchmark in common", code=2)
    for name in common:
        _require_same_machine(name, old[name], new[name])
    found = Comparison([], [])
    for name in dict.fromkeys((*old, *new)):
        if name not in common:
            found.excluded.append((name, "only in the old run" if name in old else "only in the new run"))
            continue
        for key, before, after in _pairs(old[name], new[name]):
            if reason := _reason(before, after):
                found.excluded.append((f"{name}/{key}", reason))
            elif before and after:
                found.changes.append(Change(f"{name}/{key}", before, after))
    return found


def _require_same_machine(name: str, old: Record, new: Record) -> None:
    pairs = {"machines": (old.machine.hardware, new.machine.hardware), "image sets": (old.images, new.images)}
    for what, (before, after) in pairs.items():
        if before != after:
            raise ToolkitError(
                f"the runs of {name} cannot be compared", f"different {what}: {before}; {after}",
                "run both versions on one machine with the same images", code=2,
            )  # fmt: skip


def _pairs(old: Record, new: Record) -> Iterator[tuple[str, Figure | None, Figure | None]]:
    before, after = ({figure.key: figure for figure in record.figures} for record in (old, new))
    for key in dict.fromkeys((*before, *after)):
        yield key, before.get(key), after.get(key)


def _reason(old: Figure | None, new: Figure | None) -> str:
    """The reason why two figures cannot be compared; empty if they can."""
    if old is None or new is None:
        return "only in the new run" if old is None else "only in the old run"
    if old.unit != new.unit:
        return f"different units: {old.unit}, {new.unit}"
    if min(len(old.samples), len(new.samples)) < ROUNDS:
        return f"fewer than {ROUNDS} samples"
    return ""
