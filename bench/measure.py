"""Clocks: wall time, and the CPU time of the whole machine (containers, engine and tools alike)."""

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
    """What one measured block took, in seconds; ``cpu`` is of all cores together."""

    wall: float = 0
    cpu: float = 0


def machine_cpu() -> float:
    """Seconds of CPU time that the machine has spent on anything since it started (/proc/stat, proc(5))."""
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
