"""The status table: one row for every container, and for every missing container."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from toolkit.checkout.project import Project
from toolkit.core import console
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome
from toolkit.engine import shapes
from toolkit.engine.compose import Docker
from toolkit.engine.existing import Existing
from toolkit.engine.health import ServiceState, Verdict, container_states, with_http_health
from toolkit.engine.memory import used
from toolkit.engine.volumes import Look
from toolkit.engine.wait import expected_replicas, group_by_service
from toolkit.images import unavailable

COLUMNS = ("service", "state", "health", "since", "ports", "memory")


@dataclass(frozen=True)
class Row:
    """A row of the table; ``problem`` is empty if the container is healthy."""

    service: str
    state: str = "not created"
    health: str = "-"
    since: str = "-"
    ports: str = "-"
    memory: str = "-"
    problem: str = ""


def status(project: Project, docker: Docker) -> None:
    """Print the table, what is left of other folders and profiles, and the unavailable services.

    Raises:
        ToolkitError: an enabled service is not healthy or has no container, a container belongs to another folder or
            profile, or a store cannot start on its data.
    """
    config = docker.effective()
    found = with_http_health(docker, container_states(docker, config["name"]))
    rows = table(config, found, memory(docker, found))
    console.table(
        COLUMNS,
        [(row.service, row.state, row.health, row.since, row.ports, row.memory) for row in rows],
        ["failed" if row.problem else "" for row in rows],
    )
    unavailable.show(project)
    left = differences(project, docker)
    for each in left:
        console.say(f"{each.check}: {each.detail}; {each.fix}", each.outcome)
    if failed := [each for each in left if each.outcome is Outcome.FAILED]:
        raise ToolkitError("the stack is not that of this checkout", failed[0].detail, failed[0].fix)
    if problems := [row.problem for row in rows if row.problem]:
        fix = "run: invoke logs --service=NAME" if found else "run: invoke up"
        what = "not every service is healthy" if found else "the stack is not up"
        raise ToolkitError(what, ", ".join(problems), fix)


def differences(project: Project, docker: Docker) -> list[Finding]:
    """What exists and does not belong to this checkout, or cannot be started; as `invoke doctor` shows it.

    Raises:
        ToolkitError: the engine does not answer.
    """
    existing = Existing.read(project, docker)
    found = existing.findings()
    with suppress(ToolkitError):  # an image is missing, which `invoke up` provides
        found += Look.begin(project, docker, existing).findings()
    return [each for each in found if each.outcome is not Outcome.OK]


def table(config: shapes.Configuration, found: Sequence[ServiceState], memory_of: Mapping[str, str]) -> list[Row]:
    """The rows: the enabled services, then containers of other services.

    Args:
        config: The effective configuration.
        found: The containers.
        memory_of: Memory in use by container id.
    """
    rows: list[Row] = []
    expected = group_by_service(found, expected_replicas(config))
    for service in expected:
        rows += [row(state, memory_of) for state in service.states]
        missing = max(service.expected - len(service.states), 0)
        rows += [Row(service.name, problem=f"{service.name}: not created")] * missing
    names = {service.name for service in expected}
    return rows + [row(state, memory_of, expected=False) for state in found if state.service not in names]


def row(state: ServiceState, memory_of: Mapping[str, str], *, expected: bool = True) -> Row:
    """The row of a container."""
    healthy = state.verdict in {Verdict.OK, Verdict.DONE}
    ended = state.status in {"exited", "dead"}
    return Row(
        service=state.service if state.replica == 1 else f"{state.service} ({state.replica})",
        state=f"{state.status} ({state.exit_code})" if ended else state.status,
        health=state.health or "no check" if state.status == "running" else "-",
        since=age(state.finished if ended else state.started),
        ports=", ".join(dict.fromkeys(port.address for port in state.ports)) or "-",
        memory=memory_of.get(state.id, "-"),
        problem=f"{state.container}: {state.summary}" if expected and not healthy else "",
    )


def memory(docker: Docker, states: Sequence[ServiceState]) -> dict[str, str]:
    """The memory usage of the running containers by id."""
    running = [state for state in states if state.status == "running"]
    measured = {state.id: used(state.id, state.pid) for state in running}
    elsewhere = [name for name, amount in measured.items() if amount is None]
    by_kernel = {name: binary(amount) for name, amount in measured.items() if amount is not None}
    return by_kernel | _by_engine(docker, elsewhere)


def _by_engine(docker: Docker, containers: Sequence[str]) -> dict[str, str]:
    """The same, from an engine on another machine, which takes two seconds for any number of containers."""
    if not containers:
        return {}
    result = docker("stats", "--no-stream", "--no-trunc", "--format", "json", *containers)
    records = map(json.loads, result.stdout.splitlines())
    return {record["ID"]: record["MemUsage"].partition("/")[0].strip() for record in records}


def binary(amount: int) -> str:
    """A number of bytes as ``docker stats`` shows it."""
    unit, name = (2**30, "GiB") if amount >= 2**30 else (2**20, "MiB")
    return f"{amount / unit:.4g}{name}"


def age(moment: datetime | None) -> str:
    """The time since ``moment``, in the largest suitable unit."""
    if moment is None:
        return "-"
    past = max(datetime.now(UTC) - moment, timedelta())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if past.total_seconds() >= 2 * size:
            return f"{past.total_seconds() // size:.0f} {unit}"
    return f"{past.total_seconds():.0f} s"
