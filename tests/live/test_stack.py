"""The running stack: healthy, proven by smoke, and what a person sees of it."""

from __future__ import annotations

import json
import re

import requests

from tests.live.stack import Stack, until

SERVICES = {"app", "worker", "db", "redis", "kafka", "rabbitmq", "prometheus", "alertmanager"}


def test_every_service_is_healthy(stack: Stack) -> None:
    assert stack.services() == SERVICES
    for service in SERVICES:
        assert stack.container(service)["State"]["Health"]["Status"] == "healthy", service


def test_smoke_reports_every_check(stack: Stack) -> None:
    report = stack.invoke("smoke").stdout
    for check in ("db", "redis", "kafka", "rabbitmq", "prometheus", "alertmanager", "probe"):
        assert re.search(rf"\b{check}\b.*\bok\b", report), report
    assert "failed" not in report
    assert "skipped" not in report


def test_smoke_fails_on_a_broken_service(stack: Stack) -> None:
    stack.compose("stop", "redis")
    try:
        done = stack.invoke("smoke", check=False)
        assert done.returncode == 1
        assert re.search(r"\bredis\b.*\bfailed\b", done.stdout), done.stdout
        assert re.search(r"\bdb\b.*\bok\b", done.stdout), done.stdout
    finally:
        stack.compose("start", "redis")
        stack.invoke("wait")


def test_a_probe_walks_the_whole_way(stack: Stack) -> None:
    result = stack.result(stack.probe("http://prometheus:9090/-/ready"))
    assert result["status"] == "succeeded"
    assert result["http_status"] == 200

    def projected() -> requests.Response | None:
        answer = requests.get(stack.url(f"/api/targets/{result['target']}/latest"), timeout=5)
        return answer if answer.headers.get("X-Cache") == "hit" else None

    latest = until(projected, 10, "the latest state of the target, from the cache")
    assert latest.json()["id"] == result["id"]


def test_a_probe_of_a_dead_target_is_a_result_too(stack: Stack) -> None:
    result = stack.result(stack.probe("http://prometheus:1/"))
    assert result["status"] == "failed"
    assert result["error"]


def test_logs_are_one_json_object_a_line(stack: Stack) -> None:
    stack.result(stack.probe("http://prometheus:9090/-/ready"))
    for service in ("app", "worker"):
        lines = stack.docker("logs", stack.container(service)["Id"]).splitlines()
        assert lines, service
        for line in lines:
            assert {"timestamp", "level", "message", "service"} <= json.loads(line).keys(), line


def test_one_trace_id_from_the_request_to_the_worker(stack: Stack) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = requests.post(stack.url("/api/probes"), json={"url": "http://prometheus:9090/-/ready"},
                           headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}, timeout=10)  # fmt: skip
    stack.result(answer.json()["id"])
    for service in ("app", "worker"):
        assert trace in stack.docker("logs", stack.container(service)["Id"]), service


def test_status_shows_every_service(stack: Stack) -> None:
    table = stack.invoke("status").stdout
    for service in SERVICES:
        assert re.search(rf"\b{service}\b.*\bhealthy\b", table), table


def test_status_fails_where_a_service_is_not_running(stack: Stack) -> None:
    stack.compose("stop", "alertmanager")
    try:
        done = stack.invoke("status", check=False)
        assert done.returncode == 1
        assert re.search(r"\balertmanager\b.*\bexited\b", done.stdout), done.stdout
    finally:
        stack.compose("start", "alertmanager")
        stack.invoke("wait")


def test_config_masks_every_secret(stack: Stack) -> None:
    shown = stack.invoke("config").stdout
    assert "services:" in shown
    for secret in (stack.root / "secrets").glob("*.txt"):
        assert secret.read_text().strip() not in shown, secret.name


def test_everything_is_published_on_loopback_only(stack: Stack) -> None:
    published = {
        binding["HostIp"]
        for service in SERVICES
        for bindings in stack.container(service)["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    }
    assert published == {"127.0.0.1"}


def test_doctor_finds_nothing_wrong(stack: Stack) -> None:
    assert "failed" not in stack.invoke("doctor").stdout


def test_two_sets_of_migrations_at_once(stack: Stack) -> None:
    """Both starters end, and the schema is applied once: nothing is left waiting for the lock."""
    stack.compose("up", "--detach", "--no-deps", "--scale", "worker=3", "worker")
    try:
        stack.invoke("wait")
        assert len(stack.containers("worker")) == 3
    finally:
        stack.compose("up", "--detach", "--no-deps", "--scale", "worker=1", "worker")
