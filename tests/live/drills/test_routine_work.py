"""Routine work, after which not a single notification arrives."""

from __future__ import annotations

import http.server
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import yaml

from tests.live.alerts import AlertKey, unexpected
from tests.live.stack import Stack

Record = Callable[[str], None]

HOST = "172.17.0.1"
"""This host in the engine's default network, which outlives the networks of the stack."""
DISPATCHED_SECONDS = 90.0
"""Alertmanager dispatches alerts from a minute after its start on."""


@dataclass
class HostReceiver:
    """A webhook receiver in this process, which outlives the stack; `arrived` has alerts and their statuses."""

    port: int
    arrived: list[tuple[AlertKey, str]] = field(default_factory=list)

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[HostReceiver]:
        """Receive until the end of the block."""

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                running.arrived += [
                    ((each["labels"]["alertname"], each["labels"]["service"]), each["status"])
                    for each in document["alerts"]
                ]
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        running = cls(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield running
        finally:
            server.shutdown()
            server.server_close()

    def false_alarms(self) -> list[str]:
        """The alerts that have arrived since the last call, without those about the host."""
        arrived, self.arrived = self.arrived, []
        keys = unexpected({key for key, _ in arrived})
        return [f"{name} of {service}" for name, service in keys]


@pytest.fixture(scope="module")
def receiver() -> Iterator[HostReceiver]:
    with HostReceiver.running() as running:
        yield running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, receiver: HostReceiver) -> Iterator[Stack]:
    """A stack that has just started for the first time, with the receiver."""
    stack = Stack.create(tmp_path_factory.mktemp("routine") / "checkout", "netmon-routine", ALERT_RECEIVERS="webhook")
    try:
        stack.invoke("setup", "--profile=dev")
        file = stack.root / "secrets" / "alertmanager" / "webhook_url"
        file.write_text(f"http://{HOST}:{receiver.port}/\n")
        file.chmod(0o644)
        stack.invoke("up", timeout=900)
        yield stack
    finally:
        stack.destroy()


def after(record: Record, receiver: HostReceiver, what: str, began: float) -> None:
    """Wait until alerts would have been dispatched; none must have arrived."""
    seconds = time.monotonic() - began
    time.sleep(DISPATCHED_SECONDS)
    alarms = receiver.false_alarms()
    record(f"{what} ({seconds:.0f} s): {len(alarms)} notifications")
    assert alarms == []


def test_receiver_gets_alerts(stack: Stack, receiver: HostReceiver, record: Record) -> None:
    """Otherwise the other drills would prove nothing."""
    time.sleep(DISPATCHED_SECONDS)
    first = receiver.false_alarms()
    stack.compose("stop", "redis-exporter")
    time.sleep(30)
    stack.compose("start", "redis-exporter")
    time.sleep(30)
    assert "TargetDown of redis-exporter" in receiver.false_alarms()
    record(f"the first start: {len(first)} notifications")
    assert first == []


@pytest.mark.parametrize("number", range(1, 11))
def test_down_and_up(stack: Stack, receiver: HostReceiver, record: Record, number: int) -> None:
    began = time.monotonic()
    stack.invoke("down")
    stack.invoke("up")
    after(record, receiver, f"down and up {number}", began)


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
    after(record, receiver, f"killed and started in the order {seed}", began)


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
    after(record, receiver, f"recreated {', '.join(services)}", began)
