"""A receiver of notifications, run in a container: prints each as a line of JSON with its time of arrival."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8080


class Receiver(BaseHTTPRequestHandler):
    """Takes whatever is posted to whatever path."""

    def do_POST(self) -> None:
        """Print the notification."""
        arrived = time.time()
        notification = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        line = json.dumps({"arrived": arrived, "path": self.path, **notification})
        # In one call, since others print at the same time.
        print(f"{line}\n", end="", flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing else goes to the output."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", PORT), Receiver).serve_forever()
