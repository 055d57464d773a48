"""The results of benchmarks with the machine, commit and date of each: bench/results.json, and older versions of it."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.figure import Figure
from toolkit.core.errors import ToolkitError
from toolkit.core.files import write_atomically

CHECKOUT = Path(__file__).resolve().parents[1]
RESULTS = Path("bench/results.json")
GENERATED = (str(RESULTS), "docs/performance.md", "README.md")
"""Files that a run of benchmarks writes: they do not make a commit dirty."""
GIB = 1024**2
LIST = re.compile(r"\[[^][{}\"]*]")


@dataclass(frozen=True)
class Machine:
    """What figures depend on besides the code; figures of different ``hardware`` or images cannot be compared."""

    processor: str
    cores: int
    memory_gib: int
    distribution: str
    kernel: str
    engine: str
    compose: str
    python: str

    @classmethod
    def this(cls) -> Machine:
        """This machine."""
        return cls(
            processor=_first("/proc/cpuinfo", "model name") or platform.machine(),
            cores=os.cpu_count() or 1,
            memory_gib=round(int(_first("/proc/meminfo", "MemTotal").split()[0]) / GIB),
            distribution=platform.freedesktop_os_release()["PRETTY_NAME"],
            kernel=platform.release().partition("-")[0],
            engine=_output("docker", "version", "--format={{.Server.Version}}"),
            compose=_output("docker", "compose", "version", "--short"),
            python=platform.python_version(),
        )

    @property
    def hardware(self) -> str:
        """Processor, cores and memory."""
        return f"{self.processor}, {self.cores} cores, {self.memory_gib} GiB"

    @property
    def software(self) -> str:
        """Versions of the software below the stack."""
        return (
            f"{self.distribution}, Linux {self.kernel}, Docker Engine {self.engine}, Compose {self.compose}, "
            f"Python {self.python}"
        )


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


def commit() -> str:
    """The abbreviated commit of the checkout, with ``-dirty`` if a file differs; empty outside a repository."""
    head = _output("git", "-C", str(CHECKOUT), "rev-parse", "--short=10", "HEAD")
    excluded = [f":!{name}" for name in GENERATED]
    dirty = head and _output("git", "-C", str(CHECKOUT), "status", "--porcelain", "--", ".", *excluded)
    return f"{head}-dirty" if dirty else head


def today() -> str:
    """The day in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _first(path: str, name: str) -> str:
    """The first value of a name in a file of lines ``name: value``; empty if it has none."""
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _output(*command: str) -> str:
    """The output of a program; empty if it fails or does not exist."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
