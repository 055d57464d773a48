"""Check of the running stack against the files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from toolkit.checks.doctor.subject import Subject
from toolkit.core.report import Finding, Outcome
from toolkit.engine.outdated import SERVICE, outdated
from toolkit.engine.timeouts import SECONDS

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


COLLATIONS = """
    SELECT datcollate || ' ' || datcollversion || ' -> ' || pg_database_collation_actual_version(oid) FROM pg_database
    WHERE datname = current_database() AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)"""
RUNBOOK = "docs/alerts/PostgresCollationsChanged.md"


def collations(subject: Subject) -> Iterator[Finding]:
    """The libraries in the image of the database sort text as when its indexes were built."""
    for container in _running(subject, "db")[:1]:
        psql = ("psql", "--username=postgres", "--dbname=network_monitor", "--tuples-only", "--no-align")
        command = ("exec", container, *psql, f"--command={COLLATIONS}")
        found = subject.docker.check(subject.docker(*command, timeout=SECONDS), "ask the database").stdout.strip()
        if found:
            what = f"indexes of the database may miss rows: its image sorts text by other rules ({found})"
            yield Finding("collations", Outcome.WARNING, what, f"rebuild the indexes: {RUNBOOK}")
        else:
            yield Finding("collations", Outcome.OK, "unchanged since the indexes were built")


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
    """The workers have a route to the IPv6 Internet if the setting asks for it, and so has the host."""
    networks = subject.configuration.get("networks", {}).values()
    wanted = any(network.get("enable_ipv6") for network in networks)
    for container in _running_workers(subject)[:1]:
        routes = subject.docker("exec", container, "cat", IPV6_ROUTES)  # absent if the kernel has no IPv6
        yield _ipv6(wanted, has_route=_has_default(routes.stdout), host=host_has_ipv6())


def _ipv6(wanted: bool, *, has_route: bool, host: bool | None) -> Finding:
    """The finding; `host` is whether this host has a route, None if the engine runs on another one."""
    if has_route and host is False:
        what = "the worker has IPv6, but this host has no route to the IPv6 Internet: targets with IPv6 only are down"
        fix = "give this host an IPv6 default route, or set ENABLE_IPV6=false in .env and run: invoke up"
        return Finding("IPv6", Outcome.WARNING, what, fix)
    if has_route:
        return Finding("IPv6", Outcome.OK, "the worker has IPv6")
    if wanted:
        what = "ENABLE_IPV6 is true, but the worker has no IPv6: targets with only IPv6 addresses fail with no_ipv6"
        fix = "run: invoke up; if that does not help, the kernel of the host has no IPv6: set ENABLE_IPV6=false in .env"
        return Finding("IPv6", Outcome.WARNING, what, fix)
    what = "the worker has no IPv6 (ENABLE_IPV6): targets with only IPv6 addresses fail with no_ipv6"
    return Finding("IPv6", Outcome.OK, what)


def host_has_ipv6(routes: Path = Path(IPV6_ROUTES)) -> bool | None:
    """Whether this host has a route to the IPv6 Internet; None if it is no Linux, so that the engine is elsewhere."""
    try:
        return _has_default(routes.read_text(encoding="utf-8"))
    except OSError:
        return False if routes.parent.exists() else None


def _has_default(routes: str) -> bool:
    return any(map(_is_default, routes.splitlines()))


def _is_default(route: str) -> bool:
    """Whether a line is a default route through a network: the kernel rejects by one of the interface lo."""
    match route.split():
        case [destination, prefix, *_, interface]:
            return not destination.strip("0") and prefix == "00" and interface != "lo"
        case _:
            return False


def _running_workers(subject: Subject) -> list[str]:
    return _running(subject, "worker")


def _running(subject: Subject, service: str) -> list[str]:
    """The ids of the running containers of a service."""
    if service not in subject.configuration["services"]:
        return []
    return [
        each["Id"]
        for each in subject.docker.containers(subject.configuration["name"])
        if each["Config"]["Labels"][SERVICE] == service and each["State"]["Status"] == "running"
    ]


def _ping_groups(subject: Subject, container: str) -> range:
    read = subject.docker.check(subject.docker("exec", container, "cat", PING_GROUPS), "read the groups that may ping")
    first, last = map(int, read.stdout.split())
    return range(first, last + 1)
