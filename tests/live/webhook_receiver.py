"""A webhook receiver, run in a container: prints each notification as a line of JSON with its time of arrival."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8080


class Receiver(BaseHTTPRequestHandler):
    """Accepts notifications on every path."""

    def do_POST(self) -> None:
        """Print the notification."""
        arrived = time.time()
        notification = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        line = json.dumps({"arrived": arrived, "path": self.path, **notification})
        # In one call, since other threads print concurrently.
        print(f"{line}\n", end="", flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log no requests: the output has notifications only."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", PORT), Receiver).serve_forever()
