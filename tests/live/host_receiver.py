"""A webhook receiver in the process of the test, which outlives the stack and its networks."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.live.alerts import AlertKey, ReceivedAlert
from tests.live.stack import Stack

HOST = "172.17.0.1"
"""This host in the engine's default network, which outlives the networks of the stack."""


@dataclass
class HostReceiver:
    """Receives notifications of Alertmanager's channels ``webhook`` and ``deadmansswitch``."""

    WEBHOOK, SWITCH = "/webhook", "/switch"

    port: int
    notifications: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[HostReceiver]:
        """Receive until the end of the block."""

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                running.notifications.append({**body, "arrived": time.time(), "path": self.path})
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

    @contextmanager
    def stack(self, root: Path, name: str) -> Iterator[Stack]:
        """A development stack that has just started for the first time and sends its notifications here."""
        stack = Stack.create(root, name, ALERT_RECEIVERS="webhook")
        try:
            stack.invoke("setup", "--profile=dev")
            self.connect(stack)
            stack.invoke("up", timeout=900)
            yield stack
        finally:
            stack.destroy()

    def connect(self, stack: Stack) -> None:
        """Make this the receiver of a stack that is set up and does not run."""
        for name, path in (("webhook_url", self.WEBHOOK), ("deadmansswitch_url", self.SWITCH)):
            file = stack.root / "secrets" / "alertmanager" / name
            file.write_text(f"http://{HOST}:{self.port}{path}\n")
            file.chmod(0o644)

    def received(self, since: float = 0, path: str = WEBHOOK) -> list[ReceivedAlert]:
        """The alerts that arrived on a channel after a Unix time, oldest first."""
        return [
            ReceivedAlert(each["arrived"], each["path"], alert["status"], alert["labels"], alert["annotations"])
            for each in list(self.notifications)
            if each["path"] == path and each["arrived"] >= since
            for alert in each["alerts"]
        ]

    def active(self) -> set[AlertKey]:
        """The alerts that have fired and were not resolved, or fire still for other labels."""
        latest = {(each.key, tuple(sorted(each.labels.items()))): each.status for each in self.received()}
        return {key for (key, _), status in latest.items() if status == "firing"}

    def take(self) -> list[dict[str, Any]]:
        """The notifications since the last call, oldest first."""
        taken, self.notifications = self.notifications, []
        return taken

    def take_alerts(self) -> list[dict[str, Any]]:
        """The alerts of the notifications since the last call."""
        return [alert for each in self.take() for alert in each["alerts"]]
