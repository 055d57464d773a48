"""The status table: one row for every container, and for every missing container."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from toolkit.checkout import backupkey
from toolkit.checkout.project import Project
from toolkit.core import console
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome
from toolkit.engine import shapes
from toolkit.engine.compose import Docker
from toolkit.engine.existing import Existing
from toolkit.engine.health import ServiceState, Verdict, container_states, with_http_health
from toolkit.engine.memory import used
from toolkit.engine.volumes import CHECK as DATA
from toolkit.engine.volumes import Inspection
from toolkit.engine.wait import expected_replicas, group_by_service
from toolkit.images import unavailable

COLUMNS = ("service", "state", "health", "since", "ports", "memory")


NOTHING: Mapping[str, Any] = {"services": [], "unavailable": [], "findings": []}
"""The fields of the JSON document if the containers cannot be listed."""


@dataclass(frozen=True)
class Row:
    """A container, or a missing one of a service; ``problem`` is empty if it is healthy or its service is disabled.

    ``memory`` is in bytes, None if unknown.
    """

    service: str
    container: ServiceState | None = None
    memory: int | None = None
    problem: str = ""

    @property
    def _ended(self) -> bool:
        return self.container is not None and self.container.status in {"exited", "dead"}

    @property
    def _since(self) -> datetime | None:
        if self.container is None:
            return None
        return self.container.finished if self._ended else self.container.started

    @property
    def _ports(self) -> list[str]:
        return list(dict.fromkeys(port.address for port in self.container.ports)) if self.container else []

    @property
    def cells(self) -> tuple[str, ...]:
        """Its cells in the table."""
        if (state := self.container) is None:
            return (self.service, "not created", "-", "-", "-", "-")
        return (
            self.service if state.replica == 1 else f"{self.service} ({state.replica})",
            f"{state.status} ({state.exit_code})" if self._ended else state.status,
            (state.health or "no check") if state.status == "running" else "-",
            age(self._since),
            ", ".join(self._ports) or "-",
            "-" if self.memory is None else binary(self.memory),
        )

    def document(self) -> dict[str, Any]:
        """Its fields in the JSON document."""
        state = self.container
        return {
            "service": self.service,
            "replica": state.replica if state else None,
            "container": state.container if state else None,
            "state": state.status if state else "not created",
            "exit_code": state.exit_code if state and self._ended else None,
            "health": (state.health or None) if state and state.status == "running" else None,
            "since": self._since.isoformat(timespec="seconds") if self._since else None,
            "ports": self._ports,
            "memory_bytes": self.memory,
            "problem": self.problem,
        }


@dataclass(frozen=True)
class Status:
    """The containers of a stack, the services that the image set lacks, and what earlier runs have left."""

    rows: Sequence[Row]
    unavailable: Sequence[str]
    history: Sequence[Finding] = ()

    def show(self) -> None:
        """Print the table, the unavailable services, and the leftovers of other folders and profiles."""
        styles = ["failed" if row.problem else "" for row in self.rows]
        console.table(COLUMNS, [row.cells for row in self.rows], styles)
        unavailable.show_names(self.unavailable)
        for each in self.history:
            if each.outcome is not Outcome.OK:
                console.say(f"{each.check}: {each.detail}" + (f"; {each.fix}" if each.fix else ""), each.outcome)

    def document(self) -> dict[str, Any]:
        """The fields of the JSON document."""
        return {
            "services": [row.document() for row in self.rows],
            "unavailable": list(self.unavailable),
            "findings": [each.document() for each in self.history],
        }

    def require(self) -> None:
        """Return if every enabled service is healthy, and the stack is that of this checkout.

        Raises:
            ToolkitError: a service is not healthy or has no container, a container belongs to another folder or
                profile, or a store cannot start on its data.
        """
        if failed := next((each for each in self.history if each.outcome is Outcome.FAILED), None):
            raise ToolkitError("the stack does not belong to this checkout", failed.detail, failed.fix)
        if problems := [row.problem for row in self.rows if row.problem]:
            created = any(row.container for row in self.rows)
            fix = "run: invoke logs --service=NAME" if created else "run: invoke up"
            raise ToolkitError("not every service is healthy" if created else "the stack is not up",
                               ", ".join(problems), fix)  # fmt: skip


def read(project: Project, docker: Docker) -> Status:
    """The status of the stack.

    Raises:
        ToolkitError: the configuration or the containers cannot be read.
    """
    config = docker.effective()
    found = with_http_health(docker, container_states(docker, config["name"]))
    rows = table(config, found, memory(docker, found))
    findings = [*history(project, docker), *backups(project, docker), *upgrades(project, docker)]
    return Status(rows, unavailable.services(project), findings)


def backups(project: Project, docker: Docker) -> list[Finding]:
    """The problems of backups, if there is a target, as warnings: they make no service unhealthy."""
    if not project.env.get(backupkey.TARGET):
        return []
    from toolkit.checks.doctor import Subject
    from toolkit.checks.doctor.backups import backups

    found = list(backups(Subject(project, docker)))
    return [replace(each, outcome=Outcome.WARNING) for each in found if each.outcome is not Outcome.OK]


def upgrades(project: Project, docker: Docker) -> list[Finding]:
    """Whether the last upgrade is unfinished or not finalized."""
    from toolkit.checks.doctor import Subject
    from toolkit.checks.doctor.upgrades import upgrade

    try:
        return list(upgrade(Subject(project, docker)))
    except ToolkitError as error:
        return [replace(Finding.of_error("upgrade", error), outcome=Outcome.WARNING)]


def history(project: Project, docker: Docker) -> list[Finding]:
    """Whether existing containers and volumes belong to this checkout and can be used; as in `invoke doctor`.

    Raises:
        ToolkitError: the engine does not answer.
    """
    existing = Existing.read(project, docker)
    found = existing.findings()
    try:
        return found + list(Inspection.begin(project, docker, existing).findings())
    except ToolkitError as error:  # an image is missing, which `invoke up` provides
        return [*found, Finding(DATA, Outcome.WARNING, f"not checked: {error.what}", error.fix)]


def table(config: shapes.Configuration, found: Sequence[ServiceState], memory_of: Mapping[str, int]) -> list[Row]:
    """The rows: the enabled services, then containers of other services.

    Args:
        config: The effective configuration.
        found: The containers.
        memory_of: Memory in use in bytes, by container id.
    """
    rows: list[Row] = []
    expected = group_by_service(found, expected_replicas(config))
    for service in expected:
        rows += [row(state, memory_of) for state in service.states]
        missing = max(service.expected - len(service.states), 0)
        rows += [Row(service.name, problem=f"{service.name}: not created")] * missing
    names = {service.name for service in expected}
    return rows + [row(state, memory_of, expected=False) for state in found if state.service not in names]


def row(state: ServiceState, memory_of: Mapping[str, int], *, expected: bool = True) -> Row:
    """The row of a container."""
    healthy = state.verdict in {Verdict.OK, Verdict.DONE}
    problem = f"{state.container}: {state.summary}" if expected and not healthy else ""
    return Row(state.service, state, memory_of.get(state.id), problem)


def memory(docker: Docker, states: Sequence[ServiceState]) -> dict[str, int]:
    """The memory usage of the running containers in bytes, by id."""
    running = [state for state in states if state.status == "running"]
    measured = {state.id: used(state.id, state.pid) for state in running}
    elsewhere = [name for name, amount in measured.items() if amount is None]
    by_kernel = {name: amount for name, amount in measured.items() if amount is not None}
    return by_kernel | _by_engine(docker, elsewhere)


def _by_engine(docker: Docker, containers: Sequence[str]) -> dict[str, int]:
    """The same, from an engine on another machine, which takes two seconds for any number of containers."""
    if not containers:
        return {}
    result = docker("stats", "--no-stream", "--no-trunc", "--format", "json", *containers)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    found = {record["ID"]: _bytes(record["MemUsage"].partition("/")[0].strip()) for record in records}
    return {name: amount for name, amount in found.items() if amount is not None}


def _bytes(text: str) -> int | None:
    """An amount as ``docker stats`` shows it, in bytes."""
    match = re.fullmatch(r"([0-9.]+)([KMGT]i)?B", text)
    return round(float(match[1]) * 1024 ** " KMGT".index((match[2] or " ")[0])) if match else None


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
