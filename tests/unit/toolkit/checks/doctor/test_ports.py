"""Findings about published ports."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.toolkit.checks.doctor.findings import only, problems, reconfigure
from tests.unit.toolkit.conftest import FakeDocker
from toolkit.checkout.project import Project
from toolkit.checks.doctor import require_free_ports
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port in use by this process."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held


def publish_used_port(
    docker: FakeDocker, services: dict[str, Any], project: Project, held: socket.socket, variable: bool
) -> str:
    """Publish the port in use, and return it as text."""
    port = str(held.getsockname()[1])
    services["app"]["ports"][0]["published"] = port
    reconfigure(docker, services)
    if variable:
        with project.env_file.open("a") as settings:
            settings.write(f"APP_PORT={port}\n")
    return port


@pytest.mark.parametrize("variable", [True, False])
def test_port_in_use_by_a_process_fails(
    project: Project, docker: FakeDocker, services: dict[str, Any], listener: socket.socket, variable: bool
) -> None:
    port = publish_used_port(docker, services, project, listener, variable)
    finding = only(project, docker, "ports", "failed")
    assert f"port {port} for app" in finding.detail
    assert f"(pid {os.getpid()})" in finding.detail
    assert ("APP_PORT" in finding.fix) is variable
    assert ("override" in finding.fix) is not variable
    with pytest.raises(ToolkitError, match=rf"port {port} .*is taken"):
        require_free_ports(project, docker.cli)


def test_port_in_use_by_a_container_fails(
    project: Project, docker: FakeDocker, services: dict[str, Any], listener: socket.socket
) -> None:
    port = publish_used_port(docker, services, project, listener, variable=True)
    docker.on("ps", f"publish={port}/tcp", stdout="shop-web-1\tshop\n")
    assert "by the container shop-web-1 of project shop" in only(project, docker, "ports", "failed").detail
    docker.on("ps", f"publish={port}/tcp", stdout="lone\t\n")
    assert only(project, docker, "ports", "failed").detail.endswith("by the container lone")


def test_port_of_an_unlisted_container_is_awaited(
    project: Project, docker: FakeDocker, services: dict[str, Any], listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """After an interrupted `up` the engine's proxy holds the port, and the container is listed a moment later."""
    port = publish_used_port(docker, services, project, listener, variable=True)
    module = sys.modules[require_free_ports.__module__]
    monkeypatch.setattr(module, "_process", lambda *_: "docker-proxy (pid 1)")
    answers = iter(["", "", "network-monitor-app-1\tnetwork-monitor\tapp\n"])
    docker.answer("ps", f"publish={port}/tcp", by=lambda _: Result(0, next(answers), ""))
    require_free_ports(project, docker.cli)
    monkeypatch.setattr(module, "SETTLING_SECONDS", 0.3)
    docker.on("ps", f"publish={port}/tcp", stdout="")
    with pytest.raises(ToolkitError, match="docker-proxy"):
        require_free_ports(project, docker.cli)


def test_port_in_use_by_the_stack_is_ok(
    project: Project, docker: FakeDocker, services: dict[str, Any], listener: socket.socket
) -> None:
    port = publish_used_port(docker, services, project, listener, variable=True)
    docker.on("ps", f"publish={port}/tcp", stdout="network-monitor-app-1\tnetwork-monitor\tapp\n")
    assert problems(project, docker) == []
    require_free_ports(project, docker.cli)


def test_port_in_use_by_an_orphan_names_it_and_up_frees_it(
    project: Project, docker: FakeDocker, services: dict[str, Any], listener: socket.socket
) -> None:
    port = publish_used_port(docker, services, project, listener, variable=True)
    docker.on("ps", f"publish={port}/tcp", stdout="network-monitor-web-1\tnetwork-monitor\tweb\n")
    finding = only(project, docker, "ports", "failed")
    assert "network-monitor-web-1, which is left over from the service web: invoke up removes it" in finding.detail
    with pytest.raises(ToolkitError, match="left over from the service web"):
        require_free_ports(project, docker.cli)
    require_free_ports(project, docker.cli, {"network-monitor-web-1"})


def test_unknown_address_fails(project: Project, docker: FakeDocker, services: dict[str, Any]) -> None:
    services["app"]["ports"][0]["host_ip"] = "192.0.2.1"
    reconfigure(docker, services)
    assert "cannot be opened on 192.0.2.1" in only(project, docker, "ports", "failed").detail


def test_random_ports_are_not_checked(project: Project, docker: FakeDocker, services: dict[str, Any]) -> None:
    services["app"]["ports"] = [{"target": 1}, {"target": 2, "published": "4000-4005", "protocol": "tcp"}]
    reconfigure(docker, services)
    require_free_ports(project, docker.cli)
