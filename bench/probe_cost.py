"""CPU a probe in all processes that it takes, here and by others, from the same target in the same run.

Each is measured with all of its targets, and without probes; the difference is divided by the requests that the target
has answered. Here the targets are paused for it. The two take turns, and rest while it is the other's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import requests

from bench import cpu, peers
from bench.cpu import Window
from bench.fast_target import Target
from bench.figure import Figure
from bench.pairs import ROUNDS, alternate, ratio
from tests.live.stack import Stack, until
from toolkit.engine.memory import used

SECONDS, IDLE_SECONDS = 30.0, 60.0
"""Of a measurement with probes, and of one without."""
SETTLING_SECONDS = 8.0
"""After a change of the targets: more than the shorter interval, and than a scrape."""
SLOWEST = 60.0
"""Probes a second that any worker can do."""
SERVICES = ("worker", "db", "rabbitmq", "kafka", "redis", "app")
MB = 1e6


@dataclass(frozen=True)
class Rate:
    """So many targets, each probed once in an interval."""

    targets: int
    interval: int

    @property
    def per_second(self) -> float:
        """Probes a second."""
        return self.targets / self.interval

    @property
    def key(self) -> str:
        """Their prefix of figures."""
        return f"{self.targets}x{self.interval}"

    def __str__(self) -> str:
        return f"{self.targets} targets every {self.interval} s"


FREQUENT, MANY = Rate(400, 5), Rate(2000, 60)


@dataclass(frozen=True)
class Round:
    """CPU milliseconds a probe by container, and the memory afterwards in bytes."""

    costs: Mapping[str, float]
    memory: float

    @property
    def total(self) -> float:
        """CPU milliseconds a probe."""
        return cpu.total(self.costs)


@dataclass
class Bench:
    """The stack, the others, and the target of both."""

    stack: Stack
    peer: peers.Peer
    target: Target
    idle: dict[str, Window] = field(default_factory=dict)
    """Without probes, by the name of what is measured."""

    def ours(self, rate: Rate, rounds: int = 1) -> list[Round]:
        """Probe these targets here."""
        store(self.stack, self.target.url, rate, enabled=True)
        # All of them are due at once at first.
        time.sleep(max(SETTLING_SECONDS, rate.targets / SLOWEST))
        measured = []
        for _ in range(rounds):
            window = cpu.window(service_containers(self.stack), self.target.requests, SECONDS, rate.per_second)
            memory = container_memory(self.stack, "worker")
            measured.append(Round(window.per_probe(self.idle[rate.key]), memory))
        store(self.stack, self.target.url, rate, enabled=False)
        return measured

    def theirs(self, rate: Rate) -> Round:
        """Probe these targets there."""
        self.peer.probe(urls(self.target.url, rate.targets), rate.interval)
        time.sleep(SETTLING_SECONDS)
        window = cpu.window(self.peer.containers, self.target.requests, SECONDS, rate.per_second)
        memory = self.peer.memory()
        self.peer.probe((), rate.interval)
        return Round(window.per_probe(self.idle["peer"]), memory)

    def rest(self, rate: Rate) -> None:
        """Measure both without probes, with these targets stored and paused here."""
        store(self.stack, self.target.url, rate, enabled=False)
        self.peer.probe((), rate.interval)
        time.sleep(SETTLING_SECONDS)
        ours = service_containers(self.stack)
        both = cpu.window({**ours, **self.peer.containers}, self.target.requests, IDLE_SECONDS)
        for name, containers in ((rate.key, ours), ("peer", self.peer.containers)):
            self.idle[name] = Window({each: both.cpu[each] for each in (*containers.values(), cpu.ENGINE_NAME)}, 0)


def figures(stack: Stack, target: Target) -> Iterator[Figure]:
    """Our cost at both rates, that of the others at the higher one, and their ratio."""
    with peers.running(stack) as peer:
        bench = Bench(stack, peer, target)
        bench.rest(FREQUENT)
        pairs = alternate(lambda ours: bench.ours(FREQUENT)[0] if ours else bench.theirs(FREQUENT))
        bench.rest(MANY)
        many = bench.ours(MANY, ROUNDS)
    here, there = [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
    yield from costs(FREQUENT.key, f"{FREQUENT}", here)
    yield from idle_and_memory(FREQUENT, here, bench.idle[FREQUENT.key])
    yield from costs(f"peer-{FREQUENT.key}", f"{FREQUENT}, blackbox_exporter and Prometheus", there)
    yield Figure(
        "peer-memory", "memory of blackbox_exporter and Prometheus", "MB", [each.memory / MB for each in there]
    )
    yield ratio("cost-ratio", "CPU a probe, here ÷ blackbox_exporter and Prometheus", pairs, lambda each: each.total)
    yield from costs(MANY.key, f"{MANY}", many)
    yield from idle_and_memory(MANY, many, bench.idle[MANY.key])


def costs(key: str, label: str, rounds: list[Round]) -> Iterator[Figure]:
    """The cost of a probe in each round, by container."""
    yield from cpu.figures_of(key, label, [each.costs for each in rounds])


def idle_and_memory(rate: Rate, rounds: list[Round], idle: Window) -> Iterator[Figure]:
    """What the stack costs without probes, and the memory of the worker with them."""
    yield Figure(f"{rate.key}-idle", f"the stack with {rate.targets} paused targets: CPU", "% of a core",
                 [cpu.total(idle.cpu) * 100])  # fmt: skip
    yield Figure(f"{rate.key}-memory", f"memory of the worker, {rate}", "MB", [each.memory / MB for each in rounds])


def service_containers(stack: Stack) -> dict[str, str]:
    """The service of each container that takes part in a probe, by its full id."""
    return {stack.container(name)["Id"]: name for name in SERVICES}


def container_memory(stack: Stack, service: str) -> float:
    """What the container of a service uses, in bytes."""
    found = stack.container(service)
    return used(found["Id"], found["State"]["Pid"]) or 0


def urls(base: str, count: int) -> list[str]:
    """Different URLs of the target."""
    return [f"{base}?{number}" for number in range(count)]


def store(stack: Stack, base: str, rate: Rate, *, enabled: bool) -> None:
    """Replace all targets by these; repeated while the database is too busy for it."""
    targets = [
        {"name": f"target {number}", "spec": {"kind": "http", "url": url}, "interval_seconds": rate.interval,
         "enabled": enabled}
        for number, url in enumerate(urls(base, rate.targets))
    ]  # fmt: skip
    url = stack.url("/api/targets?prune=true")

    def stored() -> bool:
        answer = requests.put(url, json=targets, headers=stack.authorization(), timeout=120)
        if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            return False
        answer.raise_for_status()
        return True

    until(stored, 60, f"{rate} to be stored")
