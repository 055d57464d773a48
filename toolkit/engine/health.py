"""The state of each container of the stack, as reported by Docker, and the verdict that follows from it."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from toolkit.core.errors import ToolkitError
from toolkit.engine import shapes, stack_http
from toolkit.engine.compose import Docker

HEALTH_URL = "netmon.health.url"
"""The label of a service without a health check of its own: the URL of its health, requested from inside the stack."""

START_PERIOD = timedelta(seconds=60)
"""The start period of services with `HEALTH_URL`; the same as ``start_period`` in the compose files."""

CRASH_LOOP_RESTARTS = 3
"""The number of consecutive restarts from which a container counts as crash-looping."""

STABLE_AFTER = timedelta(seconds=10)
"""The uptime after which the engine resets the restart backoff of a container."""


RETRY = 1.0
"""Seconds between two requests for the health of a container."""


class Verdict(StrEnum):
    """The verdict on a container or a service."""

    OK = "ok"
    STARTING = "starting"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True)
class Check:
    """One run of a health check."""

    started: datetime
    code: int
    output: str


@dataclass(frozen=True)
class Port:
    """A container's port that is published on an address of the host."""

    inside: int
    host: str
    published: int

    @property
    def address(self) -> str:
        """The address for clients on this host."""
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"{host}:{self.published}"


@dataclass(frozen=True)
class ServiceState:
    """The state of one container of a service."""

    service: str
    replica: int
    container: str
    id: str
    status: str
    """created, running, paused, restarting, removing, exited or dead."""
    health: str
    """starting, healthy or unhealthy; empty without a health check."""
    exit_code: int
    restarts: int
    one_shot: bool
    """Whether the restart policy lets it complete with exit code 0."""
    started: datetime | None
    finished: datetime | None
    failing_streak: int
    checks: tuple[Check, ...]
    """The latest health checks, newest last."""
    out_of_memory: bool
    error: str
    """The reason why the engine could not start it."""
    ports: tuple[Port, ...]
    pid: int = 0
    """The main process on the engine's host; 0 while it does not run."""
    health_url: str = ""
    """See `HEALTH_URL`; empty for a container with a health check of its own."""

    @property
    def last_check(self) -> str:
        """The output of the latest health check, on one line."""
        return " ".join(self.checks[-1].output.split()) if self.checks else ""

    @property
    def crash_looping(self) -> bool:
        """Whether it repeatedly exits soon after its start."""
        if self.restarts < CRASH_LOOP_RESTARTS or self.status not in {"restarting", "running"}:
            return False
        age = datetime.now(UTC) - self.started if self.started else STABLE_AFTER
        return self.status == "restarting" or (self.health != "healthy" and age < STABLE_AFTER)

    @property
    def verdict(self) -> Verdict:
        """Whether the container is working, starting or completed, or has failed."""
        match self.status:
            case "running":
                return self._running()
            case "restarting":
                return Verdict.FAILED if self.crash_looping else Verdict.STARTING
            case "exited":
                return Verdict.DONE if self.one_shot and self.exit_code == 0 else Verdict.FAILED
            case "created":
                return Verdict.FAILED if self.error else Verdict.STARTING
            case "removing":
                return Verdict.STARTING
            case _:
                return Verdict.FAILED

    def _running(self) -> Verdict:
        if self.health == "unhealthy" or self.crash_looping:
            return Verdict.FAILED
        return Verdict.STARTING if self.health == "starting" else Verdict.OK

    @property
    def summary(self) -> str:
        """The state in a few words."""
        match self.status:
            case _ if self.crash_looping:
                text = "keeps restarting"
            case "running" if not self.health:
                text = "running, no health check"
            case "running":
                text = self.health
            case "exited" | "dead":
                text = f"{self.status} with code {self.exit_code}"
            case _:
                text = self.status
        if self.out_of_memory:
            text += ", out of memory"
        if self.restarts and self.verdict is not Verdict.OK:
            text += f", {self.restarts} restart{'s' if self.restarts > 1 else ''}"
        return text


def container_states(docker: Docker, project: str | None = None) -> list[ServiceState]:
    """The state of every container of the project, without one-off containers, by service and replica.

    Args:
        docker: Docker in the project's folder.
        project: The Compose project's name; default: Compose determines it, which takes longer than the inspection.

    Raises:
        ToolkitError: the engine does not answer.
    """
    return by_service(map(parse_container, docker.containers(project)))


def by_service(states: Iterable[ServiceState]) -> list[ServiceState]:
    """The states, sorted by service and replica."""
    return sorted(states, key=lambda state: (state.service, state.replica))


def parse_container(container: shapes.Container) -> ServiceState:
    """The state in a container's ``docker inspect``."""
    state, host = container["State"], container.get("HostConfig") or {}
    labels: Mapping[str, str] = container["Config"].get("Labels") or {}
    health: Mapping[str, Any] = state.get("Health") or {}
    policy = (host.get("RestartPolicy") or {}).get("Name") or "no"
    status = health.get("Status", "none")
    health_url = labels.get(HEALTH_URL, "") if status == "none" else ""
    return ServiceState(
        service=labels.get("com.docker.compose.service", ""),
        replica=int(labels.get("com.docker.compose.container-number", "1")),
        container=str(container["Name"]).lstrip("/"),
        id=container["Id"],
        status=state["Status"],
        health=("starting" if health_url else "") if status == "none" else status,
        exit_code=int(state.get("ExitCode") or 0),
        restarts=int(container.get("RestartCount") or 0),
        one_shot=policy in {"no", "on-failure"},
        started=parse_time(state.get("StartedAt", "")),
        finished=parse_time(state.get("FinishedAt", "")),
        failing_streak=int(health.get("FailingStreak") or 0),
        checks=tuple(
            Check(started, int(check["ExitCode"]), check.get("Output", ""))
            for check in health.get("Log") or ()
            if (started := parse_time(check["Start"]))
        ),
        out_of_memory=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        ports=tuple(published_ports(container)),
        pid=int(state.get("Pid") or 0),
        health_url=health_url,
    )


def with_http_health(docker: Docker, found: Sequence[ServiceState]) -> list[ServiceState]:
    """The same states, with the health of running containers that have a `HEALTH_URL`, from one HTTP request each.

    A container that does not answer is starting during its `START_PERIOD`, and unhealthy afterwards.
    """
    over_http = [state for state in found if state.health_url and state.status == "running"]
    if not over_http:
        return list(found)
    try:
        requests = [stack_http.Request(state.health_url) for state in over_http]
        responses = stack_http.fetch(docker, requests, sender_of(found))
        problems = [response.problem for response in responses]
    except ToolkitError as error:
        problems = [error.why or error.what] * len(over_http)
    now = datetime.now(UTC)
    health = {}
    for state, problem in zip(over_http, problems, strict=True):
        starting = state.started is not None and now - state.started < START_PERIOD
        verdict = ("starting" if starting else "unhealthy") if problem else "healthy"
        check = Check(now, 1 if problem else 0, problem and f"{state.health_url}: {problem}")
        health[state.id] = replace(state, health=verdict, failing_streak=check.code, checks=(check,))
    return [health.get(state.id, state) for state in found]


@dataclass
class HttpHealth:
    """`with_http_health` during a wait. Each request takes CPU time from the services that are starting.

    Requests are sent as soon as a container runs that can send them, and repeated after `RETRY` until a container is
    healthy. That result holds until the container's next start.
    """

    docker: Docker
    _latest: dict[str, ServiceState] = field(default_factory=dict)
    _next: float = 0

    def add(self, found: Sequence[ServiceState], services: Container[str]) -> list[ServiceState]:
        """The same states; those of ``services`` with a `HEALTH_URL` have their latest health."""
        states = [self._with_latest(state) for state in found]
        starting = [state for state in states if state.service in services and state.verdict is Verdict.STARTING]
        over_http = [state for state in states if state.health_url and state.service in services]
        due = time.monotonic() >= self._next and any(state.health != "healthy" for state in over_http)
        if due and (sender_of(found) or all(state.health_url for state in starting)):
            states = with_http_health(self.docker, states)
            self._latest = {state.id: state for state in states if state.health_url}
            self._next = time.monotonic() + RETRY
        return states

    def _with_latest(self, state: ServiceState) -> ServiceState:
        latest = self._latest.get(state.id)
        return latest if latest and (latest.status, latest.started) == (state.status, state.started) else state


def sender_of(found: Sequence[ServiceState]) -> str | None:
    """The container that can send requests from inside the stack; None if none of them runs."""
    running = {state.service: state.id for state in reversed(found) if state.status == "running"}
    return next((running[service] for service in stack_http.SENDERS if service in running), None)


def published_ports(container: shapes.Container) -> list[Port]:
    """The ports that the container currently publishes; none while it is stopped."""
    ports: Mapping[str, Any] = (container.get("NetworkSettings") or {}).get("Ports") or {}
    return [
        Port(int(inside.partition("/")[0]), binding["HostIp"], int(binding["HostPort"]))
        for inside, bindings in ports.items()
        for binding in bindings or ()
    ]


def parse_time(text: str) -> datetime | None:
    """Parse a time of the engine (RFC 3339 with nanoseconds, any offset); None for its zero time.

    Raises:
        ValueError: the text is not a time.
    """
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text).astimezone(UTC)
