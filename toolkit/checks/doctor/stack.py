"""Check of the running stack against the files."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.checks.doctor.subject import Subject
from toolkit.core.report import Finding, Outcome
from toolkit.engine.outdated import outdated


def containers(subject: Subject) -> Iterator[Finding]:
    """Every container runs with the current configuration."""
    found = subject.docker.containers(subject.configuration["name"])
    if changed := outdated(subject.docker, found):
        what = f"{', '.join(sorted(changed))}: started with an older configuration or image"
        yield Finding("containers", Outcome.WARNING, what, "run: invoke up")
    else:
        what = f"{len(found)} with the current configuration" if found else "none"
        yield Finding("containers", Outcome.OK, what)
