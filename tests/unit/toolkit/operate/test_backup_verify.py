"""The verification of a backup in a project of its own, which can fail, and touches nothing of the live one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core import envfile
from toolkit.core.errors import ToolkitError
from toolkit.engine import backup_service
from toolkit.engine.compose import Result
from toolkit.operate.backup import verify

ROWS = {"public.targets": 3, "public.results": 5000}
LIVE, OWN = "netmon", "netmon-verify"


class Stack:
    """A live stack whose names depend on the project's, and one that is restored."""

    def __init__(self, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.docker = docker
        self.fixed: dict[str, str] = {}
        self.restored, self.counted, self.served = dict(ROWS), dict(ROWS), 3
        self.health = "running healthy"
        for words in (("create",), ("up",), ("down",), ("volume", "rm"), ("run", "--detach")):
            docker.on(*words)
        docker.on("volume", "ls", stdout=f"{OWN}_kafka_data\n{OWN}_postgres_data\n")
        docker.answer("compose", "config", by=self.config)
        docker.answer("run", "rehearse", by=lambda _: self.result({"verified": "all equal", "rows": self.restored}))
        docker.answer("exec", "psql", by=lambda _: self.lines())
        docker.on("ps", "--all", stdout="c1\n")
        docker.answer("inspect", by=lambda _: Result(0, f"{self.health}\n", ""))
        docker.answer("exec", "c1", "python", by=lambda _: Result(0, f"{self.served}\n", ""))
        monkeypatch.setattr(backup_service, "is_running", lambda _: True)
        monkeypatch.setattr(verify, "POLL_SECONDS", 0)

    def config(self, _: list[str]) -> Result:
        project = str(self.docker.environments[-1].get("COMPOSE_PROJECT_NAME") or LIVE)

        def names(*keys: str) -> dict[str, Any]:
            return {key: {"name": self.fixed.get(key, f"{project}_{key}")} for key in keys}

        services: dict[str, Any] = {
            "db": {"networks": {"app-network": {}}},
            "app": {"networks": {"app-network": {}, "edge": {}}},
        }
        found = {"name": self.fixed.get("project", project), "services": services,
                 "volumes": names("postgres_data"), "networks": names("app-network", "edge")}  # fmt: skip
        return Result(0, json.dumps(found), "")

    @staticmethod
    def result(value: Any) -> Result:
        return Result(0, json.dumps({"result": value}) + "\n", "")

    def lines(self) -> Result:
        return Result(0, "".join(f"{name}|{rows}\n" for name, rows in self.counted.items()), "")

    def removals(self) -> int:
        """How often the project and its volumes were removed."""
        volumes = self.docker.ran("volume", "rm")
        assert all(each[-2:] == [f"{OWN}_kafka_data", f"{OWN}_postgres_data"] for each in volumes)
        assert all(each[-1].endswith(f"project={OWN}") for each in self.docker.ran("volume", "ls"))
        downs = self.docker.ran("compose", "down")
        assert not any("--volumes" in each for each in downs), (
            "a volume with a fixed name may be that of the live stack"
        )
        assert len(downs) == len(volumes)
        return len(downs)


@pytest.fixture
def stack(project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Stack:
    envfile.update(project.env_file, {"BACKUP_TARGET": "/mnt/backup"})
    setup(project, "dev", groups=["backup"])
    return Stack(docker, monkeypatch)


def test_the_newest_backup_is_restored_started_compared_and_removed(
    project: Project, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    verify.verify(project, stack.docker.cli)
    [restored] = stack.docker.ran("run", "rehearse")
    assert f"{OWN}_postgres_data:/restore" in restored
    [started] = stack.docker.ran("up", "--wait")
    assert started[-1] == "db"
    assert stack.docker.ran("run", "--detach")[0][-1] == "app"
    output = capsys.readouterr().out
    assert "all equal" in output
    assert "the same rows in 2 tables" in output
    assert "serves 3 of 3 targets" in output
    assert stack.removals() == 2, "what was left before, and what was made"
    for call, environment in zip(stack.docker.calls, stack.docker.environments, strict=True):
        if {"create", "up", "down", "psql"} & set(call):
            assert environment["COMPOSE_PROJECT_NAME"] == OWN, call


@pytest.mark.parametrize(
    ("counted", "why"),
    [
        ({**ROWS, "public.results": 4999}, "public.results: 4999 rows instead of 5000"),
        ({"public.targets": 3}, "public.results: None rows instead of 5000"),
        ({**ROWS, "public.more": 1}, "public.more: 1 rows instead of None"),
    ],
)
def test_a_difference_is_an_error(project: Project, stack: Stack, counted: dict[str, int], why: str) -> None:
    stack.counted = counted
    with pytest.raises(ToolkitError, match="the restored database differs from the live one") as error:
        verify.verify(project, stack.docker.cli)
    assert error.value.why == why
    assert stack.removals() == 2


@pytest.mark.parametrize(
    ("restored", "counted"),
    [({}, {}), (ROWS, {}), ({"public.targets": 0}, {"public.targets": 0}), ({}, {"public.targets": 0})],
)
def test_a_verification_that_compares_nothing_is_an_error(
    project: Project, stack: Stack, restored: dict[str, int], counted: dict[str, int]
) -> None:
    stack.restored, stack.counted = restored, counted
    with pytest.raises(ToolkitError, match="nothing was compared"):
        verify.verify(project, stack.docker.cli)
    assert stack.removals() == 2


def test_an_application_without_the_targets_is_an_error(project: Project, stack: Stack) -> None:
    stack.served = 2
    with pytest.raises(ToolkitError, match="does not serve the restored database") as error:
        verify.verify(project, stack.docker.cli)
    assert error.value.why == "it serves 2 targets instead of 3"


def test_a_page_of_targets_is_compared(project: Project, stack: Stack) -> None:
    stack.restored = stack.counted = {"public.targets": 1000}
    stack.served = 200
    verify.verify(project, stack.docker.cli)


@pytest.mark.parametrize("health", ["exited unhealthy", "restarting starting"])
def test_an_application_that_does_not_start_is_an_error(project: Project, stack: Stack, health: str) -> None:
    stack.health = health
    stack.docker.on("logs", stdout="cannot migrate")
    with pytest.raises(ToolkitError, match="does not start on the restored database") as error:
        verify.verify(project, stack.docker.cli)
    assert "cannot migrate" in error.value.why
    assert stack.removals() == 2


@pytest.mark.parametrize("key", ["postgres_data", "edge", "project"])
def test_a_fixed_name_is_refused_before_anything_is_removed(project: Project, stack: Stack, key: str) -> None:
    """The other project would use, and remove, what belongs to the live stack."""
    stack.fixed[key] = "fixed"
    with pytest.raises(ToolkitError, match="cannot verify in a project of its own") as error:
        verify.verify(project, stack.docker.cli)
    assert "has a fixed name" in error.value.why
    assert not {"down", "rm", "create", "run"} & {word for call in stack.docker.calls for word in call}


def test_a_restore_that_fails_is_an_error_and_its_project_is_removed(project: Project, stack: Stack) -> None:
    error = {"error": {"what": "no backup is intact", "why": "x", "fix": "y"}}
    stack.docker.on("run", "rehearse", stdout=json.dumps(error) + "\n", code=1)
    with pytest.raises(ToolkitError, match="no backup is intact"):
        verify.verify(project, stack.docker.cli)
    assert stack.removals() == 2


def test_the_service_must_run(project: Project, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_service, "is_running", lambda _: False)
    with pytest.raises(ToolkitError, match="the service backup does not run"):
        verify.verify(project, stack.docker.cli)
