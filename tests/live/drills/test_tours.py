"""Tours of a fault: its notification, the runbook that this links to, the cause, and the runbook's own fix.

The commands are those of the runbook's Markdown, typed as they are there. A tour passes when the alert has resolved.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import runbooks
from tests.live import faults, pipeline
from tests.live.alerts import AlertKey, firing, require_complete
from tests.live.documents import typed
from tests.live.host_receiver import HostReceiver
from tests.live.stack import Stack, until

Record = Callable[[str], None]
Fault = Callable[[Stack], AbstractContextManager[object]]

FIRING_SECONDS, RESOLVED_SECONDS = 180.0, 420.0
"""The longest waits for a notification: a rate over a minute, and one over five minutes."""
FIRES_AGAIN_SECONDS = 15.0
"""An alert that resolved because its container was replaced, not because of the fix, fires again within this time."""


@dataclass(frozen=True)
class Tour:
    """A way from an alert to its fix.

    Attributes:
        key: The alert and its service.
        fault: Makes the fault; on exit it makes sure that the fault is gone, in case the runbook's fix is not reached.
        cause: A pattern of the cause in the output of the commands under Diagnosis.
        fix: The command under Mitigation that fixes the fault; empty if it has none, and the fault yields its fix.
        via: Further runbooks, each linked under Mitigation of the one before; the last one has the fix.
    """

    key: AlertKey
    fault: Fault
    cause: str
    fix: str
    via: tuple[str, ...] = ()

    def runbook(self) -> str:
        """The runbook of the alert, which has or leads to the fix."""
        texts = runbooks.texts()
        mitigation = runbooks.section(texts[self.key[0]], "Mitigation")
        for linked in self.via:
            assert f"({linked}.md)" in mitigation, f"{linked} is not linked in: {mitigation}"
            mitigation = runbooks.section(texts[linked], "Mitigation")
        typed = list(runbooks.typed(mitigation))
        assert not self.fix or self.fix in typed, f"{self.fix} is not among {typed}"
        return texts[self.key[0]]


@contextmanager
def monitored_target_fails(stack: Stack) -> Iterator[Callable[[], None]]:
    """A target answers 500; yields the fix."""
    with pipeline.target_server(stack) as server:
        target = pipeline.add_target(stack, server.url, name="Shop")
        try:
            until(lambda: pipeline.state(stack, target) == "up", 30, "the target to be up")
            server.status = 500
            yield lambda: setattr(server, "status", 200)
        finally:
            pipeline.delete_targets(stack, target)


@contextmanager
def requests_fail(stack: Stack) -> Iterator[None]:
    """Clients request probes while the queue is down."""
    with faults.probe_requests(stack), faults.stopped(stack, "rabbitmq"):
        yield


def stopped(service: str) -> Fault:
    """A fault: the service is stopped."""
    return lambda stack: faults.stopped(stack, service)


def is_exited(service: str) -> str:
    """The pattern of a service that is not running, in `invoke status` or `docker compose ps`."""
    return rf"(?mi)^.*\b{service}\b.*\bexited\b"


def down(alert: str, service: str) -> Tour:
    """The tour of a service that was killed."""
    return Tour(
        (alert, service),
        partial(faults.killed, service=service),
        is_exited(service),
        f"docker compose up -d {service}",
    )


TOURS = (
    down("PostgresDown", "db"),
    down("RedisDown", "redis"),
    down("KafkaDown", "kafka"),
    down("RabbitMQDown", "rabbitmq"),
    Tour(
        ("TargetDown", "otel-collector"),
        partial(faults.killed, service="otel-collector"),
        is_exited("otel-collector"),
        "docker compose up -d NAME",
    ),
    Tour(
        ("TargetAbsent", "worker"),
        stopped("worker"),
        is_exited("worker"),
        "docker compose up -d app worker",
    ),
    Tour(
        ("EndpointDown", "app"),
        stopped("app"),
        is_exited("app"),
        "docker compose up -d NAME",
    ),
    Tour(
        ("ContainerStopped", "victorialogs"),
        stopped("victorialogs"),
        is_exited("victorialogs"),
        "docker compose up -d NAME",
    ),
    Tour(
        ("RabbitMQQueueWithoutConsumers", "rabbitmq"),
        stopped("worker"),
        is_exited("worker"),
        "docker compose up -d worker",
    ),
    Tour(
        ("RabbitMQDeadLetters", "rabbitmq"),
        faults.poison_message,
        "malformed",
        "docker compose exec rabbitmq rabbitmqctl purge_queue probes.dead",
    ),
    Tour(
        ("MonitoredTargetDown", "targets"),
        monitored_target_fails,
        r"Shop\s*\|\s*down\b.*500",
        "",
    ),
    Tour(
        ("DependencyDown", "app"),
        partial(faults.wrong_password, service="app", variable="RABBITMQ_APP_PASSWORD"),
        r"ACCESS_REFUSED",
        "docker compose up -d --force-recreate app worker",
    ),
    # The last one: failed requests burn the error budget, which fires an alert for an hour.
    Tour(
        ("ApiErrorBurst", "app"),
        requests_fail,
        is_exited("rabbitmq"),
        "docker compose up -d rabbitmq",
        via=("DependencyDown", "RabbitMQDown"),
    ),
)  # fmt: skip


@dataclass
class Guide:
    """A stack, the receiver of its notifications, and the notifications of this tour."""

    stack: Stack
    receiver: HostReceiver
    alerts: list[dict[str, Any]] = field(default_factory=list)

    def wait(self, key: AlertKey, status: str, within: float) -> dict[str, Any]:
        """Wait for a notification of this tour."""

        def first() -> dict[str, Any] | None:
            self.alerts += self.receiver.take_alerts()
            found = (each for each in self.alerts if each["status"] == status)
            return next(
                (each for each in found if (each["labels"]["alertname"], each["labels"]["service"]) == key), None
            )

        return until(first, within, f"the notification that {key} is {status}")

    def type(self, line: str, name: str) -> tuple[int, str]:
        """Type a command of a runbook; its exit code and output."""
        done = self.stack.run("bash", "-c", typed(self.stack, re.sub(r"\bNAME\b", name, line)), check=False)
        return done.returncode, f"{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, receiver: HostReceiver) -> Iterator[Stack]:
    """A stack that sends its notifications to the receiver."""
    with receiver.stack(tmp_path_factory.mktemp("tours") / "checkout", "netmon-tours") as stack:
        yield stack


@pytest.mark.parametrize("tour", TOURS, ids=lambda tour: tour.key[0])
def test_the_runbook_leads_to_the_fix(stack: Stack, receiver: HostReceiver, record: Record, tour: Tour) -> None:
    name = tour.key[1]
    if tour.key[1] == "victorialogs" and stack.store("logs") != "victorialogs":
        pytest.skip(f"the logs are in {stack.store('logs')}, whose alert is TargetDown")
    until(lambda: tour.key not in firing(stack), RESOLVED_SECONDS, f"{tour.key} of an earlier tour to resolve")
    receiver.take()
    guide = Guide(stack, receiver)
    began = time.monotonic()
    with tour.fault(stack) as repair:
        alert = guide.wait(tour.key, "firing", FIRING_SECONDS)
        fired = time.monotonic()
        require_complete(alert["labels"], alert["annotations"])
        assert Path(alert["annotations"]["runbook_url"]).name == f"{tour.key[0]}.md"
        commands = runbooks.typed(runbooks.section(tour.runbook(), "Diagnosis"))
        looks = [line for line in commands if runbooks.only_looks(line)]
        outputs = [guide.type(line, name)[1] for line in dict.fromkeys(looks)]
        assert re.search(tour.cause, "\n".join(outputs)), (looks, outputs)

        if tour.fix:
            code, output = guide.type(tour.fix, name)
            assert code == 0, output
        else:
            assert callable(repair)
            repair()
        fixed = time.monotonic()
        guide.wait(tour.key, "resolved", RESOLVED_SECONDS)
        resolved = time.monotonic()
        time.sleep(FIRES_AGAIN_SECONDS)
        assert tour.key not in firing(stack)
    record(
        f"notified after {fired - began:.1f} s; cause found with {len(outputs)} commands; "
        f"resolved {resolved - fixed:.1f} s after the fix"
    )
