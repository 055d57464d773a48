"""CPU time of a start from empty volumes, by service and second by second, and when each service became healthy."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from bench.cpu import containers_cpu, engine_cpu
from bench.figure import Figure
from bench.measure import CORES, machine_cpu
from tests.live.stack import Stack

ROUNDS = 3
INTERVAL = 0.5
"""Seconds between two samples."""
SECONDS = 30
"""The figures second by second end here."""


@dataclass(frozen=True)
class Sample:
    """CPU seconds used so far: by each container and each shim (by the container's id), the engine and the machine."""

    at: float
    containers: Mapping[str, float]
    shims: Mapping[str, float]
    engine: float
    machine: float

    @classmethod
    def take(cls) -> Self:
        """Read the files of the kernel."""
        return cls(time.time(), containers_cpu(), *engine_cpu(), machine_cpu())


@dataclass
class Recording:
    """CPU time, and events of the engine, during a `with` block."""

    project: str
    samples: list[Sample] = field(default_factory=list)
    services: dict[str, str] = field(default_factory=dict)
    """The service of each container, by its id."""
    healthy: dict[str, float] = field(default_factory=dict)
    """When each service became healthy, as Unix time."""
    checks: Counter[str] = field(default_factory=Counter)
    """The number of health checks of each service."""

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._events = subprocess.Popen(
            ["docker", "events", "--format={{json .}}", f"--filter=label=com.docker.compose.project={self.project}"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._sample)]
        self.samples.append(Sample.take())
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._events.terminate()
        self._events.wait()
        for thread in self._threads:
            thread.join()
        self.samples.append(Sample.take())

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL):
            self.samples.append(Sample.take())

    def _read(self) -> None:
        for line in self._events.stdout or ():
            self.record(json.loads(line))

    def record(self, event: Mapping[str, Any]) -> None:
        """Record an event of the engine."""
        if event["Type"] != "container":
            return
        service = event["Actor"]["Attributes"]["com.docker.compose.service"]
        self.services[event["Actor"]["ID"]] = service
        if event["Action"] == "health_status: healthy":
            self.healthy.setdefault(service, event["timeNano"] / 1e9)
        elif event["Action"].startswith("exec_start"):
            self.checks[service] += 1

    @property
    def began(self) -> float:
        """The Unix time of the first sample."""
        return self.samples[0].at

    @property
    def wall(self) -> float:
        """Seconds from the first sample to the last."""
        return self.samples[-1].at - self.began

    @property
    def machine(self) -> float:
        """CPU seconds of the machine."""
        return self.samples[-1].machine - self.samples[0].machine

    @property
    def engine(self) -> float:
        """CPU seconds of the engine."""
        return self.samples[-1].engine - self.samples[0].engine

    @property
    def containers(self) -> dict[str, float]:
        """CPU seconds of the containers of each service."""
        return self._by_service(self.samples[0].containers, self.samples[-1].containers)

    @property
    def shims(self) -> dict[str, float]:
        """CPU seconds of the shims of each service."""
        return self._by_service(self.samples[0].shims, self.samples[-1].shims)

    def by_second(self) -> dict[str, list[float]]:
        """CPU seconds of the containers of each service in each second."""
        seconds: dict[str, list[float]] = defaultdict(lambda: [0.0] * (int(self.wall) + 1))
        for before, after in zip(self.samples, self.samples[1:], strict=False):
            second = int((before.at + after.at) / 2 - self.began)
            for service, used in self._by_service(before.containers, after.containers).items():
                seconds[service][second] += used
        return seconds

    def _by_service(self, before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
        """What each service has used in between; a container without a value does not run yet, or no longer."""
        used: dict[str, float] = defaultdict(float)
        for container, service in self.services.items():
            used[service] += max(0.0, after.get(container, 0.0) - before.get(container, 0.0))
        return used


def figures(stack: Stack) -> Iterator[Figure]:
    """The totals, and each service: the most costly first."""
    stack.invoke("setup")
    stack.invoke("images.prepare", timeout=900)
    rounds = [start(stack) for _ in range(ROUNDS)]
    yield Figure("wall", "from empty volumes to healthy", "s", [each.wall for each in rounds])
    yield Figure("machine", "CPU time of the machine", "s", [each.machine for each in rounds])
    yield Figure("floor", f"CPU time of the machine ÷ {CORES} cores", "s", [each.machine / CORES for each in rounds])
    services = [sum(each.containers.values()) for each in rounds]
    yield Figure("services", "CPU time of the services and their health checks", "s", services)
    yield Figure("shims", "CPU time of runc", "s", [sum(each.shims.values()) for each in rounds])
    yield Figure("engine", "CPU time of the engine", "s", [each.engine for each in rounds])
    yield Figure("checks", "health checks", "", [float(each.checks.total()) for each in rounds])
    yield from details(rounds)


def details(rounds: Sequence[Recording]) -> Iterator[Figure]:
    """Each service: its CPU time, when it was healthy, and the first round second by second."""
    seconds = rounds[0].by_second()
    for service in sorted(seconds, key=lambda name: -sum(seconds[name])):
        used = [each.containers.get(service, 0.0) for each in rounds]
        yield Figure(f"{service}-cpu", f"{service}, CPU time", "s", used, detail=True)
        if all(service in each.healthy for each in rounds):
            healthy = [each.healthy[service] - each.began for each in rounds]
            yield Figure(f"{service}-healthy", f"{service}, healthy after", "s", healthy, detail=True)
        for second, spent in enumerate(seconds[service][:SECONDS]):
            label = f"{service}, CPU time in second {second}"
            yield Figure(f"{service}-second-{second}", label, "s", [spent], "neither", detail=True)


def start(stack: Stack) -> Recording:
    """Start the stack from empty volumes, with plain Compose."""
    stack.destroy()
    with Recording(stack.name) as recording:
        stack.compose("up", "--detach", "--wait", "--quiet-pull")
    return recording
