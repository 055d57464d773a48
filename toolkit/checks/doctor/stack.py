"""Check of the running stack against the files."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.checks.doctor.subject import Subject
from toolkit.core.report import Finding, Outcome
from toolkit.engine.outdated import SERVICE, outdated

PING_GROUPS = "/proc/sys/net/ipv4/ping_group_range"
"""The first and the last group that may send pings, as the container has it."""
IPV6_ROUTES = "/proc/net/ipv6_route"


def containers(subject: Subject) -> Iterator[Finding]:
    """Every container runs with the current configuration."""
    found = subject.docker.containers(subject.configuration["name"])
    if changed := outdated(subject.docker, found):
        what = f"{', '.join(sorted(changed))}: started with an older configuration or image"
        yield Finding("containers", Outcome.WARNING, what, "run: invoke up")
    else:
        what = f"{len(found)} with the current configuration" if found else "none"
        yield Finding("containers", Outcome.OK, what)


def pings(subject: Subject) -> Iterator[Finding]:
    """The group of every running worker may send pings: the engine has applied the setting of the compose file."""
    service = subject.configuration["services"].get("worker")
    if service is None:
        return
    group = int(service.get("user", "").rpartition(":")[2] or 0)
    running = _running_workers(subject)
    for container in running:
        groups = _ping_groups(subject, container)
        if group not in groups:
            what = (
                f"every target of kind ping is down: the group of the worker, {group}, is not among the groups "
                f"{groups.start} to {groups.stop - 1} that may send pings (net.ipv4.ping_group_range)"
            )
            fix = "run: invoke up; if the engine ignores sysctls, set this one on the host to 0 2147483647"
            yield Finding("pings", Outcome.WARNING, what, fix)
            return
    yield Finding("pings", Outcome.OK, "the worker may send pings" if running else "no worker is running")


def ipv6(subject: Subject) -> Iterator[Finding]:
    """Whether the workers have a route to the IPv6 Internet; either is fine."""
    for container in _running_workers(subject)[:1]:
        routes = subject.docker("exec", container, "cat", IPV6_ROUTES)  # absent if the kernel has no IPv6
        if any(_is_default(route) for route in routes.stdout.splitlines()):
            yield Finding("IPv6", Outcome.OK, "the worker has IPv6")
        else:
            yield Finding("IPv6", Outcome.OK, "the worker has no IPv6: targets that have nothing else end with no_ipv6")


def _is_default(route: str) -> bool:
    """Whether a line is a default route through a network: the kernel rejects by one of the interface lo."""
    match route.split():
        case [destination, prefix, *_, interface]:
            return not destination.strip("0") and prefix == "00" and interface != "lo"
        case _:
            return False


def _running_workers(subject: Subject) -> list[str]:
    if "worker" not in subject.configuration["services"]:
        return []
    return [
        each["Id"]
        for each in subject.docker.containers(subject.configuration["name"])
        if each["Config"]["Labels"][SERVICE] == "worker" and each["State"]["Status"] == "running"
    ]


def _ping_groups(subject: Subject, container: str) -> range:
    read = subject.docker.check(subject.docker("exec", container, "cat", PING_GROUPS), "read the groups that may ping")
    first, last = map(int, read.stdout.split())
    return range(first, last + 1)
