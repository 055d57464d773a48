"""Checks of what exists against the files: containers, their origin, and the data of the stores."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.checks.doctor.subject import Subject
from toolkit.core.report import Finding, Outcome
from toolkit.engine.existing import Existing
from toolkit.engine.outdated import outdated
from toolkit.engine.volumes import Look


def containers(subject: Subject) -> Iterator[Finding]:
    """Every container runs with the current configuration."""
    found = subject.docker.containers(subject.configuration["name"])
    if changed := outdated(subject.docker, found):
        what = f"{', '.join(sorted(changed))}: started with an older configuration or image"
        yield Finding("containers", Outcome.WARNING, what, "run: invoke up")
    else:
        what = f"{len(found)} with the current configuration" if found else "none"
        yield Finding("containers", Outcome.OK, what)


def stack(subject: Subject) -> Iterator[Finding]:
    """Every container belongs to this folder, its profile and its compose files."""
    subject.project.require_setup()
    yield from Existing.read(subject.project, subject.docker).findings()


def data(subject: Subject) -> Iterator[Finding]:
    """Every store that does not run can open the data in its volume."""
    subject.project.require_setup()
    existing = Existing.read(subject.project, subject.docker)
    yield from Look.begin(subject.project, subject.docker, existing).findings()
