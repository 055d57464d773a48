"""Waiting for the services: live progress, and an end as soon as one of them cannot become healthy any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from toolkit.core.console import STYLES, console, say
from toolkit.core.errors import ToolkitError, require_known
from toolkit.engine import compose, diagnosis
from toolkit.engine.compose import Docker, Result
from toolkit.engine.health import ServiceState, Verdict, container_states, with_http_health

PAUSE = 0.5
"""Seconds between two looks; each takes CPU from the services that are starting."""

LOG_LINES = 15


@dataclass(frozen=True)
class Service:
    """The containers of one service, and how many there should be."""

    name: str
    expected: int
    states: tuple[ServiceState, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of its containers; starting while one of them is missing."""
        verdicts = {state.verdict for state in self.states}
        if Verdict.FAILED in verdicts:
            return Verdict.FAILED
        if Verdict.STARTING in verdicts or len(self.states) < self.expected:
            return Verdict.STARTING
        return Verdict.DONE if verdicts == {Verdict.DONE} else Verdict.OK

    @property
    def ready(self) -> bool:
        """Whether there is nothing to wait for."""
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
    """What was seen so far: since when each service is as it is, and when it became ready.

    ``dependencies`` are the services that each one depends on, directly or not.
    """

    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    dependencies: Mapping[str, frozenset[str]] = field(default_factory=dict)
    changed: dict[str, datetime] = field(default_factory=dict)
    _seen: dict[str, object] = field(default_factory=dict)
    _ready: dict[str, datetime] = field(default_factory=dict)

    def update(self, services: Sequence[Service]) -> None:
        """Take note of a new look at the services."""
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
        """How long the service took, or takes so far."""
        return (self._ready.get(service, datetime.now(UTC)) - self.begun).total_seconds()

    def unrecoverable(self, services: Sequence[Service], *, starting: bool) -> list[tuple[Service, ServiceState]]:
        """The containers that cannot become healthy any more.

        One that is unhealthy may recover with another service that only just came up. So it is given up once nothing
        is on its way, and a check of it that began after the last change elsewhere has failed. One that keeps
        restarting may exit because a service that it depends on is not ready: it is given up once it has exited again
        after that.

        Args:
            services: The latest look.
            starting: Compose is still at work: what a container did before is not held against it.
        """
        failed = [
            (service, state)
            for service in services
            for state in service.states
            if (state.verdict is Verdict.FAILED or (state.health == "starting" and diagnosis.is_permanent(state)))
            and (not starting or (state.started and state.started >= self.begun))
            and not (state.crash_looping and self._awaits_dependency(service, state, services))
        ]
        over = [(service, state) for service, state in failed if not running_unhealthy(state)]
        on_its_way = any(state.verdict is Verdict.STARTING for service in services for state in service.states
                         if state.status == "running")  # fmt: skip
        if over or on_its_way or not all(self._checked_since_change(service, state) for service, state in failed):
            return over
        return failed

    def _awaits_dependency(self, service: Service, state: ServiceState, services: Sequence[Service]) -> bool:
        """Whether the container has not been started since everything that its service depends on is ready."""
        needed = [other for other in services if other.name in self.dependencies.get(service.name, ())]
        if not all(other.ready for other in needed):
            return True
        ready = max((self._ready[other.name] for other in needed), default=self.begun)
        return bool(needed) and (state.started is None or state.started < ready)

    def _checked_since_change(self, service: Service, state: ServiceState) -> bool:
        elsewhere = max((at for name, at in self.changed.items() if name != service.name), default=self.begun)
        return bool(state.checks) and state.checks[-1].started > elsewhere


def running_unhealthy(state: ServiceState) -> bool:
    """Whether the container runs, and only its health check says no."""
    return state.status == "running" and state.health == "unhealthy"


def wait(docker: Docker, timeout: float, services: Sequence[str] = (), starting: Future[Result] | None = None) -> None:
    """Wait until the services are healthy, or done where that is what they are for.

    Args:
        docker: Docker in the project's folder.
        timeout: Seconds.
        services: Wait for these only; default: all that the configuration switches on.
        starting: A ``docker compose up`` that runs meanwhile.

    Raises:
        ToolkitError: a service cannot become healthy any more, the time is up, ``starting`` failed, there is nothing
            to wait for, or a service is unknown (exit code 2).
    """
    config = docker.effective()
    watch = Watch(dependencies=dependencies(config))
    expected = expected_replicas(config, services)
    deadline = time.monotonic() + timeout
    with progress(watch) as show:
        while True:
            busy = starting is not None and not starting.done()
            found = group_by_service(_current_states(docker, config["name"], expected), expected)
            watch.update(found)
            show(found)
            if stuck := watch.unrecoverable(found, starting=busy):
                raise unhealthy_error(docker, stuck)
            if starting and not busy:
                require_started(docker, starting.result(), found)
                starting = None
                continue
            if not busy and all(service.ready for service in found):
                return
            if time.monotonic() > deadline:
                raise timeout_error(found, timeout)
            time.sleep(PAUSE)


def wait_for(docker: Docker, project: str, service: str, containers: Sequence[str], timeout: float) -> None:
    """Wait until some containers of one service are healthy, whatever becomes of its others.

    Args:
        docker: Docker in the project's folder.
        project: The Compose project.
        service: The service that they belong to.
        containers: Their ids; one-off containers are none.
        timeout: Seconds.

    Raises:
        ToolkitError: one of them cannot become healthy any more, is gone, or the time is up.
    """
    watch = Watch()
    deadline = time.monotonic() + timeout
    while True:
        found = tuple(state for state in container_states(docker, project) if state.id in containers)
        looked = Service(service, len(containers), found)
        watch.update([looked])
        if stuck := watch.unrecoverable([looked], starting=False):
            raise unhealthy_error(docker, stuck)
        if looked.ready:
            return
        if time.monotonic() > deadline:
            raise timeout_error([looked], timeout)
        time.sleep(PAUSE)


def _current_states(docker: Docker, project: str, expected: Mapping[str, int]) -> list[ServiceState]:
    """The containers; what is asked from outside is asked once nothing else is starting, since asking takes CPU."""
    found = container_states(docker, project)
    starting = [state for state in found if state.service in expected and state.verdict is Verdict.STARTING]
    return with_http_health(docker, found) if all(state.health_url for state in starting) else found


def expected_replicas(config: Mapping[str, Any], services: Sequence[str] = ()) -> dict[str, int]:
    """The services that should run, and how many containers of each.

    Raises:
        ToolkitError: one of ``services`` is unknown (exit code 2), or none is left.
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
                           "invoke config shows what the configuration switches on")  # fmt: skip
    return expected


def dependencies(config: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The services that each service depends on, directly or not, under any condition."""
    direct = {name: frozenset(service.get("depends_on") or ()) for name, service in config["services"].items()}
    found = dict(direct)
    for _ in direct:
        found = {name: needed.union(*(found.get(each, ()) for each in needed)) for name, needed in found.items()}
    return found


def group_by_service(found: Sequence[ServiceState], expected: Mapping[str, int]) -> list[Service]:
    """The expected services with the containers that they have."""
    return [
        Service(name, count, tuple(state for state in found if state.service == name))
        for name, count in expected.items()
    ]


def require_started(docker: Docker, result: Result, services: Sequence[Service]) -> None:
    """Raise why ``docker compose up`` failed, if it did: the log of the failed service says more than Compose does."""
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
    """The error that names the failed containers, with the end of each log and the likely fix."""
    reasons, fixes = [], []
    for service, state in stuck:
        log = last_lines(docker, state)
        lines = [f"{state.container}: {state.summary}"]
        if state.error:
            lines.append(f"the engine says: {state.error}")
        if state.last_check and state.health != "healthy":
            lines.append(f"its health check says: {state.last_check[-500:]}")
        lines += [f"| {line}" for line in log] or ["it has logged nothing"]
        if cause := diagnosis.cause(state, "\n".join(log)):
            lines.append(f"likely: {cause.why}")
            fixes.append(f"{service.name}: {cause.fix}")
        else:
            fixes.append(f"{service.name}: invoke logs --service={service.name} shows the whole log")
        reasons.append("\n    ".join(lines))
    names = ", ".join(dict.fromkeys(service.name for service, _ in stuck))
    return ToolkitError(f"{names} cannot become healthy", "\n  ".join(reasons), "\n       ".join(dict.fromkeys(fixes)))


def timeout_error(services: Sequence[Service], timeout: float) -> ToolkitError:
    """The error that names what is not healthy when the time is up, and why."""
    waiting = [service for service in services if not service.ready]
    reasons = []
    for service in waiting:
        said = next(
            (state.last_check for state in service.states if state.last_check and state.health != "healthy"), ""
        )
        reasons.append(f"{service.name}: {service.summary}" + (f": {said[-500:]}" if said else ""))
    logs = " ".join(f"--service={service.name}" for service in waiting)
    return ToolkitError(
        f"not everything is healthy after {timeout:g} s",
        "\n  ".join(reasons or ["docker compose up has not ended"]),
        f"invoke logs {logs} shows more; a slow machine may need a longer --timeout",
    )


def last_lines(docker: Docker, state: ServiceState, count: int = LOG_LINES) -> list[str]:
    """The last lines of a container's log, both streams in the order in which they were written."""
    result = docker("logs", "--timestamps", "--tail", str(count), state.id)
    if result.code:
        return []
    stamped = sorted(line for line in (result.stdout + result.stderr).splitlines() if line.strip())
    return [line.partition(" ")[2] for line in stamped[-count:]]


@contextmanager
def progress(watch: Watch) -> Iterator[Callable[[Sequence[Service]], None]]:
    """Show each look: a table that changes in place on a terminal, elsewhere a line for every change."""
    if not console().is_terminal:
        yield _line_by_line(watch)
        return
    from rich.live import Live

    with Live(console=console(), refresh_per_second=4, transient=False) as live:
        yield lambda services: live.update(_rows(services, watch))


def _line_by_line(watch: Watch) -> Callable[[Sequence[Service]], None]:
    said: dict[str, str] = {}

    def show(services: Sequence[Service]) -> None:
        for service in services:
            if said.get(service.name) != service.summary:
                said[service.name] = service.summary
                say(f"  {service.name:<14} {service.summary} ({watch.seconds(service.name):.1f} s)")

    return show


def _rows(services: Sequence[Service], watch: Watch) -> Any:
    from rich.spinner import Spinner
    from rich.table import Table

    marks = {Verdict.OK: "✓", Verdict.DONE: "✓", Verdict.FAILED: "✗"}
    rows = Table.grid(padding=(0, 2))
    for service in services:
        style = STYLES[service.verdict]
        mark = marks.get(service.verdict) or Spinner("dots", style=style)
        rows.add_row(mark, service.name, service.summary, f"{watch.seconds(service.name):.1f} s", style=style)
    return rows
