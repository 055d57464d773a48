"""The metrics of the service, in the text format of Prometheus."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from netmon_backup.state import State

ACTIVITIES = ("backup", "receive", "transfer", "verify", "gap", "internal")


def render(state: State) -> str:
    """The metrics of a state. Times are Unix times; what has never happened has the time of the set-up."""
    newest = max(state.backup.values(), default=state.since)
    failed = {name: float(name in state.failed) for name in ACTIVITIES}
    return "".join(
        [
            _one("netmon_backup_last_success_timestamp_seconds", "End of the newest base backup.", newest),
            _by("kind", "netmon_backup_timestamp_seconds", "End of the newest base backup.", state.backup),
            _by("kind", "netmon_backup_size_bytes", "Size of the newest base backup.", state.size),
            _by("kind", "netmon_backup_added_bytes", "What it added to the repository.", state.added),
            _by("kind", "netmon_backup_duration_seconds", "Duration of the newest base backup.", state.duration),
            _by("activity", "netmon_backup_failed", "1 if it has failed since its last success.", failed),
            _one(
                "netmon_backup_wal_stored_timestamp_seconds",
                "Every commit until then is in the repository.",
                state.wal_stored or state.since,
            ),
            _one("netmon_backup_wal_added_bytes", "What the last transfer of WAL added to it.", state.wal_bytes),
            _one(
                "netmon_backup_verified_timestamp_seconds",
                "The last restore that was compared with the live database.",
                state.verified or state.since,
            ),
            _one("netmon_backup_verified_duration_seconds", "Duration of that restore.", state.verified_duration),
            _one(
                "netmon_backup_platform_timestamp_seconds",
                "The last copy of the platform's files.",
                state.platform or state.since,
            ),
            _one("netmon_backup_oldest_timestamp_seconds", "The oldest restorable time.", state.oldest or newest),
        ]
    )


def _one(name: str, about: str, value: float) -> str:
    return f"# HELP {name} {about}\n# TYPE {name} gauge\n{name} {value:.16g}\n"


def _by(label: str, name: str, about: str, values: Mapping[str, float]) -> str:
    samples = "".join(f'{name}{{{label}="{key}"}} {value:.16g}\n' for key, value in sorted(values.items()))
    return f"# HELP {name} {about}\n# TYPE {name} gauge\n{samples}"


class Server(ThreadingHTTPServer):
    """Logs the errors of requests, but no client that has gone: a health check reads the first line only."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the current exception."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def server(port: int, current: Callable[[], State]) -> Server:
    """A server of ``/metrics`` with the state at the time of each request; ``/`` answers 200 while it can be read."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer a scrape or a health check."""
            try:
                body = render(current()).encode()
            except Exception as error:  # reported to the client
                self.send_error(503, str(error).splitlines()[0][:200])
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log no requests."""

    return Server(("", port), Handler)
