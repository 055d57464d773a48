"""Wait until the services are healthy: live progress, and a fast failure if one can no longer become healthy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from toolkit.core.console import STYLES, console, say, spinner
from toolkit.core.errors import ToolkitError, require_known
from toolkit.engine import compose, diagnosis, shapes
from toolkit.engine.compose import Docker, Result
from toolkit.engine.containers import Containers
from toolkit.engine.health import HttpHealth, ServiceState, Verdict

LOG_LINES = 15
"""Log lines of a failed container that an error shows."""

DIAGNOSED_LINES = 400
"""Log lines of a failed container in which the cause is searched: RabbitMQ prints it above a long stack trace."""


@dataclass(frozen=True)
class Service:
    """The containers of a service, and their expected number."""

    name: str
    expected: int
    states: tuple[ServiceState, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of its containers; starting while one of them is missing."""
        verdicts = {state.verdict for state in self.states}
        if Verdict.FAILED in verdicts:
            return Verdict.FAILED
        if Verdict.STARTING in verdicts or len(self.states) < self.expected:
            return Verdict.STARTING
        return Verdict.DONE if verdicts == {Verdict.DONE} else Verdict.OK

    @property
    def ready(self) -> bool:
        """Whether it is healthy or completed."""
        return self.verdict in {Verdict.OK, Verdict.DONE}

    @property
    def summary(self) -> str:
        """Its state in a few words."""
        if not self.states:
            return "not created"
        texts = list(dict.fromkeys(state.summary for state in self.states))
        missing = self.expected - len(self.states)
        return ", ".join([*texts, *([f"{missing} not created"] if missing > 0 else [])])


@dataclass
class Watch:
    """The history of a wait: when each service last changed and when it became ready.

    ``dependencies`` maps each service to its direct and indirect dependencies.
    """

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    dependencies: Mapping[str, frozenset[str]] = field(default_factory=dict)
    changed: dict[str, datetime] = field(default_factory=dict)
    _seen: dict[str, object] = field(default_factory=dict)
    _ready: dict[str, datetime] = field(default_factory=dict)

    def update(self, services: Sequence[Service]) -> None:
        """Record the current states of the services."""
        now = datetime.now(UTC)
        for service in services:
            seen = [(state.id, state.status, state.health, state.restarts) for state in service.states]
            if self._seen.setdefault(service.name, seen) != seen:
                self._seen[service.name] = seen
                self.changed[service.name] = now
            if service.ready:
                self._ready.setdefault(service.name, now)
            else:
                self._ready.pop(service.name, None)

    def seconds(self, service: str) -> float:
        """Seconds from the start of the wait until the service was ready, or until now."""
        return (self._ready.get(service, datetime.now(UTC)) - self.started).total_seconds()

    def unrecoverable(self, services: Sequence[Service], *, starting: bool) -> list[tuple[Service, ServiceState]]:
        """The containers that can no longer become healthy.

        An unhealthy container may recover once another service becomes available. It counts as unrecoverable when
        nothing is starting any more and a health check that began after the last change of another service has failed.
        A crash-looping container may exit because a dependency is not ready. It counts as unrecoverable when it exits
        again after all its dependencies have become ready.

        Args:
            services: The current states.
            starting: ``docker compose up`` is still running: failures from before the wait are ignored.
        """
        failed = [
            (service, state)
            for service in services
            for state in service.states
            if (state.verdict is Verdict.FAILED or (state.health == "starting" and diagnosis.is_permanent(state)))
            and (not starting or (state.started and state.started >= self.started))
            and not (state.crash_looping and self._awaits_dependency(service, state, services))
        ]
        final = [(service, state) for service, state in failed if not running_unhealthy(state)]
        any_starting = any(state.verdict is Verdict.STARTING for service in services for state in service.states
                           if state.status == "running")  # fmt: skip
        if final or any_starting or not all(self._checked_since_change(service, state) for service, state in failed):
            return final
        return failed

    def _awaits_dependency(self, service: Service, state: ServiceState, services: Sequence[Service]) -> bool:
        """Whether the container has not been started since all dependencies of its service became ready."""
        needed = [other for other in services if other.name in self.dependencies.get(service.name, ())]
        if not all(other.ready for other in needed):
            return True
        ready = max((self._ready[other.name] for other in needed), default=self.started)
        return bool(needed) and (state.started is None or state.started < ready)

    def _checked_since_change(self, service: Service, state: ServiceState) -> bool:
        others_changed = max((at for name, at in self.changed.items() if name != service.name), default=self.started)
        return bool(state.checks) and state.checks[-1].started > others_changed


def running_unhealthy(state: ServiceState) -> bool:
    """Whether the container is running and its health check fails."""
    return state.status == "running" and state.health == "unhealthy"


def wait(
    docker: Docker, timeout: float, services: Sequence[str] = (), starting: Future[Result] | None = None
) -> list[ServiceState]:
    """Wait until the services are healthy; one-shot services until they have completed.

    Args:
        docker: Docker in the project's folder.
        timeout: Seconds.
        services: Only these services; default: all enabled ones.
        starting: A concurrent ``docker compose up``.

    Returns:
        The state of every container of the project.

    Raises:
        ToolkitError: a service can no longer become healthy, the timeout expired, ``starting`` failed, there is nothing
            to wait for, or a service is unknown (exit code 2).
    """
    config = docker.effective()
    watch = Watch(dependencies=dependencies(config))
    expected = expected_replicas(config, services)
    deadline = time.monotonic() + timeout
    with progress(watch) as show, Containers.following(docker, config["name"]) as containers:
        over_http = HttpHealth(docker)
        if starting:
            starting.add_done_callback(lambda _: containers.changed())
        while True:
            busy = starting is not None and not starting.done()
            found = group_by_service(over_http.add(containers.states, expected), expected)
            watch.update(found)
            show(found)
            if stuck := watch.unrecoverable(found, starting=busy):
                raise unhealthy_error(docker, stuck)
            if starting and not busy:
                require_started(docker, starting.result(), found)
                starting = None
                containers.refresh()
                continue
            if not busy and all(service.ready for service in found):
                return containers.states
            if time.monotonic() > deadline:
                raise timeout_error(found, timeout)
            containers.await_change(deadline)


def wait_for(docker: Docker, project: str, service: str, containers: Sequence[str], timeout: float) -> None:
    """Wait until certain containers of a service are healthy, regardless of its other containers.

    Args:
        docker: Docker in the project's folder.
        project: The Compose project.
        service: Their service.
        containers: Their ids, without one-off containers.
        timeout: Seconds.

    Raises:
        ToolkitError: one of them can no longer become healthy, or the timeout expired.
    """
    watch = Watch()
    deadline = time.monotonic() + timeout
    with Containers.following(docker, project) as current:
        while True:
            found = tuple(state for state in current.states if state.id in containers)
            looked = Service(service, len(containers), found)
            watch.update([looked])
            if stuck := watch.unrecoverable([looked], starting=False):
                raise unhealthy_error(docker, stuck)
            if looked.ready:
                return
            if time.monotonic() > deadline:
                raise timeout_error([looked], timeout)
            current.await_change(deadline)


def expected_replicas(config: shapes.Configuration, services: Sequence[str] = ()) -> dict[str, int]:
    """The services that should run, with their number of replicas.

    Raises:
        ToolkitError: one of ``services`` is unknown (exit code 2), or none of them should run.
    """
    counts: dict[str, int] = {}
    for name, service in config["services"].items():
        count = (service.get("deploy") or {}).get("replicas", service.get("scale"))
        counts[name] = 1 if count is None else int(count)
    wanted = [require_known("service", name, counts) for name in services] or list(counts)
    expected = {name: counts[name] for name in wanted if counts[name]}
    if not expected:
        what = ", ".join(services) or "every service"
        raise ToolkitError("there is nothing to wait for", f"{what} has no replicas or is switched off",
                           "invoke config shows which services are enabled")  # fmt: skip
    return expected


def dependencies(config: shapes.Configuration) -> dict[str, frozenset[str]]:
    """The direct and indirect dependencies of each service, under any condition."""
    direct = {name: frozenset(service.get("depends_on") or ()) for name, service in config["services"].items()}
    found = dict(direct)
    for _ in direct:
        found = {name: needed.union(*(found.get(each, ()) for each in needed)) for name, needed in found.items()}
    return found


def group_by_service(found: Sequence[ServiceState], expected: Mapping[str, int]) -> list[Service]:
    """The expected services with their containers."""
    return [
        Service(name, count, tuple(state for state in found if state.service == name))
        for name, count in expected.items()
    ]


def require_started(docker: Docker, result: Result, services: Sequence[Service]) -> None:
    """Return if ``docker compose up`` succeeded.

    Raises:
        ToolkitError: it failed. If a container has failed, the error shows its log, which explains more than Compose.
    """
    if result.code == 0:
        return
    error = compose.explain("start the stack", result)
    broken = [
        (service, state)
        for service in services
        for state in service.states
        if state.verdict is Verdict.FAILED or state.status == "restarting"
    ]
    raise unhealthy_error(docker, broken) if broken and not error.fix else error


def unhealthy_error(docker: Docker, stuck: Sequence[tuple[Service, ServiceState]]) -> ToolkitError:
    """The error for failed containers: state, last log lines, likely cause and fix of each."""
    reasons, fixes = [], []
    for service, state in stuck:
        log = last_lines(docker, state, DIAGNOSED_LINES)
        lines = [f"{state.container}: {state.summary}"]
        if state.error:
            lines.append(f"engine error: {state.error}")
        if state.last_check and state.health != "healthy":
            lines.append(f"health check: {state.last_check[-500:]}")
        lines += [f"| {line}" for line in log[-LOG_LINES:]] or ["no log output"]
        if cause := diagnosis.cause(state, "\n".join(log)):
            lines.append(f"likely cause: {cause.why}")
            fixes.append(f"{service.name}: {cause.fix}")
        else:
            fixes.append(f"{service.name}: invoke logs --service={service.name} shows the complete log")
        reasons.append("\n    ".join(lines))
    names = ", ".join(dict.fromkeys(service.name for service, _ in stuck))
    return ToolkitError(f"{names} cannot become healthy", "\n  ".join(reasons), "\n       ".join(dict.fromkeys(fixes)))


def timeout_error(services: Sequence[Service], timeout: float) -> ToolkitError:
    """The error for an expired timeout: the services that are not healthy, with their states."""
    waiting = [service for service in services if not service.ready]
    reasons = []
    for service in waiting:
        output = next(
            (state.last_check for state in service.states if state.last_check and state.health != "healthy"), ""
        )
        reasons.append(f"{service.name}: {service.summary}" + (f": {output[-500:]}" if output else ""))
    logs = " ".join(f"--service={service.name}" for service in waiting)
    return ToolkitError(
        f"not all services became healthy within {timeout:g} s",
        "\n  ".join(reasons or ["docker compose up has not finished"]),
        f"invoke logs {logs} shows more; a slow host may need a longer --timeout",
    )


def last_lines(docker: Docker, state: ServiceState, count: int = LOG_LINES, since: str = "") -> list[str]:
    """The last lines of a container's log, both streams merged in chronological order.

    ``since`` limits them to those since a time, in the syntax of ``docker logs``.
    """
    limit = ("--since", since) if since else ()
    result = docker("logs", "--timestamps", "--tail", str(count), *limit, state.id)
    if result.code:
        return []
    stamped = sorted(line for line in (result.stdout + result.stderr).splitlines() if line.strip())
    return [line.partition(" ")[2] for line in stamped[-count:]]


@contextmanager
def progress(watch: Watch) -> Iterator[Callable[[Sequence[Service]], None]]:
    """Show the progress: on a terminal a live table, elsewhere a line for every change."""
    if not console().is_terminal:
        yield _line_by_line(watch)
        return
    from rich.live import Live

    with Live(console=console(), refresh_per_second=4, transient=False) as live:
        yield lambda services: live.update(_rows(services, watch))


def _line_by_line(watch: Watch) -> Callable[[Sequence[Service]], None]:
    shown: dict[str, str] = {}

    def show(services: Sequence[Service]) -> None:
        for service in services:
            if shown.get(service.name) != service.summary:
                shown[service.name] = service.summary
                say(f"  {service.name:<14} {service.summary} ({watch.seconds(service.name):.1f} s)")

    return show


def _rows(services: Sequence[Service], watch: Watch) -> Any:
    from rich.spinner import Spinner
    from rich.table import Table

    marks = {Verdict.OK: "✓", Verdict.DONE: "✓", Verdict.FAILED: "✗"}
    rows = Table.grid(padding=(0, 2))
    for service in services:
        style = STYLES[service.verdict]
        mark = marks.get(service.verdict) or Spinner(spinner(), style=style)
        rows.add_row(mark, service.name, service.summary, f"{watch.seconds(service.name):.1f} s", style=style)
    return rows
