"""Check of the running stack against the files."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.checks.doctor.subject import Subject
from toolkit.core.report import Finding, Outcome
from toolkit.engine.compose import HASHES


def containers(subject: Subject) -> Iterator[Finding]:
    """Every container runs with the current configuration."""
    docker = subject.docker
    hashes = docker.check(docker.query(*HASHES), "read the compose files").stdout
    expected = dict(line.split() for line in hashes.splitlines())
    labels = [container["Config"]["Labels"] for container in docker.containers(subject.configuration["name"])]
    outdated = {
        service
        for label in labels
        if (service := label["com.docker.compose.service"]) in expected
        and label["com.docker.compose.config-hash"] != expected[service]
    }
    if outdated:
        what = f"{', '.join(sorted(outdated))}: started with an older configuration"
        yield Finding("containers", Outcome.WARNING, what, "run: invoke up")
    else:
        what = f"{len(labels)} with the current configuration" if labels else "none"
        yield Finding("containers", Outcome.OK, what)
