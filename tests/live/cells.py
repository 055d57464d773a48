"""A cell of the fault table: a fault under load, what it has lost, its end, and the alert that reported it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from tests.live import ledger, service_faults
from tests.live.alerts import WATCHDOG, AlertKey
from tests.live.disks import Disk
from tests.live.fault_table import SWITCH, Expected, expected
from tests.live.host_receiver import HostReceiver
from tests.live.ledger import RATE, Entrance, Losses, Offsets
from tests.live.stack import Stack, until
from tests.live.torn_records import TEARS
from toolkit.engine.stores import STORES

ALERT_TIMEOUT = 90.0
"""Seconds from the start of a fault to its alert; the figures of availability are in the table of alerts."""
SWITCH_SECONDS = 75.0
"""Without a call of the dead man's switch, which gets one a minute."""
ON_THE_HOST = "host"
VOLUMES = {each.service: each.volume for each in STORES}


@dataclass
class Outcome:
    """What was measured in a cell.

    Attributes:
        requests: Requests of the clients, refused ones included.
        refused: Those that got another answer than 202, or none, by that status or error.
        accepted: Acknowledged probes.
        lost: What is missing of them.
        miscounted: Results that the rollups count twice, or, below 0, not at all.
        recovered: Seconds after the end of the fault, or its start if it has no duration; None without recovery.
        alert: The alert that reported it, with its seconds after the start of the fault.
        others: Alerts on the service, where none is expected.
    """

    requests: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    accepted: int = 0
    lost: Losses = field(default_factory=lambda: Losses(frozenset(), frozenset()))
    miscounted: int = 0
    recovered: float | None = None
    alert: tuple[AlertKey, float] | None = None
    others: tuple[str, ...] = ()

    def encode(self) -> str:
        """The outcome as a line of JSON."""
        lost = [sorted(self.lost.results), sorted(self.lost.events)]
        return json.dumps({**asdict(self), "lost": lost})

    @classmethod
    def decode(cls, line: str) -> Outcome:
        """The outcome of a line that another process has encoded."""
        data = json.loads(line)
        return cls(**{**data, "lost": Losses(*map(frozenset, data["lost"])), "others": tuple(data["others"])})

    def measurements(self, want: Expected) -> list[str]:
        """The outcome as a drill records it: names and values."""
        alert = "none expected"
        if want.alert:
            alert = f"{' '.join(self.alert[0]).strip()} after {self.alert[1]:.0f} s" if self.alert else "none"
        elif self.others:
            alert = f"none expected; {', '.join(self.others)}"
        reasons = ", ".join(f"{name} {count}" for name, count in self.refused.items())
        recovery = "no" if self.recovered is None else f"yes, after {self.recovered:.0f} s"
        return [
            f"refused: {sum(self.refused.values())} of {self.requests}{reasons and f' ({reasons})'}",
            f"lost: {self.lost.count} of {self.accepted}",
            f"recovery: {recovery}",
            f"alert: {alert}",
        ]

    def problems(self, want: Expected) -> list[str]:
        """How the outcome differs from what is want."""
        found = []
        if not self.accepted:
            found.append("no request was accepted, so the cell proves nothing")
        if self.lost.count > want.lost:
            found.append(f"{self.lost.count} acknowledged writes lost, at most {want.lost} expected: {self.lost}")
        if self.miscounted:
            found.append(f"the rollups count {self.miscounted} results too many")
        if self.recovered is None or self.recovered > want.recovery:
            found.append(f"no recovery by itself within {want.recovery:g} s")
        if want.alert and (self.alert is None or self.alert[0] != want.alert):
            found.append(f"{' '.join(want.alert)} did not arrive, but {self.alert}")
        return found


@dataclass
class Bench:
    """A running stack with its clients, the receiver of its alerts, and the disks of its stores by service, if any."""

    stack: Stack
    entrance: Entrance
    targets: Sequence[str]
    """Of the requested probes; those of the first are followed on their whole way, and no others."""
    receiver: HostReceiver | None = None
    disks: Mapping[str, Disk] = field(default_factory=dict)
    rate: float = RATE
    """Requests a second."""
    margin: float = 2
    """Seconds of load before a fault, and after the recovery."""
    offsets: Offsets = field(default_factory=dict)
    """Of the topic of results, when the last cell ended."""

    def service(self, row: str) -> str:
        """The service of a row."""
        return self.stack.store({"log store": "logs", "trace store": "traces"}[row]) if " " in row else row

    def wanted(self, row: str, fault: str) -> Expected:
        """What is expected in a cell of this stack."""
        want, service = expected(row, fault), self.service(row)
        assert isinstance(want, Expected), want
        return replace(want, alert=(want.alert[0], service)) if want.alert and want.alert[1] == row else want

    def run(self, row: str, fault: str) -> tuple[Expected, Outcome]:
        """Run a cell; the stack is left recovered, by itself or not."""
        service, want = self.service(row), self.wanted(row, fault)
        with self.prepared(service, fault) as injection:
            outcome = self.measure(injection, want, service)
        if outcome.recovered is None:
            self.stack.invoke("up", "--no-smoke", check=False)
        return want, outcome

    @contextlib.contextmanager
    def prepared(self, service: str, fault: str) -> Iterator[AbstractContextManager[object]]:
        """The injection of a fault, which ends with its block; what is needed before and after it is not measured."""
        if fault == "clock":
            with service_faults.settable_clock(self.stack, service) as offset:
                yield service_faults.clock_stepped(self.stack, service, offset)
        elif fault == "disk full":
            yield filled(self.disks[service])
        elif fault == "torn record":
            yield torn(self.stack, service, self.disks[service].path / VOLUMES[service])
        else:
            yield INJECTIONS[fault](self.stack, service)

    def measure(self, fault: AbstractContextManager[object], want: Expected, service: str) -> Outcome:
        """Inject a fault under load, and wait until everything works again and every acknowledged write is found."""
        self.require_health()
        self.wait_for_quiet(want.alert)
        self.offsets = self.offsets or ledger.published(self.stack)[1]
        outcome = Outcome()
        miscounted = ledger.miscounted(self.stack)
        with self.entrance.writing(self.targets[1:], self.rate) as written:
            time.sleep(self.margin)
            began = time.time()
            with fault:
                time.sleep(max(began + want.seconds - time.time(), 0))
            since = time.time() if want.seconds else began
            outcome.recovered = self.recovery(since, want.recovery)
            time.sleep(self.margin)
        outcome.requests, outcome.accepted = written.requests, len(written.accepted)
        outcome.refused = dict(written.refused)
        outcome.lost, self.offsets = ledger.settle(self.stack, written, self.offsets)
        outcome.miscounted = ledger.miscounted(self.stack) - miscounted
        outcome.alert, outcome.others = self.alerts(want, began, service)
        return outcome

    def recovery(self, since: float, within: float) -> float | None:
        """Seconds from a Unix time until every service is healthy and a new probe passes all of them, or None."""
        while not self.recovered():
            if time.time() > since + within:
                return None
            time.sleep(0.5)
        return time.time() - since

    def recovered(self) -> bool:
        """Whether every service is healthy, every scrape succeeds, and a new probe passes all services."""
        return not self.stack.unhealthy() and self.scraped() and self.entrance.walk(self.targets[0])

    def require_health(self) -> None:
        """Wait until everything works."""
        until(self.recovered, 300, "recovery")

    def scraped(self) -> bool:
        """Whether Prometheus, if there is one, reaches every target and every endpoint."""
        if "prometheus" not in self.stack.services():
            return True
        query = "http://127.0.0.1:9090/api/v1/query?query=count(up==0+or+probe_success==0)+or+vector(0)"
        wget = ("wget", "-Y", "off", "-q", "-T", "2", "-O", "-", query)
        return '"0"]' in self.stack.exec("prometheus", *wget, check=False)

    def wait_for_quiet(self, alert: AlertKey | None, within: float = 330) -> None:
        """Wait until an alert of an earlier cell is resolved, since it would not be sent again."""
        receiver = self.receiver
        if receiver and alert:
            until(lambda: alert not in receiver.active(), within, f"{alert} to be resolved")

    def alerts(
        self, want: Expected, began: float, service: str
    ) -> tuple[tuple[AlertKey, float] | None, tuple[str, ...]]:
        """The expected alert, or the alerts on the service that arrived since ``began`` although none is want."""
        receiver = self.receiver
        if receiver is None:
            return None, ()
        if want.alert == SWITCH:
            silence = self.silence(receiver, began)
            return ((SWITCH, silence) if silence >= SWITCH_SECONDS else None), ()

        def fired() -> dict[AlertKey, float]:
            arrived = [each for each in receiver.received(began) if each.status == "firing"]
            return {each.key: each.at - began for each in reversed(arrived) if each.key[1] != ON_THE_HOST
                    or each.key == want.alert}  # fmt: skip

        if want.alert is None:
            return None, tuple(f"{key[0]} after {at:.0f} s" for key, at in fired().items() if key[1] == service)
        with contextlib.suppress(AssertionError):
            until(lambda: want.alert in fired(), max(began + ALERT_TIMEOUT - time.time(), 1), "the alert")
        found = fired()
        if want.alert in found:
            return (want.alert, found[want.alert]), ()
        return next(iter(sorted(found.items(), key=lambda each: each[1])), None), ()

    @staticmethod
    def silence(receiver: HostReceiver, began: float) -> float:
        """The longest time without a call of the dead man's switch that ends after ``began``."""
        calls = [each.at for each in receiver.received(0, receiver.SWITCH) if each.key[0] == WATCHDOG]
        times = [each for each in (*calls, time.time()) if each >= began]
        before = [each for each in calls if each < began][-1:] or [began]
        moments = [*before, *times]
        return max(later - earlier for earlier, later in pairwise(moments))


@contextlib.contextmanager
def filled(disk: Disk) -> Iterator[None]:
    """Leave no free byte on a disk; a service that deletes files gets no space by it at first."""
    try:
        disk.fill()
        yield
    finally:
        disk.empty()


@contextlib.contextmanager
def torn(stack: Stack, service: str, volume: Path) -> Iterator[None]:
    """Kill a service, tear the last record of its log, and start it."""
    stack.control("kill", service)
    try:
        TEARS[service](stack, volume)
    finally:
        stack.control("start", service)
    yield


INJECTIONS: Mapping[str, Callable[[Stack, str], AbstractContextManager[None]]] = {
    "kill": service_faults.killed_from_outside,
    "hang": service_faults.hanging,
    "partition": service_faults.partitioned,
    "memory": service_faults.memory_exhausted,
}
"""By the name of the fault."""
