"""The fault table: what is expected of each service under each fault. A new service, or a new fault, is one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.live.alerts import AlertKey

SWITCH: AlertKey = ("dead man's switch", "")
"""Not even the alert that always fires arrives, which an external service notices (docs/alerting.md)."""
DOWN = "the alert of the row"


@dataclass(frozen=True)
class Expected:
    """What is expected of a service under a fault.

    Attributes:
        alert: The alert that reports it; None if it is too short for one.
        seconds: How long the fault lasts; 0 if it is over at once.
        recovery: Within how many seconds after its end everything works by itself.
        lost: The documented bound of acknowledged writes that may be lost.
    """

    alert: AlertKey | None = None
    seconds: float = 0
    recovery: float = 120
    lost: int = 0


class Inapplicable(str):
    """Why a fault does not apply to a service, or is not injected."""

    __slots__ = ()


@dataclass(frozen=True)
class Fault:
    """A column; ``alert`` is the name of the alert of any service, or `DOWN`."""

    meaning: str
    seconds: float = 0
    alert: str = ""
    recovery: float = 120


@dataclass(frozen=True)
class Service:
    """A row: the alert that reports that the service does not respond, and the cells that differ from their column."""

    down: str
    differs: Mapping[str, Mapping[str, Any] | Inapplicable] = field(default_factory=dict)


FAULTS: Mapping[str, Fault] = {
    "kill": Fault("`kill -9` of the main process from the host"),
    "hang": Fault("SIGSTOP of every process for 30 s, in the core for 60 s", 30, DOWN),
    "partition": Fault("disconnected from every network for 30 s", 30, DOWN),
    "memory": Fault("the main process is OOM-killed at the memory limit", 0, "ContainerOomKilled"),
    "disk full": Fault("no free byte on the disk of its volume for 60 s", 60),
    "clock": Fault("the clock is set forward by an hour, and back after 20 s", 20),
    "torn record": Fault("`kill -9`, half a record at the end of the log, start"),
    "engine": Fault("the Docker Engine is stopped and started"),
    "power": Fault("everything is killed in arbitrary order, and disks lose what was not synced"),
}

HUNG_CORE = {"seconds": 60}
STALE = 330
"""Seconds: Alertmanager keeps alerts of Prometheus for four minutes, and calls the dead man's switch once a minute."""
STATELESS = {"disk full": Inapplicable("no volume"), "torn record": Inapplicable("no volume")}
MONITORING = {
    "disk full": Inapplicable("not injected"),
    "clock": Inapplicable("static binary"),
    "torn record": Inapplicable("not injected"),
    "power": Inapplicable("no such disk"),
}
PYTHON = {"clock": Inapplicable("not injected")}

SERVICES: Mapping[str, Service] = {
    "app": Service("TargetDown", {**STATELESS, "hang": HUNG_CORE, "partition": {"alert": ("EndpointDown", "app")}}),
    "worker": Service(
        "TargetDown", {**STATELESS, "hang": HUNG_CORE, "partition": {"alert": ("EndpointDown", "worker")}}
    ),
    # The exporter hangs with a database that does not answer (docs/alerts/PostgresDown.md).
    "db": Service(
        "PostgresDown",
        {
            "hang": {**HUNG_CORE, "alert": ("DependencyDown", "app")},
            "partition": {"alert": ("DependencyDown", "app")},
            "disk full": {"alert": ("HostDiskFull", "host")},
        },
    ),
    "redis": Service(
        "RedisDown",
        {
            "hang": HUNG_CORE,
            "disk full": {"alert": ("RedisPersistenceFailing", "redis")},
            # libfaketime calls malloc before it is initialised, and jemalloc asks for the time.
            "clock": Inapplicable("not injected"),
        },
    ),
    "kafka": Service("KafkaDown", {"hang": HUNG_CORE, "disk full": {"alert": ("HostDiskFull", "host")}}),
    # Sooner full than RabbitMQ looks at the free space: its node ends, and cannot start.
    "rabbitmq": Service("RabbitMQDown", {"hang": HUNG_CORE, "disk full": {"alert": ("RabbitMQDown", "rabbitmq")}}),
    "proxy": Service("EndpointDown", MONITORING),
    "prometheus": Service("", {**MONITORING, "hang": {"alert": SWITCH, "seconds": STALE}}),
    "alertmanager": Service("", {**MONITORING, "partition": {"alert": SWITCH, "seconds": 130}}),
    "otel-collector": Service("TargetDown", MONITORING),
    "log store": Service("TargetDown", MONITORING),
    "trace store": Service("TargetDown", MONITORING),
    "postgres-exporter": Service("TargetDown", {**MONITORING, **STATELESS}),
    "redis-exporter": Service("TargetDown", {**MONITORING, **STATELESS}),
    "node-exporter": Service("TargetDown", {**MONITORING, **STATELESS}),
    "container-exporter": Service("TargetDown", {**MONITORING, **STATELESS, **PYTHON}),
    "blackbox-exporter": Service("TargetDown", {**MONITORING, **STATELESS}),
}
"""The stores of logs and traces are those in use."""


def expected(service: str, fault: str) -> Expected | Inapplicable:
    """What is expected in a cell, or why it is empty."""
    column, row = FAULTS[fault], SERVICES[service]
    alert = row.down if column.alert == DOWN else column.alert
    common = Expected((alert, service) if alert else None, column.seconds, column.recovery)
    differs = row.differs.get(fault, {})
    return differs if isinstance(differs, Inapplicable) else replace(common, **differs)


def cells(*faults: str) -> Iterator[tuple[str, str]]:
    """Service and fault of the cells of some faults that are not empty."""
    for fault in faults:
        for service in SERVICES:
            if isinstance(expected(service, fault), Expected):
                yield service, fault
