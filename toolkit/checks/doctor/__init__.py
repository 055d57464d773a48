"""Diagnoses the host, the checkout and its stack, and suggests fixes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from toolkit.checkout.project import Project
from toolkit.checks.doctor import host
from toolkit.checks.doctor.backups import backups
from toolkit.checks.doctor.checkout import (
    compose_files,
    mounts,
    permissions,
    require_readable_mounts,
    settings,
    shell,
)
from toolkit.checks.doctor.engine import (
    buildx,
    compose,
    disk,
    engine,
    engine_files,
    limits,
    memory,
    require_engine,
    require_engine_folder,
)
from toolkit.checks.doctor.failures import failures
from toolkit.checks.doctor.host import require_supported_host
from toolkit.checks.doctor.leftovers import data, leftovers
from toolkit.checks.doctor.ports import ports, require_free_ports
from toolkit.checks.doctor.secrets import secrets
from toolkit.checks.doctor.stack import collations, containers, ipv6, pings
from toolkit.checks.doctor.subject import Subject
from toolkit.checks.doctor.upgrades import upgrade
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome, Report
from toolkit.engine.compose import Docker

__all__ = [
    "CHECKS",
    "Subject",
    "doctor",
    "examine",
    "require_engine",
    "require_engine_folder",
    "require_free_ports",
    "require_readable_mounts",
    "require_supported_host",
]

Check = Callable[[Subject], Iterator[Finding]]

CHECKS: Sequence[Check] = (
    engine, compose, buildx, *host.CHECKS, limits, memory, disk, engine_files, settings, permissions, secrets, shell,
    compose_files, mounts, ports, containers, failures, collations, pings, ipv6, leftovers, data,
    backups, upgrade,
)  # fmt: skip


def doctor(project: Project, docker: Docker) -> Report:
    """The findings of every check."""
    return Report("checks", examine(Subject(project, docker), CHECKS))


def examine(subject: Subject, checks: Sequence[Check]) -> list[Finding]:
    """The checks' findings; a check that cannot run, for instance without an engine, becomes a warning.

    The checks run in parallel, because most wait for a command.
    """

    def run(check: Check) -> list[Finding]:
        try:
            return list(check(subject))
        except ToolkitError as error:
            name = check.__name__.replace("_", " ")
            return [Finding(name, Outcome.WARNING, f"not checked: {error.what}", error.fix)]

    with ThreadPoolExecutor(len(checks)) as pool:
        return [finding for found in pool.map(run, checks) for finding in found]
