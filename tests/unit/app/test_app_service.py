"""The services as processes while every dependency is unavailable: start, health, graceful stop."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from netmon import smoke
from netmon.health import CHECK_TIMEOUT_SECONDS
from netmon.settings import Settings

pytestmark = pytest.mark.slow

APP = Path(__file__).parents[3] / "app"
ENDED = 120
"""Timeout in seconds for the start, a response or the end of a process, even on a busy machine."""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def get(port: int, path: str) -> tuple[int, Any, float]:
    """Status, decoded body, seconds."""
    started = time.perf_counter()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=ENDED) as response:
            status, body = response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, error.read()
    return status, json.loads(body), time.perf_counter() - started


@contextmanager
def service(command: str, environ: dict[str, str], port: int) -> Iterator["subprocess.Popen[str]"]:
    environ = environ | {"PORT": str(port), "PYTHONPATH": str(APP), "PATH": os.defpath}
    process = subprocess.Popen(
        [sys.executable, "-m", "netmon", command],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def await_live(port: int) -> None:
    deadline = time.monotonic() + ENDED
    while time.monotonic() < deadline:
        try:
            assert get(port, "/api/health/live")[0] == 200
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the service does not respond")


@pytest.fixture
def hostile(environ: dict[str, str]) -> Iterator[dict[str, str]]:
    """A database that refuses connections, and other dependencies that accept them but never respond."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        yield environ | {
            "DATABASE_URL": "postgresql://u:hidden@127.0.0.1:1/x",
            "REDIS_URL": f"redis://:hidden@127.0.0.1:{port}/0",
            "KAFKA_BROKERS": f"127.0.0.1:{port}",
            "RABBITMQ_URL": f"amqp://u:hidden@127.0.0.1:{port}/",
        }


@pytest.mark.parametrize("command", ["api", "worker"])
def test_a_service_is_alive_without_its_dependencies(command: str, hostile: dict[str, str]) -> None:
    port = free_port()
    with service(command, hostile, port) as process:
        await_live(port)
        assert get(port, "/api/health/ready")[0] == 503
        took = []
        for _ in range(3):
            status, body, seconds = get(port, "/api/health")
            assert status == 503
            probing = ("probing",) if command == "api" else ()
            assert body["checks"] == dict.fromkeys(("database", "redis", "kafka", "rabbitmq", *probing), "error")
            took.append(seconds)
        assert min(took) < 2 * CHECK_TIMEOUT_SECONDS, "three of them hang, and are checked concurrently"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=ENDED)
    assert (process.returncode, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert {line["service"] for line in lines} == {command}
    assert lines[-1]["message"] == "stopped"
    assert "hidden" not in out


def test_a_stopping_api_reports_that_it_is_draining(hostile: dict[str, str]) -> None:
    port = free_port()
    with service("api", hostile, port) as process:
        await_live(port)
        process.send_signal(signal.SIGTERM)
        statuses = set()
        while "draining" not in statuses:  # ends with the server at the latest
            status, body, _ = get(port, "/api/health/ready")
            assert status == 503
            statuses.add(body["status"])
        assert get(port, "/api/health/live")[0] == 200
        process.communicate(timeout=ENDED)
    assert process.returncode == 0


def test_a_stopping_api_closes_kept_connections(hostile: dict[str, str]) -> None:
    port = free_port()
    with service("api", hostile, port) as process:
        await_live(port)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/api/health/live")
        kept = connection.getresponse()
        kept.read()
        assert not kept.will_close
        process.send_signal(signal.SIGTERM)
        closing = False
        while not closing:  # keeps the connection until the signal has arrived
            connection.request("GET", "/api/health/live")
            answer = connection.getresponse()
            answer.read()
            closing = answer.will_close
        assert answer.status == 200
        assert get(port, "/api/health/live")[0] == 200, "other requests are still served"
        connection.close()
        process.communicate(timeout=ENDED)
    assert process.returncode == 0


def test_a_stopping_api_answers_on_connections_that_were_open(hostile: dict[str, str]) -> None:
    """A proxy must not retry a request on a new connection: the request may change something."""
    port = free_port()
    with service("api", hostile, port) as process, ExitStack() as opened:
        await_live(port)

        def connect() -> http.client.HTTPConnection:
            connection = opened.enter_context(closing(http.client.HTTPConnection("127.0.0.1", port)))
            connection.connect()
            return connection

        connections = [connect()]
        process.send_signal(signal.SIGTERM)
        with suppress(ConnectionRefusedError):
            while True:
                connections.append(connect())
                time.sleep(0.02)
        for connection in (connections[0], connections[-1]):
            connection.request("GET", "/api/health/live")
            answer = connection.getresponse()
            assert (answer.status, answer.read(), answer.will_close) == (200, b'{"status":"alive"}', True)
        process.communicate(timeout=ENDED)
    assert process.returncode == 0


def test_a_service_can_be_stopped_during_startup(hostile: dict[str, str]) -> None:
    with service("api", hostile, free_port()) as process:
        time.sleep(0.15)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=ENDED)
    assert process.returncode in {0, -signal.SIGTERM}  # the latter while Python itself is starting


def test_a_port_in_use_ends_the_service_with_a_log_line(hostile: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, service("api", hostile, taken.getsockname()[1]) as process:
        out, _ = process.communicate(timeout=ENDED)
    assert process.returncode not in {0, None}
    assert any("address already in use" in line for line in out.splitlines())
    assert all(json.loads(line)["service"] == "api" for line in out.splitlines())


def test_a_failed_migration_is_logged_with_its_reason(hostile: dict[str, str]) -> None:
    with service("migrate", hostile, free_port()) as process:
        out, err = process.communicate(timeout=ENDED)
    assert (process.returncode, err) == (1, "")
    [line] = map(json.loads, out.splitlines())
    assert line["message"] == "schema migration failed"
    assert "refused" in line["reason"]
    assert "hidden" not in out


def test_smoke_reports_each_check_and_fails(hostile: dict[str, str]) -> None:
    refusing = {
        "REDIS_URL": "redis://:hidden@127.0.0.1:1/0",
        "KAFKA_BROKERS": "127.0.0.1:1",
        "RABBITMQ_URL": "amqp://u:hidden@127.0.0.1:1/",
        "PROMETHEUS_URL": "http://127.0.0.1:1",
        "ALERTMANAGER_URL": "http://127.0.0.1:1",
    }
    with service("smoke", hostile | refusing, free_port()) as process:
        out, _ = process.communicate(timeout=ENDED)
    lines = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 1
    assert {line["check"] for line in lines} == set(smoke.CHECKS)
    assert all(line["ok"] is False and line["detail"] and line["ms"] > 0 for line in lines)
    assert "hidden" not in out


def test_a_service_without_a_smoke_check_is_reported(
    app_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def check(_settings: Settings, _token: str) -> str:
        return "done"

    monkeypatch.setitem(smoke.CHECKS, "redis", check)
    assert smoke.main(app_settings, ["redis", "mongo"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["check"]: line["ok"] for line in lines} == {"mongo": None, "redis": True}
