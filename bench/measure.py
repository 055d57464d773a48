"""Wall time, and the CPU time of the whole machine: containers, engine and tools."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CORES = os.cpu_count() or 1


@dataclass
class Span:
    """Duration of a measured block in seconds; ``cpu`` is the sum over all cores."""

    wall: float = 0
    cpu: float = 0


def machine_cpu() -> float:
    """Seconds of CPU time that the machine has used since its boot (/proc/stat, proc(5))."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


@contextmanager
def measured() -> Iterator[Span]:
    """Measure the block; the span is filled when it ends."""
    span = Span()
    wall, cpu = time.monotonic(), machine_cpu()
    yield span
    span.wall, span.cpu = time.monotonic() - wall, machine_cpu() - cpu
