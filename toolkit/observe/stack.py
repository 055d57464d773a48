"""The running stack as these checks see it: what is on, and how its programs are asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from toolkit.checkout.project import Project
from toolkit.engine import stack_http
from toolkit.engine.compose import Docker
from toolkit.engine.health import ServiceState, container_states
from toolkit.engine.stack_http import Request, Response
from toolkit.images import unavailable

PORTS = {
    "app": 3000,
    "prometheus": 9090,
    "alertmanager": 9093,
    "grafana": 3000,
    "loki": 3100,
    "tempo": 3200,
    "victorialogs": 9428,
    "jaeger": 16686,
    "otel-collector": 13133,
    "blackbox-exporter": 9115,
}
"""Where the programs answer inside the stack."""


@dataclass(frozen=True)
class Stack:
    """The services that are switched on, those of them that run, and those that the images in use do not have."""

    project: Project
    docker: Docker
    services: Mapping[str, Mapping[str, Any]]
    running: frozenset[str]
    unavailable: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The folder of the checkout."""
        return self.project.root

    @classmethod
    def read(cls, project: Project, docker: Docker) -> Stack:
        """Ask Compose and the engine.

        Raises:
            ToolkitError: they cannot be asked.
        """
        name = docker.project_name()
        return cls.of(project, docker, container_states(docker, name), unavailable.services(project, docker))

    @classmethod
    def of(cls, project: Project, docker: Docker, found: Iterable[ServiceState], lacking: Iterable[str]) -> Stack:
        """The stack with containers that were looked up already, and with what its images do not have."""
        services = docker.effective()["services"]
        running = {state.service for state in found if state.status == "running"}
        return cls(project, docker, services, frozenset(running & services.keys()), tuple(sorted(lacking)))

    def fetch(self, requests: Sequence[Request]) -> list[Response]:
        """Send requests from inside, see `toolkit.engine.stack_http.fetch`."""
        return stack_http.fetch(self.docker, requests)

    def get(self, service: str, path: str, **parameters: str) -> Response:
        """GET from one service."""
        return self.fetch([Request(url(service, path, **parameters))])[0]

    def why_not(self, service: str) -> str:
        """Why a service cannot be asked; empty where it runs."""
        if service in self.running:
            return ""
        if service in self.unavailable:
            return f"{service} is {unavailable.REASON}"
        return f"{service} does not run" if service in self.services else f"{service} is switched off"


def url(service: str, path: str, **parameters: str) -> str:
    """The address of a program inside the stack."""
    query = f"?{urlencode(parameters)}" if parameters else ""
    return f"http://{service}:{PORTS[service]}{path}{query}"


def data(response: Response) -> Any:
    """What Prometheus (and Loki, whose API is alike) answered; None where it is an error."""
    document = response.json()
    return document.get("data") if response.ok and isinstance(document, dict) else None
