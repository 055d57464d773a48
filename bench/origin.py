"""The origin of a measurement: machine, commit and day."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
GENERATED = (
    "bench/results.json", "docs/performance.md", "README.md", "tests/live/drills/results.json", "docs/reliability.md",
)  # fmt: skip
"""Files that benchmarks and drills write: they do not make a commit dirty."""
KIB_PER_GIB = 1024**2


@dataclass(frozen=True)
class Machine:
    """What a measurement depends on besides the code; those of different ``hardware`` cannot be compared."""

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
            memory_gib=round(int(_first("/proc/meminfo", "MemTotal").split()[0]) / KIB_PER_GIB),
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
