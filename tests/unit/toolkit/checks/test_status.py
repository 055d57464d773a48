"""The status table."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker, configuration
from tests.unit.toolkit.containers import container
from toolkit.checkout.project import Project
from toolkit.checks import status as module
from toolkit.checks.status import age, read
from toolkit.core.errors import ToolkitError
from toolkit.engine import shapes
from toolkit.engine.compose import Docker, Result


def stack(docker: FakeDocker, config: shapes.Configuration, *found: dict[str, Any]) -> None:
    docker.on("compose", "config", stdout=config)
    docker.on("ps", stdout=" ".join(each["Id"] for each in found))
    docker.on("container", "inspect", stdout=list(found))
    docker.answer("stats", by=lambda argv: Result(0, "".join(map(statistics, argv[6:])), ""))


def status(project: Project, docker: Docker) -> None:
    """Show the status, and require a healthy one."""
    found = read(project, docker)
    found.show()
    found.require()


def statistics(container: str) -> str:
    """A line of `docker stats`."""
    return f'{{"ID":"{container}","MemUsage":"12.5MiB / 1GiB"}}\n'


def line(output: str, service: str) -> list[str]:
    """The cells of a service's row."""
    return next(re.split(r"\s{2,}", row.strip()) for row in output.splitlines() if row.startswith(service))


def test_status_of_a_healthy_stack(project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]) -> None:
    ports = {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "23000"}]}
    job = container("migrate", "exited", None, policy="no")
    app = container("app", ports=ports, started=7300)
    stack(docker, configuration(app={}, db={}, migrate={}), app, container(health=None), job)
    status(project, docker.cli)
    output = capsys.readouterr().out
    assert line(output, "app") == ["app", "running", "healthy", "2 h", "127.0.0.1:23000", "12.5MiB"]
    assert line(output, "db")[1:3] == ["running", "no check"]
    assert line(output, "migrate")[1:4] == ["exited (0)", "-", "1 s"]
    assert "id-migrate-1" not in docker.ran("stats")[0]


@pytest.mark.parametrize(
    ("given", "cells"),
    [
        ({"status": "exited", "code": 137}, ["exited (137)", "-"]),
        ({"health": "unhealthy"}, ["running", "unhealthy"]),
        ({"health": "starting"}, ["running", "starting"]),
        ({"status": "restarting", "restarts": 1}, ["restarting", "-"]),
    ],
)
def test_unhealthy_container_fails(
    project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str], given: dict[str, Any], cells: list[str]
) -> None:
    stack(docker, configuration(app={}, db={}), container("app"), container("db", **given))
    with pytest.raises(ToolkitError, match="not every service is healthy: network-monitor-db-1") as raised:
        status(project, docker.cli)
    assert raised.value.code == 1
    assert line(capsys.readouterr().out, "db")[1:3] == cells


def test_missing_container_fails(project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]) -> None:
    stack(docker, configuration(db={}, worker={"deploy": {"replicas": 2}}), container("worker"), container("db"))
    with pytest.raises(ToolkitError, match="worker: not created"):
        status(project, docker.cli)
    assert "not created" in capsys.readouterr().out


def test_memory_is_read_from_the_kernel_where_it_has_the_container(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "used", lambda container, _pid: {"id-app-1": 3 * 2**29}.get(container))
    stack(docker, configuration(app={}, db={}), container("app"), container("db"))
    status(project, docker.cli)
    output = capsys.readouterr().out
    assert (line(output, "app")[-1], line(output, "db")[-1]) == ("1.5GiB", "12.5MiB")
    assert docker.ran("stats")[0][-1] == "id-db-1", "the engine measures the others"


def test_status_of_a_stopped_stack_fails(
    project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    stack(docker, configuration(db={}))
    with pytest.raises(ToolkitError, match="the stack is not up"):
        status(project, docker.cli)
    assert line(capsys.readouterr().out, "db")[1] == "not created"
    assert docker.ran("stats") == []


def test_containers_of_disabled_services_are_listed_and_do_not_fail(
    project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    stack(docker, configuration(db={}), container("db"), container("prometheus", "exited", code=1))
    status(project, docker.cli)
    assert line(capsys.readouterr().out, "prometheus")[1] == "exited (1)"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (119, "119 s"), (150, "2 min"), (7200, "2 h"), (200000, "2 d")]
)
def test_age_uses_the_largest_suitable_unit(seconds: float, text: str) -> None:
    assert age(datetime.now(UTC) - timedelta(seconds=seconds)) == text
    assert age(None) == "-"
