"""Checks of the published ports, and the owners of ports in use."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from toolkit.checkout.project import Project
from toolkit.checkout.variables import port_variables
from toolkit.checks.doctor.subject import Subject
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome
from toolkit.engine import shapes
from toolkit.engine.compose import Docker

LISTENING = "0A"


@dataclass(frozen=True)
class Published:
    """A port of this machine that a service publishes."""

    service: str
    address: str
    port: int
    protocol: str


PROXY, SETTLING_SECONDS = "docker-proxy", 5.0
"""The engine opens a container's ports before it lists the container, for instance after an interrupted `up`: a port
held by the engine's proxy is checked for some seconds, until its container is listed."""


def require_free_ports(project: Project, docker: Docker, leaving: Collection[str] = ()) -> None:
    """Return if every published port is free or in use by the stack itself.

    Args:
        project: The checkout.
        docker: Docker in its folder.
        leaving: The containers of the stack, some of which are removed before it starts.

    Raises:
        ToolkitError: a port is in use; the error names its owner.
    """
    deadline = time.monotonic() + SETTLING_SECONDS
    config = docker.effective()
    while error := next((error for _, error in _port_errors(project, docker, config, leaving) if error), None):
        if PROXY not in error.why or time.monotonic() > deadline:
            raise error
        time.sleep(0.2)


def ports(subject: Subject) -> Iterator[Finding]:
    """Every published port is free or in use by the stack itself."""
    for published, error in _port_errors(subject.project, subject.docker, subject.configuration):
        if error:
            yield Finding.of_error("ports", error)
        else:
            yield Finding("ports", Outcome.OK, f"{published.port} for {published.service}")


def _port_errors(
    project: Project, docker: Docker, config: shapes.Configuration, leaving: Collection[str] = ()
) -> Iterator[tuple[Published, ToolkitError | None]]:
    """Every published port with its problem, if there is one; ports in use are looked up in parallel."""
    ports = list(_published(config))
    with ThreadPoolExecutor(max(len(ports), 1)) as pool:
        problems = pool.map(lambda port: _problem(project, docker, port, config, leaving), ports)
        yield from zip(ports, problems, strict=True)


def _problem(
    project: Project, docker: Docker, published: Published, config: shapes.Configuration, leaving: Collection[str]
) -> ToolkitError | None:
    bind_error = _bind_error(published)
    holder = _holder(docker, published, config, leaving) if bind_error == errno.EADDRINUSE else ""
    if bind_error is None or holder is None:
        return None
    variable = _variable(project, published)
    name = f"port {published.port} for {published.service}" + (f" ({variable})" if variable else "")
    fix = f"set {variable} in .env" if variable else "publish another port in docker-compose.override.yml"
    if bind_error == errno.EADDRINUSE:
        return ToolkitError(f"{name} is taken", f"by {holder}", f"stop it, or {fix} to another port")
    return ToolkitError(f"{name} cannot be opened on {published.address}", os.strerror(bind_error), fix)


def _published(config: shapes.Configuration) -> Iterator[Published]:
    for service, spec in config["services"].items():
        for port in spec.get("ports", []):
            if str(port.get("published", "")).isdigit():  # neither a range nor a random port
                address = port.get("host_ip", "0.0.0.0")  # noqa: S104 (the engine's default)
                yield Published(service, address, int(port["published"]), port["protocol"])


def _bind_error(published: Published) -> int | None:
    """The error number of binding the port, or None."""
    family = socket.AF_INET6 if ":" in published.address else socket.AF_INET
    kind = socket.SOCK_DGRAM if published.protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((published.address, published.port))
        except PermissionError:
            return None  # the engine may bind it even if this account may not
        except OSError as error:
            return error.errno
    return None


def _variable(project: Project, published: Published) -> str | None:
    """The variable of .env that sets this port."""
    for variable, default in port_variables(project, published.service).items():
        if str(published.port) == (os.environ.get(variable) or project.env.get(variable) or default):
            return variable
    return None


def _holder(docker: Docker, published: Published, config: shapes.Configuration, leaving: Collection[str]) -> str | None:
    """The owner of a port in use; None if it is the stack itself, or a container that leaves."""
    shown = '{{.Names}}\t{{.Label "com.docker.compose.project"}}\t{{.Label "com.docker.compose.service"}}'
    port = f"publish={published.port}/{published.protocol}"
    for line in docker("ps", "--filter", port, "--format", shown).stdout.splitlines():
        name, owner, service = (*line.split("\t"), "", "")[:3]
        if name in leaving:
            return None
        if owner == config["name"]:
            left = f"the container {name}, which is left over from the service {service}: invoke up removes it"
            return None if service in config["services"] else left
        return f"the container {name}" + (f" of project {owner}" if owner else "")
    return _process(published.port, published.protocol) or "a process that is hidden from your account (sudo ss -lntup)"


def _process(port: int, protocol: str) -> str | None:
    """Name and pid of the process that listens on a port, if /proc shows it to this account."""
    sockets = set(_inodes(port, protocol))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(link.readlink().name in sockets for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue  # ended, or of another account
    return None


def _inodes(port: int, protocol: str) -> Iterator[str]:
    for table in (f"/proc/net/{protocol}", f"/proc/net/{protocol}6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            local, state, inode = fields[1], fields[3], fields[9]
            if int(local.rpartition(":")[2], 16) == port and (state == LISTENING or protocol == "udp"):
                yield f"socket:[{inode}]"
