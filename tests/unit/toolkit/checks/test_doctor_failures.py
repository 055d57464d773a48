"""The doctor's check of failed services and of broken data in the logs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.unit.toolkit.conftest import FakeDocker, configuration
from tests.unit.toolkit.containers import container
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.checks.doctor.failures import failures
from toolkit.checks.doctor.subject import Subject
from toolkit.core.report import Outcome


@pytest.fixture
def subject(project: Project, docker: FakeDocker) -> Subject:
    """A checkout with a database, a cache and the application."""
    setup(project, "dev", images="local")
    images = {name: {"image": f"{name}:1"} for name in ("db", "redis", "app")}
    docker.on("compose", "config", stdout=configuration(**images))
    docker.on("ps", stdout="id")
    docker.on("logs", stdout="2026-11-30T14:00:00.1Z hello\n")
    return Subject(project, docker.cli)


def test_healthy_services_are_ok(subject: Subject, docker: FakeDocker) -> None:
    docker.on("container", "inspect", stdout=[container("db"), container("app")])
    [found] = failures(subject)
    assert (found.outcome, found.detail) == (Outcome.OK, "none of 2 containers")


def test_failed_service_is_reported_with_cause_and_repair(subject: Subject, docker: FakeDocker) -> None:
    docker.on("container", "inspect", stdout=[container("redis", "restarting", "unhealthy", restarts=5)])
    line = "Bad file format reading the append only file appendonly.aof.2.incr.aof"
    docker.on("logs", "id-redis-1", stdout=f"2026-11-30T14:00:00.1Z {line}\n")
    [found] = failures(subject)
    assert (found.outcome, found.subject) == (Outcome.FAILED, "redis")
    assert "corrupt in the middle" in found.detail
    assert found.fix.startswith("invoke repair --service=redis (loses ")


def test_failed_service_without_a_known_cause_is_reported_with_its_log(subject: Subject, docker: FakeDocker) -> None:
    docker.on("container", "inspect", stdout=[container("app", "exited", None, code=3)])
    [found] = failures(subject)
    assert (found.outcome, found.detail) == (Outcome.FAILED, "app: exited with code 3")
    assert found.fix == "invoke logs --service=app shows its log"


@pytest.mark.parametrize("started", [7200.0, 600.0])
def test_broken_index_of_a_healthy_database_is_a_warning(subject: Subject, docker: FakeDocker, started: float) -> None:
    docker.on("container", "inspect", stdout=[container("db", started=started)])
    line = 'ERROR:  index "t_pkey" contains unexpected zero page at block 10'
    docker.on("logs", "id-db-1", stdout=f"2026-11-30T14:00:00.1Z {line}\n")
    [found] = failures(subject)
    assert (found.outcome, found.subject) == (Outcome.WARNING, "db")
    assert found.fix.startswith("invoke repair --service=db (loses nothing")
    [command] = docker.ran("logs")
    since = datetime.fromisoformat(command[command.index("--since") + 1])
    assert (datetime.now(UTC) - since).total_seconds() == pytest.approx(min(started, 3600), abs=60)
