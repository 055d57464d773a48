"""Findings about settings, variables of the shell, and compose files."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.unit.toolkit.checks.doctor.findings import only, problems
from tests.unit.toolkit.conftest import FakeDocker, configuration
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup


def test_checkout_without_setup_fails(project: Project, docker: FakeDocker) -> None:
    project.env_file.unlink()
    found = problems(project, docker)
    assert [finding.check for finding in found if finding.outcome == "failed"] == ["settings"]
    assert {finding.fix for finding in found} == {"run: invoke setup"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("APP_PROT", "did you mean APP_PORT?"),
        ("POSTGRES_PASWORD", "POSTGRES_PASSWORD?"),
        ("XYZZY", "fix or delete"),
    ],
)
def test_unknown_variable_is_a_warning(project: Project, docker: FakeDocker, name: str, message: str) -> None:
    with project.env_file.open("a") as settings:
        settings.write(f"COMPOSE_PARALLEL_LIMIT=2\n{name}=1\n")
    finding = only(project, docker, "settings", "warning")
    assert name in finding.detail
    assert message in finding.fix


def test_variable_of_the_users_override_is_known(project: Project, docker: FakeDocker) -> None:
    (project.root / "docker-compose.override.yml").write_text("services: {app: {image: '${MINE}'}}\n")
    with project.env_file.open("a") as settings:
        settings.write("MINE=1\n")
    setup(project, None)
    assert problems(project, docker) == []


def test_outdated_settings_are_a_warning(project: Project, docker: FakeDocker) -> None:
    (project.root / "docker-compose.override.yml").write_text("services: {}\n")
    finding = only(project, docker, "settings", "warning")
    assert "COMPOSE_FILE" in finding.detail
    assert "docker-compose.override.yml" in finding.detail


def test_public_bind_address_fails(project: Project, docker: FakeDocker) -> None:
    with project.env_file.open("a") as settings:
        settings.write("BIND_ADDRESS=0.0.0.0\n")
    assert "loopback" in only(project, docker, "settings", "failed").detail


def test_readable_settings_are_a_warning(project: Project, docker: FakeDocker) -> None:
    project.env_file.chmod(0o640)
    assert only(project, docker, "permissions", "warning").fix == "run: chmod 600 .env"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("COMPOSE_FILE", "other.yml", "other.yml"),
        ("COMPOSE_PROJECT_NAME", "other", "other"),
        ("LOG_LEVEL", "error", "error"),
        ("REDIS_PASSWORD", "hunter2", "a password"),
    ],
)
def test_shell_variable_that_overrides_env_is_a_warning(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str
) -> None:
    monkeypatch.setenv(name, value)
    finding = only(project, docker, "shell", "warning")
    assert finding.detail.startswith(f"{name} is set in this shell ({shown})")
    assert finding.fix == f"run: unset {name}"
    monkeypatch.setenv(name, project.env.get(name, ""))


def test_shell_variable_with_the_same_value_is_ok(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPOSE_FILE", project.env["COMPOSE_FILE"])
    assert problems(project, docker) == []


def test_invalid_compose_files_fail(project: Project, docker: FakeDocker) -> None:
    docker.on("compose", "config", code=1, stderr='service "ap" has neither an image nor a build context')
    found = problems(project, docker)
    [failed] = [each for each in found if each.outcome == "failed"]
    assert (failed.check, "has neither an image" in failed.detail) == ("compose files", True)
    assert all("not checked: cannot read the compose files" in each.detail for each in found if each is not failed)


def test_warning_of_compose_is_reported(project: Project, docker: FakeDocker, services: dict[str, Any]) -> None:
    warning = 'time="2026-01-02T03:04:05Z" level=warning msg="The \\"X\\" variable is not set."\n'
    docker.on("compose", "config", "--format", stdout=configuration(**services), stderr=warning)
    assert only(project, docker, "compose files", "warning").detail == 'The "X" variable is not set.'


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_another_account_are_a_warning(project: Project, docker: FakeDocker) -> None:
    os.chown(project.root, 12345, 12345)
    os.chown(project.env_file, 12345, 12345)
    finding = only(project, docker, "permissions", "warning")
    assert finding.fix == "run: sudo chown -R 12345 secrets .netmon"
