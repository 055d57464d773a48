"""A webhook receiver in the process of the test, which outlives the stack and its networks."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.live.stack import Stack

HOST = "172.17.0.1"
"""This host in the engine's default network, which outlives the networks of the stack."""


@dataclass
class HostReceiver:
    """Receives notifications of Alertmanager's channel ``webhook``."""

    port: int
    notifications: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[HostReceiver]:
        """Receive until the end of the block."""

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                running.notifications.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
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
            file = stack.root / "secrets" / "alertmanager" / "webhook_url"
            file.write_text(f"http://{HOST}:{self.port}/\n")
            file.chmod(0o644)
            stack.invoke("up", timeout=900)
            yield stack
        finally:
            stack.destroy()

    def take(self) -> list[dict[str, Any]]:
        """The notifications since the last call, oldest first."""
        taken, self.notifications = self.notifications, []
        return taken

    def take_alerts(self) -> list[dict[str, Any]]:
        """The alerts of the notifications since the last call."""
        return [alert for each in self.take() for alert in each["alerts"]]
