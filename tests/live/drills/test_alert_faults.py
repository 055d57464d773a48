"""Real faults, and the firing and resolved alerts that a receiver gets.

Times in the table are from the start of the command that injects or repairs the fault to the notification: the
command's own duration is included.
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
from tests.live.alerts import (
    WATCHDOG,
    AlertKey,
    AlertReceiver,
    fired_recently,
    require_complete,
    unexpected,
    wait_until_quiet,
)
from tests.live.stack import Stack

Record = Callable[[str], None]

AVAILABILITY = re.compile(r"(?!Dependency).+(Down|Absent)")
"""Alerts that are evaluated every second: on an idle machine they arrive within 10 s, as the table shows."""
AVAILABILITY_TIMEOUT = 30.0
TIMEOUT = 180.0
"""Seconds within which other alerts must arrive: a range of a minute, a minute of `for`, intervals."""
RESOLVED_TIMEOUT = 420.0
"""Seconds within which a resolved alert must arrive: rates have ranges of five minutes."""

# A small volume for Redis, which is filled quickly.
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
    """A healthy stack, its alert receiver, and the table."""

    stack: Stack
    receiver: AlertReceiver
    record: Record

    def __call__(self, fault: AbstractContextManager[object], *expected: AlertKey) -> None:
        """Inject a fault and repair it; every expected alert must arrive in time, firing and resolved."""
        wait_until_quiet(self.stack)
        began = time.time()
        with fault:
            fired = [self.receiver.wait(key, "firing", began, limit(key)) for key in expected]
            repaired = time.time()
        for alert in fired:
            require_complete(alert.labels, alert.annotations)
            assert alert.at - began <= limit(alert.key), f"{alert.key} took {alert.at - began:.1f} s"
        for alert in fired:
            resolved = self.receiver.wait(alert.key, "resolved", repaired, RESOLVED_TIMEOUT)
            times = f"firing after {alert.at - began:5.1f} s, resolved after {resolved.at - repaired:5.1f} s"
            self.record(f"{' '.join(alert.key):<45} {times}")


def limit(key: AlertKey) -> float:
    """Seconds within which an alert must arrive."""
    return AVAILABILITY_TIMEOUT if AVAILABILITY.fullmatch(key[0]) else TIMEOUT


@pytest.fixture(scope="module")
def stack_with_receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, AlertReceiver]]:
    """A stack of this module's own with an alert receiver."""
    root = tmp_path_factory.mktemp("alerts") / "checkout"
    stack = Stack.create(root, "netmon-alerts", ALERT_RECEIVERS=AlertReceiver.CHANNELS)
    (root / "docker-compose.override.yml").write_text(SMALL_VOLUME)
    try:
        # The receiver before monitoring, so that no notification is lost at the start.
        stack.invoke("up", "--profile=dev", "--without=monitoring", "--no-smoke", timeout=900)
        with AlertReceiver.running(stack) as receiver:
            stack.invoke("up", "--with=monitoring", "--no-smoke", timeout=900)
            yield stack, receiver
    finally:
        stack.destroy()


@pytest.fixture
def stack(stack_with_receiver: tuple[Stack, AlertReceiver]) -> Stack:
    """The stack of this module, instead of the shared one."""
    return stack_with_receiver[0]


@pytest.fixture
def drill(stack_with_receiver: tuple[Stack, AlertReceiver], record: Record) -> Drill:
    """The stack with its receiver and the table."""
    return Drill(*stack_with_receiver, record)


def test_no_alert_fires_while_monitoring_starts(drill: Drill) -> None:
    """Monitoring was enabled beside healthy services."""
    wait_until_quiet(drill.stack)
    assert unexpected(alert.key for alert in drill.receiver.received()) == []


def test_no_alert_fires_under_load(drill: Drill) -> None:
    """Only the dead man's switch is notified."""
    wait_until_quiet(drill.stack)
    began = time.time()
    drill.stack.invoke("demo", "--seconds=75", timeout=150)
    assert unexpected(fired_recently(drill.stack, time.time() - began)) == []
    assert unexpected(alert.key for alert in drill.receiver.received(began)) == []
    watchdog = [each for each in drill.receiver.received(began, AlertReceiver.SWITCH) if each.key[0] == WATCHDOG]
    assert watchdog
    drill.record(f"only {WATCHDOG} fired; its receiver was notified {len(watchdog)} times in 75 s")


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
    """The application is a receiver too: its failed notifications are an alert at the other receiver."""
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


def test_log_store_rejects_requests(drill: Drill, stack: Stack) -> None:
    """The collector has a wrong path: the log store returns 404."""
    file, address = {
        "loki": ("collector.yml", "loki:3100/otlp"),
        "victorialogs": ("local.yml", "victorialogs:9428/insert/opentelemetry"),
    }[stack.store("logs")]
    path = stack.root / "monitoring" / "otel-collector" / file
    fault = faults.edited(path, address, f"{address}/nowhere", lambda: stack.compose("restart", "otel-collector"))
    drill(fault, ("CollectorSendFailed", "otel-collector"))


def test_errors_logged(drill: Drill, stack: Stack) -> None:
    if stack.store("logs") != "loki":
        pytest.skip(f"Loki evaluates the alert, but the logs are in {stack.store('logs')}")
    drill(faults.errors_logged(stack, "worker"), ("LogErrorBurst", "worker"))


def test_invalid_rules(drill: Drill, stack: Stack) -> None:
    path = stack.root / "monitoring/prometheus/rules/redis.yml"
    fault = faults.edited(path, "redis_up == 0", "redis_up === 0", lambda: send_hangup(stack, "prometheus"))
    drill(fault, ("PrometheusConfigReloadFailed", "prometheus"))


def test_invalid_template(drill: Drill, stack: Stack) -> None:
    path = stack.root / "monitoring/alertmanager/templates/netmon.tmpl"
    fault = faults.edited(path, "{{ end }}", "{{ finish }}", lambda: send_hangup(stack, "alertmanager"))
    drill(fault, ("AlertmanagerConfigReloadFailed", "alertmanager"))


def send_hangup(stack: Stack, service: str) -> None:
    """Make a service reload its configuration without the validation of `invoke reload`."""
    stack.compose("kill", "--signal", "HUP", service)


def test_queue_broker_lacks_memory(drill: Drill, stack: Stack) -> None:
    drill(faults.memory_alarm(stack), ("RabbitMQMemoryAlarm", "rabbitmq"))


def test_volume_full(drill: Drill, stack: Stack) -> None:
    drill(faults.full_volume(stack), ("RedisPersistenceFailing", "redis"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk requires root")
def test_disk_of_the_host_full(drill: Drill, stack: Stack) -> None:
    with faults.small_disk(stack) as disk:
        drill(faults.full_disk(disk), ("HostDiskFull", "host"))


def test_connections_leaked(drill: Drill, stack: Stack) -> None:
    drill(faults.connections_leaked(stack), ("PostgresConnectionsHigh", "db"))


def test_cache_pauses_writes(drill: Drill, stack: Stack) -> None:
    drill(faults.writes_paused(stack), ("ConsumerLagging", "worker"))


@pytest.mark.parametrize(
    ("service", "alert"), [("grafana", ("GrafanaDown", "grafana")), ("tempo", ("TargetDown", "tempo")),
                           ("jaeger", ("TargetDown", "jaeger")), ("kafka-exporter", ("TargetDown", "kafka-exporter"))],
)  # fmt: skip
def test_killed_where_present(drill: Drill, stack: Stack, service: str, alert: tuple[str, str]) -> None:
    if service not in stack.configured():
        pytest.skip(f"{service} is disabled or not in the {stack.images} images")
    drill(faults.killed(stack, service), alert)


def test_faults_with_a_range_of_minutes(drill: Drill, stack: Stack) -> None:
    """These faults end immediately and their alerts fire for five minutes: they are concurrent to wait only once."""
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


def test_main_process_is_oom_killed(drill: Drill, stack: Stack) -> None:
    """Its cgroup, which counts OOM kills, is gone with it."""
    drill(faults.main_process_out_of_memory(stack, "worker"), ("ContainerOomKilled", "worker"))


def test_queue_broker_has_a_changed_password(drill: Drill, stack: Stack) -> None:
    """The last drill: failed requests burn the error budget, which fires an alert for an hour."""
    drill(
        faults.together(faults.probe_requests(stack), faults.password_changed(stack)),
        ("DependencyDown", "app"),
        ("DependencyDown", "worker"),
        ("JobPublishFailures", "app"),
        ("ApiErrorBurst", "app"),
    )
