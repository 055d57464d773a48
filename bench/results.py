"""The results of benchmarks with the machine, commit and date of each: bench/results.json, and older versions of it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.figure import Figure
from bench.origin import CHECKOUT, Machine
from toolkit.core.errors import ToolkitError
from toolkit.core.files import write_atomically

RESULTS = Path("bench/results.json")
LIST = re.compile(r"\[[^][{}\"]*]")


@dataclass(frozen=True)
class Record:
    """A run of one benchmark.

    Attributes:
        machine: Where it ran.
        images: The image set, ``local`` or ``pulled``; empty if the benchmark starts no stack.
        commit: The abbreviated commit, with ``-dirty`` if the working tree differed from it.
        date: The day, in UTC.
        minutes: The duration.
        figures: The measurements.
        reason: Why there are none.
    """

    machine: Machine
    images: str
    commit: str
    date: str
    minutes: float
    figures: Sequence[Figure]
    reason: str = ""

    def figure(self, key: str) -> Figure:
        """The figure with this key."""
        for figure in self.figures:
            if figure.key == key:
                return figure
        raise LookupError(f"no figure '{key}'")


Results = Mapping[str, Record]
"""The latest run of each benchmark, by its name."""


def load(source: str) -> Results:
    """The results in a file, or those that were committed at a Git revision.

    Raises:
        ToolkitError: there is no such file or revision, or it has no results (exit code 2).
    """
    if Path(source).is_file():
        return parse(Path(source).read_text(encoding="utf-8"), source)
    shown = subprocess.run(["git", "show", f"{source}:{RESULTS}"], cwd=CHECKOUT, capture_output=True, text=True,
                           check=False)  # fmt: skip
    if shown.returncode:
        raise ToolkitError(
            f"no results in '{source}'", f"neither a file nor a Git revision with {RESULTS}",
            "name a file that nox -s bench has written, or a commit", code=2,
        )  # fmt: skip
    return parse(shown.stdout, f"{source}:{RESULTS}")


def parse(text: str, source: str) -> Results:
    """The results in a text.

    Raises:
        ToolkitError: the text is not in the format of `text` (exit code 2).
    """
    try:
        return {
            name: Record(**{
                **record,
                "machine": Machine(**record["machine"]),
                "figures": [Figure(**figure) for figure in record["figures"]],
            })
            for name, record in json.loads(text).items()
        }  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        fix = "use results of nox -s bench of this version"
        raise ToolkitError(f"{source} has no results of benchmarks", str(error), fix, code=2) from error


def text(results: Results) -> str:
    """The results as JSON, a list of samples on one line."""
    data: dict[str, Any] = {name: asdict(record) for name, record in sorted(results.items())}
    for record in data.values():
        for figure in record["figures"]:
            # Six significant digits: more are noise.
            figure["samples"] = [float(f"{sample:.6g}") for sample in figure["samples"]]
    indented = json.dumps(data, indent=2, ensure_ascii=False)
    return LIST.sub(lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), indented) + "\n"


def save(path: Path, results: Results) -> None:
    """Replace a file of results."""
    write_atomically(path, text(results))
