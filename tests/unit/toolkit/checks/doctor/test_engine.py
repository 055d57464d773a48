"""Findings about the host and its engine: the problem, and the command that fixes it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.toolkit.checks.doctor.findings import Usage, information, only, problems, reconfigure
from tests.unit.toolkit.conftest import INFO, FakeDocker
from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checks.doctor import doctor, require_engine, require_engine_folder
from toolkit.core.errors import ToolkitError


def test_healthy_checkout_has_no_problem(project: Project, docker: FakeDocker) -> None:
    findings = doctor(project, docker.cli).findings
    assert {finding.outcome for finding in findings} == {"ok"}
    assert {finding.check for finding in findings} >= {
        "engine", "compose", "buildx", "limits", "memory", "disk", "settings", "permissions", "secrets", "shell",
        "compose files", "mounts", "ports", "containers", "leftovers", "data",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("check", "version", "message"),
    [
        ("engine", "24.0.9", "Docker Engine 24.0.9 is too old: 25 or newer"),
        ("compose", "v2.23.3-desktop", "Docker Compose 2.23.3-desktop is too old: 2.24"),
        ("buildx", "v0.16.2", "buildx 0.16.2 is too old"),
        ("buildx", "(devel)", "buildx reports no version"),
        ("buildx", "", "the plugin is not installed"),
    ],
)
def test_old_or_missing_program_fails(
    project: Project, docker: FakeDocker, check: str, version: str, message: str
) -> None:
    docker.on("info", stdout=information(**{check: version}))
    assert message in only(project, docker, check, "failed").detail


def test_isolated_networks_require_engine_28(project: Project, docker: FakeDocker, services: dict[str, Any]) -> None:
    isolated = {"driver_opts": {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}}
    docker.on("info", stdout=information("27.9.0"))
    assert problems(project, docker) == []
    reconfigure(docker, services, networks={"app-network": isolated})
    assert "27.9.0 is too old: 28" in only(project, docker, "engine", "failed").detail


def test_networks_with_ipv6_require_engine_27(project: Project, docker: FakeDocker, services: dict[str, Any]) -> None:
    docker.on("info", stdout=information("26.1.0"))
    assert problems(project, docker) == []
    reconfigure(docker, services, networks={"egress-network": {"enable_ipv6": True}})
    found = only(project, docker, "engine", "failed")
    assert "26.1.0 is too old: 27" in found.detail
    assert "ENABLE_IPV6=false" in found.fix


def test_require_engine_raises_without_compose_or_with_an_old_engine(docker: FakeDocker) -> None:
    require_engine(docker.cli)
    docker.on("info", stdout=information(compose=""))
    with pytest.raises(ToolkitError, match="cannot run docker compose: the plugin is not installed") as error:
        require_engine(docker.cli)
    assert "Compose plugin" in error.value.fix
    docker.on("info", stdout=information("24.0.9"))
    with pytest.raises(ToolkitError, match="too old"):
        require_engine(docker.cli)


def test_unreachable_engine_does_not_stop_other_checks(project: Project, docker: FakeDocker) -> None:
    unreachable = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"
    for command in ("ps", "image"):
        docker.on("docker", command, code=1, stderr=unreachable)
    docker.on("docker", "info", code=1, stderr=unreachable, stdout=information(""))
    found = problems(project, docker)
    assert [finding.check for finding in found if finding.outcome == "failed"] == ["engine"]
    assert {finding.check for finding in found} == {
        "engine", "limits", "memory", "disk", "engine files", "containers", "leftovers", "data", "processor",
        "user namespace", "file system", "firewall", "time", "minimum memory",
    }  # fmt: skip
    assert all("not checked" in finding.detail for finding in found if finding.outcome == "warning")
    assert {"systemctl start docker" in finding.fix for finding in found} == {True}


def test_missing_docker_does_not_stop_checks_of_the_checkout(project: Project, docker: FakeDocker) -> None:
    docker.answer("docker", by=ToolkitError("cannot run docker", "the program is not installed", "install it"))
    credentials.path_of(project, "redis_password").write_text("")
    failed = {finding.check for finding in problems(project, docker) if finding.outcome == "failed"}
    assert failed == {"engine", "compose", "buildx", "secrets"}


def test_unenforced_limits_are_a_warning(project: Project, docker: FakeDocker) -> None:
    docker.on("info", stdout={**INFO, "MemoryLimit": False, "PidsLimit": False})
    assert "limits of memory, processes" in only(project, docker, "limits", "warning").detail


def test_insufficient_memory_is_a_warning(project: Project, docker: FakeDocker) -> None:
    docker.on("info", stdout={**INFO, "MemTotal": 1_900_000_000})
    assert "may take 2.0 GB, this machine has 1.9 GB" in only(project, docker, "memory", "warning").detail


@pytest.mark.parametrize(
    ("free", "images", "message"),
    [(1.9, True, "2 GB required to run"), (9.9, False, "10 GB required to pull or build"), (9.9, True, None)],
)
def test_insufficient_disk_space_fails(
    project: Project,
    docker: FakeDocker,
    monkeypatch: pytest.MonkeyPatch,
    free: float,
    images: bool,
    message: str | None,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 0, int(free * 1e9)))
    if not images:
        docker.on("image", "inspect", code=1, stderr="No such image: app:1")
    if message:
        assert message in only(project, docker, "disk", "failed").detail
    else:
        assert problems(project, docker) == []


def test_wrong_engine_folder_fails(project: Project, docker: FakeDocker) -> None:
    docker.on("info", stdout={**INFO, "DockerRootDir": "/srv/docker"})
    found = {each.check: each for each in problems(project, docker)}
    assert {name: each.outcome for name, each in found.items()} == {"engine files": "failed", "disk": "skipped"}
    assert "/srv/docker" in found["engine files"].detail


@pytest.mark.parametrize("readers", [0, 1])
def test_reader_of_engine_files_requires_a_local_engine(docker: FakeDocker, readers: int) -> None:
    docker.on("info", stdout={**INFO, "DockerRootDir": "/nowhere/docker"})
    logs = {"volumes": [{"type": "bind", "source": "/nowhere/docker/containers", "target": "/logs"}]}
    reconfigure(docker, {"app": {}, **({"otel-collector": logs} if readers else {})})
    if readers:
        with pytest.raises(ToolkitError, match="otel-collector cannot read the engine's files") as raised:
            require_engine_folder(docker.cli)
        assert "--without=monitoring" in raised.value.fix
    else:
        require_engine_folder(docker.cli)


def test_local_engine_files_are_ok(docker: FakeDocker, tmp_path: Path) -> None:
    docker.on("info", stdout={**INFO, "DockerRootDir": str(tmp_path)})
    require_engine_folder(docker.cli)
