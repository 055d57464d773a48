"""An HTTP server for one test."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Route = tuple[int, Any, dict[str, str]]


@contextmanager
def server(
    answer: Callable[[str, str, dict[str, str], str], Route], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """A server on the loopback interface; ``answer`` maps method, path, headers and body to a response.

    Yields:
        Its port.
    """

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            received = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            status, body, headers = answer(self.command, self.path, dict(self.headers), received)
            text = body if isinstance(body, str) else json.dumps(body)
            with suppress(BrokenPipeError, ConnectionResetError):  # the client has disconnected
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text.encode())

        do_GET = do_HEAD = do_POST = _reply  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        running.socket = tls.wrap_socket(running.socket, server_side=True)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield running.server_port
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
