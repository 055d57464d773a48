"""The running stack against the files."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.doctor.findings import Finding, Subject


def configuration(subject: Subject) -> Iterator[Finding]:
    """Every container runs with what the compose files and .env say now."""
    docker = subject.docker
    hashes = docker.check(docker.compose("config", "--hash", "*"), "read the compose files").stdout
    wanted = dict(line.split() for line in hashes.splitlines())
    outdated, running = set(), 0
    for container in docker.containers(subject.configuration["name"]):
        labels = container["Config"]["Labels"]
        service = labels.get("com.docker.compose.service")
        running += 1
        if service in wanted and labels.get("com.docker.compose.config-hash") != wanted[service]:
            outdated.add(service)
    if outdated:
        what = f"{', '.join(sorted(outdated))}: started with an older configuration"
        yield Finding("containers", "warning", what, "run: invoke up")
    else:
        yield Finding("containers", "ok", f"{running} with the present configuration" if running else "none yet")
