"""Every fault is real, every alert is one that a receiver was told of, and told again when it was over.

The table's times are from the command that makes the fault to the receiver, and from the command that mends it to the
receiver: what the command itself takes is counted.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from tests.live import faults
from tests.live.alerts import ALWAYS, Catcher, fired_lately, noise, quiet, require_complete
from tests.live.stack import Stack

Record = Callable[[str], None]

AVAILABILITY = re.compile(r"(?!Dependency).+(Down|Absent)")
"""Alerts that are evaluated every second: told within 10 s, as the table shows on a machine that is not busy."""
SOON = 30.0
LATER = 180.0
"""Seconds until other alerts must have been told: a window of a minute, a minute of `for`, intervals."""
OVER = 420.0
"""Seconds until the end of an alert must have been told: rates look five minutes back."""

# Redis keeps its data on a volume that can be filled in a moment.
SMALL_VOLUME = """\
volumes:
  redis_data:
    driver_opts:
      type: tmpfs
      device: tmpfs
      o: size=24m,uid=999,gid=1000
"""


@dataclass(frozen=True)
class Drill:
    """A stack with nothing wrong, what its receiver was told, and the table."""

    stack: Stack
    catcher: Catcher
    record: Record

    def __call__(self, fault: AbstractContextManager[object], *expected: tuple[str, str]) -> None:
        """Make a fault and mend it; every alert (name, service) is told in time, and so is its end."""
        quiet(self.stack)
        began = time.time()
        with fault:
            fired = [self.catcher.wait(about, "firing", began, limit(about)) for about in expected]
            mended = time.time()
        for told in fired:
            require_complete(told.labels, told.annotations)
            assert told.at - began <= limit(told.about), f"{told.about} took {told.at - began:.1f} s"
        for told in fired:
            over = self.catcher.wait(told.about, "resolved", mended, OVER)
            times = f"told after {told.at - began:5.1f} s, its end after {over.at - mended:5.1f} s"
            self.record(f"{' '.join(told.about):<45} {times}")


def limit(about: tuple[str, str]) -> float:
    """Seconds within which the receiver must be told of an alert."""
    return SOON if AVAILABILITY.fullmatch(about[0]) else LATER


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Catcher]]:
    """A stack of this module's own, and its receiver."""
    root = tmp_path_factory.mktemp("alerts") / "checkout"
    stack = Stack.create(root, "netmon-alerts", ALERT_RECEIVERS=Catcher.CHANNELS)
    (root / "docker-compose.override.yml").write_text(SMALL_VOLUME)
    try:
        # First what the receiver needs, then what notifies it: no notification is lost at the start.
        stack.invoke("up", "--profile=dev", "--without=monitoring", "--no-smoke", timeout=900)
        with Catcher.running(stack) as catcher:
            stack.invoke("up", "--with=monitoring", "--no-smoke", timeout=900)
            yield stack, catcher
    finally:
        stack.destroy()


@pytest.fixture
def stack(watched: tuple[Stack, Catcher]) -> Stack:
    """The stack, in the place of the one that other live tests share."""
    return watched[0]


@pytest.fixture
def drill(watched: tuple[Stack, Catcher], record: Record) -> Drill:
    """The stack with its receiver and the table."""
    return Drill(*watched, record)


def test_monitoring_comes_up_without_an_alarm(drill: Drill) -> None:
    """It was switched on beside services that were well."""
    quiet(drill.stack)
    assert noise(told.about for told in drill.catcher.told()) == []


def test_nothing_is_wrong_under_load(drill: Drill) -> None:
    """A false alarm is a defect. And the dead man's switch is held down."""
    quiet(drill.stack)
    began = time.time()
    drill.stack.invoke("demo", "--seconds=75", timeout=150)
    assert noise(fired_lately(drill.stack, time.time() - began)) == []
    assert noise(told.about for told in drill.catcher.told(began)) == []
    held = [told for told in drill.catcher.told(began, Catcher.SWITCH) if told.about[0] == ALWAYS]
    assert held
    drill.record(f"nothing but {ALWAYS} fired; its receiver was called {len(held)} times in 75 s")


def test_database_killed(drill: Drill, stack: Stack) -> None:
    drill(faults.killed(stack, "db"), ("PostgresDown", "db"))


def test_cache_killed(drill: Drill, stack: Stack) -> None:
    drill(faults.killed(stack, "redis"), ("RedisDown", "redis"))


def test_event_broker_killed(drill: Drill, stack: Stack) -> None:
    drill(faults.killed(stack, "kafka"), ("KafkaDown", "kafka"))


def test_queue_broker_stopped(drill: Drill, stack: Stack) -> None:
    drill(faults.stopped(stack, "rabbitmq"), ("RabbitMQDown", "rabbitmq"))


def test_exporter_has_a_wrong_password(drill: Drill, stack: Stack) -> None:
    drill(faults.wrong_password(stack, "postgres-exporter", "POSTGRES_MONITORING_PASSWORD"), ("PostgresDown", "db"))


def test_consumers_stopped(drill: Drill, stack: Stack) -> None:
    drill(faults.stopped(stack, "worker"), ("TargetAbsent", "worker"), ("RabbitMQQueueWithoutConsumers", "rabbitmq"))


def test_application_stopped(drill: Drill, stack: Stack) -> None:
    """It is a receiver as well: that it cannot be told is told to the other one."""
    drill(
        faults.stopped(stack, "app"),
        ("TargetAbsent", "app"),
        ("EndpointDown", "app"),
        ("AlertmanagerNotificationsFailing", "alertmanager"),
    )


def test_application_hangs(drill: Drill, stack: Stack) -> None:
    drill(faults.frozen(stack.container("app")), ("TargetDown", "app"), ("EndpointDown", "app"))


def test_collector_killed(drill: Drill, stack: Stack) -> None:
    drill(faults.killed(stack, "otel-collector"), ("TargetDown", "otel-collector"))


def test_log_store_stopped(drill: Drill, stack: Stack) -> None:
    store = stack.store("logs")
    alert = "TargetDown" if store == "loki" else "ContainerStopped"
    drill(faults.stopped(stack, store), (alert, store))


def test_log_store_refuses_what_it_is_sent(drill: Drill, stack: Stack) -> None:
    """The collector's address of it is wrong: it answers that there is no such page."""
    file, address = {
        "loki": ("collector.yml", "loki:3100/otlp"),
        "victorialogs": ("local.yml", "victorialogs:9428/insert/opentelemetry"),
    }[stack.store("logs")]
    path = stack.root / "monitoring" / "otel-collector" / file
    fault = faults.edited(path, address, f"{address}/nowhere", lambda: stack.compose("restart", "otel-collector"))
    drill(fault, ("CollectorSendFailed", "otel-collector"))


def test_rules_that_cannot_be_read(drill: Drill, stack: Stack) -> None:
    path = stack.root / "monitoring/prometheus/rules/redis.yml"
    fault = faults.edited(path, "redis_up == 0", "redis_up === 0", lambda: hang_up(stack, "prometheus"))
    drill(fault, ("PrometheusConfigReloadFailed", "prometheus"))


def test_template_that_cannot_be_read(drill: Drill, stack: Stack) -> None:
    path = stack.root / "monitoring/alertmanager/templates/netmon.tmpl"
    fault = faults.edited(path, "{{ end }}", "{{ finish }}", lambda: hang_up(stack, "alertmanager"))
    drill(fault, ("AlertmanagerConfigReloadFailed", "alertmanager"))


def hang_up(stack: Stack, service: str) -> None:
    """Have a service read its configuration again, as somebody would who does not use `invoke reload`."""
    stack.compose("kill", "--signal", "HUP", service)


def test_queue_broker_lacks_memory(drill: Drill, stack: Stack) -> None:
    drill(faults.memory_alarm(stack), ("RabbitMQMemoryAlarm", "rabbitmq"))


def test_volume_full(drill: Drill, stack: Stack) -> None:
    drill(faults.full_volume(stack), ("RedisPersistenceFailing", "redis"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a disk")
def test_disk_of_the_host_full(drill: Drill, stack: Stack) -> None:
    with faults.small_disk(stack) as disk:
        drill(faults.full_disk(disk), ("HostDiskFull", "host"))


def test_connections_leaked(drill: Drill, stack: Stack) -> None:
    drill(faults.connections_leaked(stack), ("PostgresConnectionsHigh", "db"))


def test_cache_takes_no_writes(drill: Drill, stack: Stack) -> None:
    drill(faults.writes_paused(stack), ("ConsumerLagging", "worker"))


@pytest.mark.parametrize(
    ("service", "alert"), [("grafana", ("GrafanaDown", "grafana")), ("tempo", ("TargetDown", "tempo")),
                           ("jaeger", ("TargetDown", "jaeger")), ("kafka-exporter", ("TargetDown", "kafka-exporter"))],
)  # fmt: skip
def test_killed_where_present(drill: Drill, stack: Stack, service: str, alert: tuple[str, str]) -> None:
    if service not in stack.configured():
        pytest.skip(f"{service} is not in the {stack.images} images, or off")
    drill(faults.killed(stack, service), alert)


def test_what_is_remembered_for_minutes(drill: Drill, stack: Stack) -> None:
    """Each of these is over at once and told for five minutes: they are made together, so that it is waited once."""
    drill(
        faults.together(
            faults.poison_message(stack),
            faults.out_of_memory(stack, "app"),
            faults.deadlock(stack),
            faults.crashing(stack, "blackbox-exporter"),
        ),
        ("RabbitMQDeadLetters", "rabbitmq"),
        ("JobsRejected", "worker"),
        ("ContainerOomKilled", "app"),
        ("PostgresDeadlocks", "db"),
        ("ContainerRestarting", "blackbox-exporter"),
    )


def test_queue_broker_has_another_password(drill: Drill, stack: Stack) -> None:
    """The last one: the budget of errors that the refused requests burn is an alert for an hour."""
    drill(
        faults.together(faults.visited(stack), faults.password_changed(stack)),
        ("DependencyDown", "app"),
        ("DependencyDown", "worker"),
        ("JobPublishFailures", "app"),
        ("ApiErrorBurst", "app"),
    )
