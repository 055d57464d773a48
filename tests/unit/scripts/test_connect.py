"""The connection of health checks: it waits for a service that is starting, and fails on one that is down or hangs."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPTS = Path(__file__).parents[3] / "scripts" / "container"


def check(folder: Path, port: int) -> subprocess.CompletedProcess[str]:
    """Run the health check of the application against a port, in bash."""
    for name in ("http-health.sh", "connect.sh"):
        (folder / name).write_text((SCRIPTS / name).read_text().replace("/opt/netmon", str(folder)))
    command = ["sh", str(folder / "http-health.sh"), str(port), "/ready"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@contextmanager
def server(status: str | None, port: int = 0, after: float = 0) -> Iterator[int]:
    """Listen on a port after some seconds, and answer one request with this status; None: never answer."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    ended = threading.Event()

    def serve() -> None:
        ended.wait(after)
        listener.listen()
        connection, _ = listener.accept()
        with connection:
            if status is None:
                ended.wait()
            else:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += connection.recv(1000)
                connection.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        listener.close()


def test_a_service_that_answers_is_healthy(tmp_path: Path) -> None:
    with server("200 OK") as port:
        assert check(tmp_path, port).returncode == 0


def test_a_service_that_starts_to_listen_is_waited_for(tmp_path: Path) -> None:
    with server("200 OK", after=0.5) as port:
        began = time.monotonic()
        assert check(tmp_path, port).returncode == 0
        assert time.monotonic() - began >= 0.5


def test_a_service_that_is_not_ready_is_unhealthy(tmp_path: Path) -> None:
    with server("503 Service Unavailable") as port:
        assert check(tmp_path, port).returncode != 0


def test_a_service_that_hangs_is_unhealthy(tmp_path: Path) -> None:
    with server(None) as port:
        assert check(tmp_path, port).returncode != 0


def test_a_service_that_never_listens_is_unhealthy(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        done = check(tmp_path, port)
    assert done.returncode != 0
    assert done.stdout == f"no connection to port {port}\n"
