"""The findings of the doctor, and the host and the configuration that it examines."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.unit.toolkit.conftest import INFO, FakeDocker, configuration
from toolkit.checkout.project import Project
from toolkit.checks.doctor import doctor
from toolkit.core.report import Finding


def information(engine: str = "28.5.2", **plugins: str) -> dict[str, Any]:
    """The output of `docker info` with these versions."""
    versions = {"compose": "2.40.3", "buildx": "v0.29.1", **plugins}
    client = {"Plugins": [{"Name": name, "Version": version} for name, version in versions.items() if version]}
    return {**INFO, "ServerVersion": engine, "ClientInfo": client}


class Usage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


def reconfigure(docker: FakeDocker, services: dict[str, Any], **more: object) -> None:
    """Change the effective configuration."""
    docker.on("compose", "config", "--format", stdout={**configuration(**services), **more})


def problems(project: Project, docker: FakeDocker) -> list[Finding]:
    """The findings that are not ok."""
    return [finding for finding in doctor(project, docker.cli).findings if finding.outcome != "ok"]


def only(project: Project, docker: FakeDocker, check: str, level: str) -> Finding:
    """The only problem."""
    [finding] = problems(project, docker)
    assert (finding.check, finding.outcome) == (check, level), finding
    assert finding.fix
    return finding
