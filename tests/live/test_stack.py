"""The running stack: health, smoke checks, logs, and the tasks that report on it."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
import requests
import yaml

from tests.live.stack import Stack, until
from toolkit.checkout.project import Project

pytestmark = pytest.mark.image_set


def test_every_service_is_healthy(stack: Stack) -> None:
    assert stack.services() == stack.configured()
    for service in stack.with_healthcheck():
        assert stack.container(service)["State"]["Health"]["Status"] == "healthy", service


def test_the_images_in_use_have_every_other_service(stack: Stack) -> None:
    """Of those that the published images run, by the files themselves."""
    project = Project.load(stack.root)
    services: dict[str, dict[str, Any]] = {}
    for layer in project.layers("dev"):
        for name, spec in yaml.safe_load((stack.root / layer).read_text())["services"].items():
            services.setdefault(name, {}).update(spec)
    groups = set(project.env["COMPOSE_PROFILES"].split(","))
    published = {name for name, spec in services.items() if groups.issuperset(spec.get("profiles", []))}
    assert published - stack.configured() == stack.unavailable()


def test_smoke_reports_every_check(stack: Stack) -> None:
    report = stack.invoke("smoke").stdout
    for check in (*stack.configured() - {"app", "worker"}, "health", "probe", "targets", "signals"):
        assert re.search(rf"^{check}\b.*\bok\b", report, re.MULTILINE), report
    assert "failed" not in report
    skipped = {line.split()[0] for line in report.splitlines() if re.search(r"\bskipped\b", line)}
    assert skipped == stack.unavailable(), report


def test_smoke_fails_on_a_broken_service(stack: Stack) -> None:
    stack.control("stop", "redis")
    try:
        done = stack.invoke("smoke", check=False)
        assert done.returncode == 1
        assert re.search(r"\bredis\b.*\bfailed\b", done.stdout), done.stdout
        assert re.search(r"\bdb\b.*\bok\b", done.stdout), done.stdout
    finally:
        stack.control("start", "redis")
        stack.wait_until_recovered()


def test_the_result_of_a_probe_reaches_the_cache(stack: Stack) -> None:
    result = stack.result(stack.probe("http://prometheus:9090/-/ready"))
    assert result["status"] == "succeeded"
    assert result["http_status"] == 200

    def projected() -> requests.Response | None:
        answer = requests.get(stack.url(f"/api/targets/{result['target']}/latest"), timeout=5)
        # Until the event of this probe is consumed, the cache may have an earlier probe of the same target.
        return answer if answer.headers.get("X-Cache") == "hit" and answer.json()["id"] == result["id"] else None

    until(projected, 10, "the latest state of the target, from the cache")


def test_a_probe_of_an_unreachable_target_has_a_failed_result(stack: Stack) -> None:
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


def test_app_and_worker_log_the_trace_id_of_the_request(stack: Stack) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = requests.post(stack.url("/api/probes"), json={"url": "http://prometheus:9090/-/ready"},
                           headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01", **stack.authorization()},
                           timeout=10)  # fmt: skip
    stack.result(answer.json()["id"])
    for service in ("app", "worker"):
        assert trace in stack.docker("logs", stack.container(service)["Id"]), service


def test_status_shows_every_service(stack: Stack) -> None:
    table = stack.invoke("status").stdout
    for service in stack.configured():
        assert re.search(rf"\b{service}\b.*\bhealthy\b", table), table


def test_status_fails_where_a_service_is_not_running(stack: Stack) -> None:
    stack.control("stop", "alertmanager")
    try:
        done = stack.invoke("status", check=False)
        assert done.returncode == 1
        assert re.search(r"\balertmanager\b.*\bexited\b", done.stdout), done.stdout
    finally:
        stack.control("start", "alertmanager")
        stack.wait_until_recovered()


def test_config_masks_every_secret(stack: Stack) -> None:
    output = stack.invoke("config").stdout
    assert "services:" in output
    for secret in set((stack.root / "secrets").glob("*.txt")) - set((stack.root / "secrets").glob("*_user.txt")):
        assert secret.read_text().strip() not in output, secret.name


def test_ports_are_published_on_loopback_only(stack: Stack) -> None:
    published = {
        binding["HostIp"]
        for service in stack.configured()
        for bindings in stack.container(service)["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    }
    assert published == {"127.0.0.1"}


def test_doctor_reports_no_failure(stack: Stack) -> None:
    assert "failed" not in stack.invoke("doctor").stdout


def test_migrations_run_once_with_concurrent_starts(stack: Stack) -> None:
    """Four concurrent starts on an empty schema: all become healthy, and every migration is recorded once."""
    services = ("app", "worker")
    stack.control("stop", *services)
    since = time.time()
    tables = sql(stack, "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables WHERE schemaname = 'public'")
    sql(stack, f"DROP TABLE {tables}")
    try:
        stack.compose("up", "--detach", "--no-deps", "--scale", "worker=3", *services)
        stack.wait_until_recovered()
        assert len(stack.containers("worker")) == 3
        names = sql(stack, "SELECT name FROM schema_migrations").split()
        assert names == [path.stem for path in sorted((stack.root / "app/netmon/migrations").glob("*.sql"))]
        assert migrated(stack, since) == len(names)
    finally:
        stack.compose("up", "--detach", "--no-deps", "--scale", "worker=1", "worker")
    stack.result(stack.probe("http://prometheus:9090/-/ready"))


def migrated(stack: Stack, since: float) -> int:
    """The number of migrations that the containers have logged since a Unix time."""
    logs = [stack.docker("logs", f"--since={since}", container) for container in stack.containers()]
    return sum(log.count('"schema migrated"') for log in logs)


def sql(stack: Stack, statement: str) -> str:
    """Run a statement as the database's superuser, over the local socket."""
    psql = ("psql", "--username=postgres", "--dbname=network_monitor", "--no-align", "--tuples-only")
    return stack.exec("db", *psql, "--command", statement)
