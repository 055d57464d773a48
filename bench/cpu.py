"""CPU time of containers and of the engine, from the files of the kernel; and its share in each probe."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.figure import Figure

TICKS = os.sysconf("SC_CLK_TCK")
CGROUPS = (
    # The CPU time of a container: version 1 in nanoseconds; version 2, managed by the engine and by systemd.
    ("cpuacct/docker/*/cpuacct.usage", re.compile(r"/docker/(\w+)/")),
    ("docker/*/cpu.stat", re.compile(r"/docker/(\w+)/")),
    ("system.slice/docker-*.scope/cpu.stat", re.compile(r"/docker-(\w+)\.scope/")),
)
ENGINE = frozenset({"dockerd", "containerd"})
SHIM = "containerd-shim"
"""One process per container. It waits for runc, which starts the container and its health checks: their CPU time."""
ENGINE_NAME = "engine"
"""The engine among the containers of a window: it copies their log lines."""
TOLERANCE = 0.1
"""How far the rate of probes may be from what is expected of it."""


def containers_cpu(root: Path = Path("/sys/fs/cgroup")) -> dict[str, float]:
    """CPU seconds of each container on this machine, by its id."""
    used = {}
    for pattern, identifier in CGROUPS:
        for path in root.glob(pattern):
            with suppress(OSError):  # the container has just been removed
                first, *rest = path.read_text().split()
                used[identifier.findall(str(path))[-1]] = int(rest[0]) / 1e6 if rest else int(first) / 1e9
    return used


def engine_cpu(root: Path = Path("/proc")) -> tuple[dict[str, float], float]:
    """CPU seconds of the shims, by container, and of the engine; with the children that each has waited for."""
    shims, engine = {}, 0.0
    for path in root.glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has just ended
            name, _, values = path.read_text().partition("(")[2].rpartition(") ")
            # utime, stime, cutime, cstime: proc(5).
            used = sum(map(int, values.split()[11:15])) / TICKS
            if name in ENGINE:
                engine += used
            elif name == SHIM:
                arguments = path.with_name("cmdline").read_text().split("\0")
                if "-id" in arguments:  # empty as well: the process has just ended
                    shims[arguments[arguments.index("-id") + 1]] = used
    return shims, engine


@dataclass(frozen=True)
class Window:
    """What a while has cost.

    Attributes:
        cpu: CPU seconds a second, by container, and of the engine.
        probes: Probes a second.
    """

    cpu: Mapping[str, float]
    probes: float

    def per_probe(self, idle: Window) -> dict[str, float]:
        """CPU milliseconds a probe, by container, without what the same containers cost while there are no probes.

        Raises:
            ValueError: there were no probes, or the idle window has other containers.
        """
        if not self.probes:
            raise ValueError("no probes in this window: nothing to divide by")
        if self.cpu.keys() != idle.cpu.keys():
            raise ValueError(f"{sorted(self.cpu)} are compared with {sorted(idle.cpu)}")
        return {name: (used - idle.cpu[name]) / self.probes * 1000 for name, used in self.cpu.items()}


def window(containers: Mapping[str, str], probes: Callable[[], int], seconds: float, expected: float = 0) -> Window:
    """Measure for some seconds.

    Args:
        containers: The containers' names by their full ids.
        probes: Counts the probes so far.
        seconds: How long.
        expected: The rate of probes; 0 for none.

    Raises:
        ValueError: a container does not run from the first to the last moment, or the rate of probes is another one.
    """
    count, began = probes(), time.monotonic()
    before, engine = containers_cpu(), engine_cpu()[1]
    time.sleep(seconds)
    after, engine = containers_cpu(), engine_cpu()[1] - engine
    passed = time.monotonic() - began
    found = between(containers, before, after) | {ENGINE_NAME: engine}
    rate = (probes() - count) / passed
    if abs(rate - expected) > TOLERANCE * expected:
        raise ValueError(f"{rate:.3g} probes a second instead of {expected:.3g}: they cannot be compared")
    return Window({name: used / passed for name, used in found.items()}, rate)


def between(containers: Mapping[str, str], before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """CPU seconds of each container from one reading to the next, by name.

    Raises:
        ValueError: a reading lacks a container: it was started, or has ended, meanwhile.
    """
    missing = sorted(name for each, name in containers.items() if each not in before or each not in after)
    if missing:
        raise ValueError(f"no CPU time of {', '.join(missing)}: not running all the time")
    return {name: after[each] - before[each] for each, name in containers.items()}


def total(costs: Mapping[str, float]) -> float:
    """The sum of the containers' costs; without the engine, whose log driver is a choice."""
    return sum(cost for name, cost in costs.items() if name != ENGINE_NAME)


def figures_of(key: str, label: str, rounds: Sequence[Mapping[str, float]]) -> Iterator[Figure]:
    """The total of each round, its containers, the most costly first, and the engine."""
    yield Figure(f"{key}-total", f"CPU a probe, {label}", "ms", [total(each) for each in rounds])
    names = sorted(rounds[0].keys() - {ENGINE_NAME}, key=lambda name: -sum(each[name] for each in rounds))
    for name in names:
        yield Figure(f"{key}-{name}", f"… of it `{name}`", "ms", [each[name] for each in rounds])
    engine = [each[ENGINE_NAME] for each in rounds]
    yield Figure(f"{key}-{ENGINE_NAME}", "… besides, the engine with its log files", "ms", engine)
