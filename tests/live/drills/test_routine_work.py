"""Routine work, after which not a single notification arrives."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import yaml

from tests.live.alerts import unexpected
from tests.live.host_receiver import HostReceiver
from tests.live.stack import Stack

Record = Callable[[str], None]

TRUE = frozenset({"ApiErrorBudgetBurn", "ApiLatencyBudgetBurn"})
"""Alerts that repeated downtime does cause."""
DISPATCHED_SECONDS = 80.0
"""From the start of Alertmanager: until alerts of the start would have been sent."""
SILENCED_SECONDS = 45.0
"""From the end of `up`: until its silence has ended, and alerts would have been sent."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, receiver: HostReceiver) -> Iterator[Stack]:
    """A stack that has just started for the first time, with the receiver."""
    root = tmp_path_factory.mktemp("routine") / "checkout"
    with receiver.stack(root, "netmon-routine") as stack:
        yield stack


def false_alarms(receiver: HostReceiver) -> list[str]:
    """The alerts that have arrived since the last call, without those about the host."""
    keys = unexpected({(each["labels"]["alertname"], each["labels"]["service"]) for each in receiver.take_alerts()})
    return [f"{name} of {service}" for name, service in keys if name not in TRUE]


def after(record: Record, stack: Stack, receiver: HostReceiver, what: str, began: float) -> None:
    """Wait until alerts would have been sent; none must have arrived."""
    seconds = time.monotonic() - began
    started = datetime.fromisoformat(stack.container("alertmanager")["State"]["StartedAt"])
    age = (datetime.now(UTC) - started).total_seconds()
    time.sleep(max(SILENCED_SECONDS, DISPATCHED_SECONDS - age))
    alarms = false_alarms(receiver)
    record(f"{what} ({seconds:.0f} s): {', '.join(alarms) or 'no notification'}")
    assert alarms == []


def test_receiver_gets_alerts(stack: Stack, receiver: HostReceiver, record: Record) -> None:
    """Otherwise the other drills would prove nothing."""
    time.sleep(DISPATCHED_SECONDS)
    first = false_alarms(receiver)
    stack.compose("stop", "redis-exporter")
    time.sleep(30)
    stack.compose("start", "redis-exporter")
    time.sleep(30)
    assert "TargetDown of redis-exporter" in false_alarms(receiver)
    record(f"the first start: {', '.join(first) or 'no notification'}")
    assert first == []


@pytest.mark.parametrize("number", range(1, 11))
def test_down_and_up(stack: Stack, receiver: HostReceiver, record: Record, number: int) -> None:
    began = time.monotonic()
    stack.invoke("down")
    stack.invoke("up")
    after(record, stack, receiver, f"down and up {number}", began)


@pytest.mark.parametrize("seed", range(3))
def test_kill_and_start_in_random_order(stack: Stack, receiver: HostReceiver, record: Record, seed: int) -> None:
    """As after a reboot."""
    names = stack.containers()
    random.Random(seed).shuffle(names)  # noqa: S311 - an order, no secret
    began = time.monotonic()
    stack.docker("kill", *names)
    for name in names:
        stack.docker("start", name)
    stack.invoke("wait", "--timeout=180")
    after(record, stack, receiver, f"killed and started in the order {seed}", began)


@pytest.mark.parametrize("services", [("app", "worker"), ("redis",), ("db",), ("prometheus", "blackbox-exporter")])
def test_up_after_a_change(stack: Stack, receiver: HostReceiver, record: Record, services: tuple[str, ...]) -> None:
    """Services with another configuration are recreated while the others run."""
    override = stack.root / "docker-compose.override.yml"
    changes = {service: {"labels": {"example.changed": str(time.time())}} for service in services}
    override.write_text(yaml.safe_dump({"services": changes}))
    began = time.monotonic()
    stack.invoke("setup")
    report = stack.invoke("up").stdout
    assert "silence" in report, report
    after(record, stack, receiver, f"recreated {', '.join(services)}", began)
