"""Run benchmarks and store their results, or compare the results of two runs: ``nox -s bench -- --help``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import (
    alerts,
    backup,
    capacity,
    checks,
    comparison,
    dashboards,
    documents,
    incidents,
    listing,
    monitoring,
    origin,
    overhead,
    probing,
    proxy,
    quickstart,
    results,
    security,
    signals,
    start_cpu,
    startup,
    statistics,
    target_alerts,
    targets,
)
from bench.figure import Figure, NotMeasuredError
from bench.origin import CHECKOUT, Machine
from bench.results import RESULTS, Record
from tests.live.stack import Stack
from toolkit.core import terminal
from toolkit.core.errors import ToolkitError, require_known

Benchmark = Callable[[], tuple[Iterable[Figure], str]]
"""Returns the figures, and the image set of the stack, if there is one."""
USAGE = """\
nox -s bench [-- [--output=FILE] [all | NAME…]]
       nox -s bench -- compare OLD [NEW]"""


def on_a_stack(figures: Callable[[Stack], Iterable[Figure]], settings: Mapping[str, str] | None = None) -> Benchmark:
    """A benchmark on a stack of its own, with these settings in .env; the stack is removed afterwards."""

    def run() -> tuple[Iterable[Figure], str]:
        with tempfile.TemporaryDirectory() as folder:
            stack = Stack.create(Path(folder) / "checkout", "netmon-bench", **(settings or {}))
            try:
                return list(figures(stack)), stack.images
            finally:
                stack.destroy()

    return run


BENCHMARKS: Mapping[str, Benchmark] = {
    "listing": on_a_stack(listing.figures),
    "startup": on_a_stack(startup.figures),
    "start_cpu": on_a_stack(start_cpu.figures),
    "quickstart": on_a_stack(quickstart.figures),
    "checks": on_a_stack(checks.figures),
    "alerts": on_a_stack(alerts.figures, alerts.SETTINGS),
    "target_alerts": on_a_stack(target_alerts.figures, target_alerts.SETTINGS),
    "incidents": on_a_stack(incidents.figures),
    "signals": on_a_stack(signals.figures),
    "monitoring": on_a_stack(monitoring.figures),
    "overhead": on_a_stack(overhead.figures),
    "probing": on_a_stack(probing.figures, probing.SETTINGS),
    "capacity": on_a_stack(capacity.figures, capacity.SETTINGS),
    "statistics": on_a_stack(statistics.figures, statistics.SETTINGS),
    "targets": on_a_stack(targets.figures, targets.SETTINGS),
    "proxy": on_a_stack(proxy.figures, proxy.SETTINGS),
    "security": on_a_stack(security.figures, security.SETTINGS),
    "dashboards": on_a_stack(dashboards.figures),
    "backup": on_a_stack(backup.figures, backup.SETTINGS),
}


def main(arguments: Sequence[str]) -> int:
    """Run the command line; the exit code is 1 for a failed benchmark or a worse figure, 2 for wrong usage."""
    parser = argparse.ArgumentParser(usage=USAGE, description=__doc__.partition(":")[0] + ".")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"{', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--output", metavar="FILE", default=str(RESULTS), help="file of results, default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        if options.names[:1] == ["compare"]:
            return comparison.main(options.names[1:])
        return run_benchmarks(options.names, CHECKOUT / options.output)
    except ToolkitError as error:
        print(error, file=sys.stderr)
        return error.code or 0


def run_benchmarks(names: Sequence[str], path: Path) -> int:
    """Run benchmarks, store the results of each as soon as it has finished, and print them as one table."""
    every = list(names) in ([], ["all"])
    names = list(BENCHMARKS) if every else [require_known("benchmark", name, BENCHMARKS) for name in names]
    machine = Machine.this()
    former = results.load(str(path)) if path.exists() else {}
    stored = {
        name: record for name, record in former.items() if not every or record.machine.hardware == machine.hardware
    }
    measured: dict[str, Record] = {}
    problem = ""
    try:
        failed = []
        for name in names:
            record = measure(name, machine)
            if record is None:
                failed.append(name)
                continue
            measured[name] = stored[name] = record
            results.save(path, stored)
            if path == CHECKOUT / RESULTS:
                documents.make()
        problem = f"failed: {', '.join(failed)}" if failed else ""
    except KeyboardInterrupt:
        problem = f"interrupted; complete: {', '.join(measured) or 'none'}"
    Console().print(table(measured, machine))
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


def measure(name: str, machine: Machine) -> Record | None:
    """Run a benchmark; None if it fails, whose stack trace is printed."""
    commit, began = origin.commit(), time.monotonic()
    figures, images, reason = list[Figure](), "", ""
    print(f"benchmark {name}", file=sys.stderr)
    try:
        found, images = BENCHMARKS[name]()
        figures = list(found)
    except NotMeasuredError as error:
        reason = str(error)
    except Exception:  # one benchmark of many: the others run
        traceback.print_exc()
        return None
    minutes = round((time.monotonic() - began) / 60, 1)
    return Record(machine, images, commit, origin.today(), minutes, figures, reason)


def table(measured: Mapping[str, Record], machine: Machine) -> Table:
    """One table of all figures."""
    shown = Table(title=f"{machine.hardware}\n{machine.software}", title_justify="left")
    for heading in ("benchmark", "figure"):
        shown.add_column(heading)
    for heading in ("median", "range", "samples"):
        shown.add_column(heading, justify="right")
    for name, record in measured.items():
        if record.reason:
            shown.add_row(name, f"not measured: {record.reason}")
        for figure in record.figures:
            label = f"  {figure.label}" if figure.detail else figure.label
            shown.add_row(name, label, figure.value, figure.range, str(len(figure.samples)))
        shown.add_section()
    return shown


if __name__ == "__main__":
    terminal.run(lambda: main(sys.argv[1:]))
