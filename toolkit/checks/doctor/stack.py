"""The running stack against the files."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.checks.doctor.subject import Subject
from toolkit.core.report import Finding, Outcome


def containers(subject: Subject) -> Iterator[Finding]:
    """Every container runs with what the compose files and .env say now."""
    docker = subject.docker
    hashes = docker.check(docker.compose("config", "--hash", "*"), "read the compose files").stdout
    wanted = dict(line.split() for line in hashes.splitlines())
    labels = [container["Config"]["Labels"] for container in docker.containers(subject.configuration["name"])]
    outdated = {
        service
        for label in labels
        if (service := label["com.docker.compose.service"]) in wanted
        and label["com.docker.compose.config-hash"] != wanted[service]
    }
    if outdated:
        what = f"{', '.join(sorted(outdated))}: started with an older configuration"
        yield Finding("containers", Outcome.WARNING, what, "run: invoke up")
    else:
        what = f"{len(labels)} with the present configuration" if labels else "there are none"
        yield Finding("containers", Outcome.OK, what)
