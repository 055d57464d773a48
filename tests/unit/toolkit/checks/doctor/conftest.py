"""A healthy checkout, host and engine."""

from __future__ import annotations

import shutil
import socket
from typing import Any

import pytest

from tests.unit.toolkit.checks.doctor.findings import Usage
from tests.unit.toolkit.conftest import CHECKOUT, INFO, FakeDocker, configuration
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.checks.doctor import host
from toolkit.engine import health


@pytest.fixture(autouse=True)
def services(project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A healthy checkout, host and engine; tests may change the services."""
    setup(project, "dev", images="local", folder=str(INFO["DockerRootDir"]))
    shutil.copytree(CHECKOUT / "scripts" / "container", project.root / "scripts" / "container")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with project.env_file.open("a") as settings:
        settings.write(f"APP_PORT={port}\n")
    app = {
        "image": "app:1",
        "deploy": {"resources": {"limits": {"memory": "1000000000"}}, "replicas": 2},
        "ports": [{"host_ip": "127.0.0.1", "published": port, "target": 3000, "protocol": "tcp"}],
        "volumes": [{"type": "bind", "source": str(project.root / "scripts" / "container"), "target": "/opt/netmon"}],
    }
    config = configuration(app=app)
    docker.on("info", stdout=INFO)
    docker.on("compose", "config", stdout=config)
    docker.on("compose", "config", "--hash", stdout="app 1234\n")
    docker.on("image", "inspect", stdout=[{}])
    docker.on("ps", stdout="")
    monkeypatch.setattr(health, "container_states", lambda *_: [])  # for the check of failures, which has its own tests
    monkeypatch.setattr(host, "engine_files_limit", lambda: host.FILES)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 0, 50_000_000_000))
    services: dict[str, Any] = config["services"]
    return services
