"""Application and worker during stop, restart and reload."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections.abc import Iterator

import pytest
import requests

from tests.live import faults, pipeline
from tests.live.stack import Stack, until


@pytest.fixture
def slow_target(stack: Stack) -> Iterator[tuple[str, threading.Event]]:
    """A target on the host that answers after 3 s; the event is set when a request has arrived."""
    arrived = threading.Event()

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            arrived.set()
            time.sleep(3)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    gateway = pipeline.gateway(stack)
    server = http.server.ThreadingHTTPServer((gateway, 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{gateway}:{server.server_port}/", arrived
    server.shutdown()
    server.server_close()


def test_worker_stops_gracefully_with_a_job_in_flight(stack: Stack, slow_target: tuple[str, threading.Event]) -> None:
    url, arrived = slow_target
    probe = stack.probe(url)
    assert arrived.wait(10)
    started = time.monotonic()
    stack.control("stop", "worker")
    assert 1 < time.monotonic() - started < 20, "the worker must wait for the job in flight, and no longer"
    assert stack.container("worker")["State"]["ExitCode"] == 0
    assert stack.result(probe, within=2)["status"] == "succeeded", "the result must be stored before the worker exits"
    stack.control("start", "worker")
    stack.wait_until_recovered()


def test_a_killed_worker_loses_no_accepted_job(stack: Stack, slow_target: tuple[str, threading.Event]) -> None:
    url, arrived = slow_target
    probes = [stack.probe(url) for _ in range(5)]
    assert arrived.wait(10)
    stack.control("kill", "worker")
    stack.control("start", "worker")
    assert [stack.result(probe, within=60)["status"] for probe in probes] == ["succeeded"] * 5
    stack.wait_until_recovered()


def test_jobs_accepted_without_a_worker_are_executed_later(stack: Stack) -> None:
    stack.control("stop", "worker")
    probes = [stack.probe("http://prometheus:9090/-/ready") for _ in range(20)]
    stack.control("restart", "rabbitmq")
    stack.control("start", "worker")
    assert [stack.result(probe, within=60)["status"] for probe in probes] == ["succeeded"] * 20
    stack.wait_until_recovered()


def test_api_drains_before_it_stops(stack: Stack) -> None:
    started = time.monotonic()
    stack.control("stop", "app")
    assert time.monotonic() - started < 15
    assert stack.container("app")["State"]["ExitCode"] == 0
    stack.control("start", "app")
    stack.wait_until_recovered()


def test_an_unavailable_broker_rejects_the_probe_and_stores_nothing(stack: Stack) -> None:
    stack.control("stop", "rabbitmq")
    try:
        answer = requests.post(
            stack.url("/api/probes"), json={"url": "http://prometheus:9090/"}, headers=stack.authorization(), timeout=15
        )
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
    finally:
        stack.control("start", "rabbitmq")
        stack.wait_until_recovered()
    count = "SELECT count(*) FROM probes WHERE status = 'queued'"
    queued = stack.exec("db", "psql", "-U", "postgres", "-d", "network_monitor", "-tAc", count)
    assert queued.strip() == "0"


def test_writes_require_the_token_and_reads_do_not(stack: Stack) -> None:
    def request(method: str, path: str, **headers: str) -> requests.Response:
        body = {"url": "http://app:3000/api/health/live"} if method == "POST" else None
        return requests.request(method, stack.url(path), json=body, headers=headers, timeout=10)

    right, wrong = stack.authorization(), {"Authorization": f"Bearer {'x' * 43}"}
    for method, path, success in (("POST", "/api/probes", 202), ("GET", "/api/access", 204)):
        missing = request(method, path)
        assert (missing.status_code, missing.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert request(method, path, **wrong).status_code == 401
        assert request(method, path, **right).status_code == success
    accepted = request("POST", "/api/probes", **right)
    for path in ("/api/health", accepted.headers["Location"], "/api/alerts", "/api/openapi.json"):
        assert request("GET", path).status_code == 200, path
    log = stack.docker("logs", stack.container("app")["Id"])
    assert right["Authorization"].removeprefix("Bearer ") not in log


def test_a_start_compiles_no_module(stack: Stack) -> None:
    for service, modules in (("app", "netmon.api, watchfiles"), ("worker", "netmon.worker, uvloop")):
        imports = ["python", "-v", "-c", f"import {modules}"]
        messages = stack.run("docker", "exec", stack.container(service)["Id"], *imports).stderr
        assert "/opt/bytecode/srv/app/netmon/settings" in messages
        # Of a module with bytecode, Python reports the path of that file, in quotes.
        assert re.findall(r"^# code object from /.*", messages, re.MULTILINE) == []


def test_a_source_change_is_reloaded_in_development(stack: Stack) -> None:
    marker = f"reloaded-{int(time.time())}"
    module = stack.root / "app" / "netmon" / "health.py"
    source = module.read_text()
    assert '"/live"' in source
    module.write_text(source.replace('"/live"', f'"/{marker}"'))
    try:
        until(lambda: answers(stack.url(f"/api/health/{marker}")), 20, "the changed source to be served")
    finally:
        module.write_text(source)
    until(lambda: answers(stack.url("/api/health/live")), 20, "the original source to be served")
    stack.wait_until_recovered()


def answers(url: str) -> bool:
    """Whether the address answers with 200."""
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False


def test_dead_letters_are_shown_and_stay(stack: Stack) -> None:
    with faults.poison_message(stack):
        until(lambda: "malformed" in stack.invoke("dead-letters").stdout, 20, "the dead-lettered message")
        assert "malformed" in stack.invoke("dead-letters").stdout
    assert "probes.dead is empty" in stack.invoke("dead-letters").stdout
