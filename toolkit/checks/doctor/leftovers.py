"""Checks for leftovers of earlier runs: containers of another folder or profile, and data that a store cannot use."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.checks.doctor.subject import Subject
from toolkit.core.report import Finding
from toolkit.engine.existing import Existing
from toolkit.engine.volumes import Inspection


def leftovers(subject: Subject) -> Iterator[Finding]:
    """Every container belongs to this folder, its profile and its compose files."""
    subject.project.require_setup()
    yield from Existing.read(subject.project, subject.docker).findings()


def data(subject: Subject) -> Iterator[Finding]:
    """Every store that does not run can open the data in its volume."""
    subject.project.require_setup()
    existing = Existing.read(subject.project, subject.docker)
    yield from Inspection.begin(subject.project, subject.docker, existing).findings()
