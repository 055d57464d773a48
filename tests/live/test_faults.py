"""Faults are reported by /api/health within seconds and by each service's health check, and the stack recovers."""

from __future__ import annotations

import contextlib
from uuid import uuid4

import pytest
import requests

from tests.live.faults import frozen
from tests.live.stack import Stack, until

CHECKS = {"db": "database", "redis": "redis", "kafka": "kafka", "rabbitmq": "rabbitmq"}
PROBING = "probing"
"""The check that probes are carried out."""


@pytest.mark.parametrize("service", CHECKS)
def test_health_names_a_stopped_dependency_and_recovers(stack: Stack, service: str) -> None:
    until(lambda: stack.health()[0] == 200, 30, "a healthy start")
    failing = {CHECKS[service], *([PROBING] if service == "db" else [])}
    expected = {check: "error" if check in failing else "ok" for check in (*CHECKS.values(), PROBING)}
    stack.control("stop", service)
    try:
        until(lambda: stack.health()[0] == 503, 5, f"/api/health to report {service}")
        assert stack.health()[1]["checks"] == expected
        assert requests.get(stack.url("/api/health/live"), timeout=2).status_code == 200
        ready = requests.get(stack.url("/api/health/ready"), timeout=2).status_code
        assert ready == (503 if service == "db" else 200)
    finally:
        stack.control("start", service)
    stack.wait_until_recovered()


STATES = """
import asyncio, os
from datetime import UTC, datetime
from netmon.latest_states import LatestStates
from netmon.models import Standing
states = LatestStates(os.environ["REDIS_URL"])
print(asyncio.run(states.{call}))
"""


def test_states_survive_a_restart_of_redis(stack: Stack) -> None:
    """The application stores them with a script, which Redis logs as a transaction."""
    target = f"https://restarted.example/{uuid4()}"

    def states(call: str) -> str:
        return stack.exec("app", "python", "-c", STATES.format(call=call)).strip()

    since = "datetime(2026, 1, 2, tzinfo=UTC)"
    assert states(f"put_unknown({target!r}, Standing(since={since}))") == "True"
    stored = states(f"get_state({target!r})")
    assert "2026, 1, 2" in stored
    stack.control("restart", "redis")
    stack.wait_until_recovered()
    assert states(f"get_state({target!r})") == stored
    states(f"delete({target!r})")


@pytest.mark.parametrize(
    "services",
    [
        # None of these checks depends on another of these services, so that each fails on its own.
        ["app", "worker", "redis", "kafka", "prometheus", "alertmanager"],
        ["db", "rabbitmq"],
    ],
    ids=" ".join,
)
def test_own_health_check_fails_when_the_service_hangs(stack: Stack, services: list[str]) -> None:
    containers = [stack.container(service)["Id"] for service in services]

    def failing() -> set[str]:
        states = stack.docker("inspect", "--format", "{{.State.Health.FailingStreak}}", *containers).split()
        return {service for service, streak in zip(services, states, strict=True) if streak != "0"}

    until(lambda: not failing(), 30, "the recovery from earlier tests")
    with contextlib.ExitStack() as hanging:
        for service in services:
            hanging.enter_context(frozen(stack.container(service)))
        until(lambda: failing() == set(services), 60, "every health check to fail")
        assert all(stack.container(service)["State"]["Running"] for service in services)
    stack.wait_until_recovered()


@pytest.mark.parametrize(
    ("service", "command", "variable"),
    [
        ("db", ["/opt/netmon/postgres-health.sh"], "POSTGRES_MONITORING_PASSWORD"),
        ("redis", ["/opt/netmon/redis-health.sh"], "REDIS_MONITORING_PASSWORD"),
        ("rabbitmq", ["bash", "/opt/netmon/rabbitmq-health.sh"], "RABBITMQ_MONITORING_PASSWORD"),
    ],
)
def test_own_health_check_fails_on_a_wrong_password(
    stack: Stack, service: str, command: list[str], variable: str
) -> None:
    container = stack.container(service)["Id"]
    right = stack.run("docker", "exec", container, *command, check=False)
    assert right.returncode == 0, right.stderr
    wrong = stack.run("docker", "exec", "--env", f"{variable}=wrong-password-0123", container, *command, check=False)
    assert wrong.returncode != 0


def test_rabbitmq_starts_again_if_its_queues_have_ended(stack: Stack) -> None:
    """As on a disk without a free byte: the node runs on, and the management API answers."""
    before = stack.container("rabbitmq")
    probe = stack.probe("http://app:3000/api/health/live")
    assert stack.result(probe)["status"] == "succeeded"
    stack.exec("rabbitmq", "rabbitmqctl", "eval", "supervisor:terminate_child(ra_systems_sup, quorum_queues).")
    until(lambda: stack.container("rabbitmq")["RestartCount"] > before["RestartCount"], 40, "RabbitMQ to start again")
    stack.wait_until_recovered()
    assert stack.result(stack.probe("http://app:3000/api/health/live"), within=30)["status"] == "succeeded"


def test_database_check_fails_on_an_interrupted_initialisation(stack: Stack) -> None:
    container = stack.container("db")["Id"]
    sql = ["docker", "exec", container, "psql", "-U", "postgres", "-d", "network_monitor", "-c"]
    stack.run(*sql, "ALTER SCHEMA platform RENAME TO platform_hidden")
    try:
        assert stack.run("docker", "exec", container, "/opt/netmon/postgres-health.sh", check=False).returncode != 0
    finally:
        stack.run(*sql, "ALTER SCHEMA platform_hidden RENAME TO platform")


@pytest.mark.parametrize(
    ("service", "script", "port"), [("app", "http-health.sh", 3000), ("kafka", "kafka-health.sh", 29092)]
)
def test_own_health_check_fails_on_a_closed_port(stack: Stack, service: str, script: str, port: int) -> None:
    """The service's own check, redirected to an unused port."""
    container = stack.container(service)
    test = container["Config"]["Healthcheck"]["Test"][1:]
    assert stack.run("docker", "exec", container["Id"], *test, check=False).returncode == 0
    text = (stack.root / "scripts" / "container" / script).read_text().replace(str(port), "3999")
    arguments = [word.replace(str(port), "3999") for word in test[2:]]
    redirected = stack.run("docker", "exec", container["Id"], test[0], "-c", text, "health", *arguments, check=False)
    assert redirected.returncode != 0
    assert "no connection to port 3999" in redirected.stdout, redirected


def test_health_answers_within_a_second_while_everything_hangs(stack: Stack) -> None:
    until(lambda: stack.health()[0] == 200, 30, "a healthy start")
    with contextlib.ExitStack() as hanging:
        for service in CHECKS:
            hanging.enter_context(frozen(stack.container(service)))
        answer = requests.get(stack.url("/api/health"), timeout=5)
        assert answer.status_code == 503
        assert answer.elapsed.total_seconds() < 1.2
        assert answer.json()["checks"] == dict.fromkeys((*CHECKS.values(), PROBING), "error")
    until(lambda: stack.health()[0] == 200, 60, "the recovery of every service")
