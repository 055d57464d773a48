"""The running stack for these checks: enabled, running and unavailable services, and requests to their programs."""

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
}
"""The HTTP ports of the programs inside the stack."""


@dataclass(frozen=True)
class Stack:
    """The enabled services, those that are running, and those unavailable in the image set in use."""

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
        """Read the stack from Compose and the engine.

        Raises:
            ToolkitError: Compose or the engine fails.
        """
        name = docker.project_name()
        return cls.of(project, docker, container_states(docker, name), unavailable.services(project))

    @classmethod
    def of(cls, project: Project, docker: Docker, found: Iterable[ServiceState], missing: Iterable[str]) -> Stack:
        """The stack with known containers (``found``) and services ``missing`` from its image set."""
        services = docker.effective()["services"]
        running = {state.service for state in found if state.status == "running"}
        return cls(project, docker, services, frozenset(running & services.keys()), tuple(sorted(missing)))

    def fetch(self, requests: Sequence[Request]) -> list[Response]:
        """Send requests from inside the stack, see `toolkit.engine.stack_http.fetch`."""
        return stack_http.fetch(self.docker, requests)

    def get(self, service: str, path: str, **parameters: str) -> Response:
        """GET from a service."""
        return self.fetch([Request(url(service, path, **parameters))])[0]

    def unavailable_reason(self, service: str) -> str:
        """Why a service cannot be queried; empty if it is running."""
        if service in self.running:
            return ""
        if service in self.unavailable:
            return f"{service} is {unavailable.REASON}"
        return f"{service} is not running" if service in self.services else f"{service} is disabled"


def url(service: str, path: str, **parameters: str) -> str:
    """The URL of a program inside the stack."""
    query = f"?{urlencode(parameters)}" if parameters else ""
    return f"http://{service}:{PORTS[service]}{path}{query}"


def data(response: Response) -> Any:
    """The data in a response of Prometheus or Loki, whose API is the same; None for an error."""
    document = response.json()
    return document.get("data") if response.ok and isinstance(document, dict) else None
