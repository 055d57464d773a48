"""Checks of the host: Docker's versions, limits, memory and disk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit import images
from toolkit.checkout.setup import DEFAULT_FOLDER, ENGINE_FOLDER
from toolkit.checks.doctor.subject import Subject
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome
from toolkit.engine.compose import INSTALL, INSTALL_COMPOSE, Docker

INSTALL_BUILDX = "install the buildx plugin 0.17 or newer (package docker-buildx-plugin or docker-buildx)"

ENGINE = (25, 0)  # start_interval
ENGINE_FOR_ISOLATION = (28, 0)  # the gateway mode "isolated"
ENGINE_FOR_IPV6 = (27, 0)  # subnets of IPv6 that it chooses itself, and ip6tables
PLUGINS = {
    "compose": ("Docker Compose", (2, 24), INSTALL_COMPOSE),  # !reset and !override
    "buildx": ("buildx", (0, 17), INSTALL_BUILDX),  # required by docker compose build
}

GB = 1_000_000_000
DISK_TO_BUILD = 10 * GB
DISK_TO_RUN = 2 * GB


def require_engine(docker: Docker) -> None:
    """Return if the engine is reachable, and it and Compose are recent enough.

    Raises:
        ToolkitError: the engine is unreachable, or one of them is too old.
    """
    _engine_version(docker)
    _plugin_version(docker, "compose")


def _engine_version(docker: Docker, minimum: tuple[int, int] = ENGINE) -> str:
    return _version("Docker Engine", docker.info()["ServerVersion"], minimum, INSTALL)


def _plugin_version(docker: Docker, name: str) -> str:
    title, minimum, fix = PLUGINS[name]
    version = docker.plugin(name)
    if version is None:
        raise ToolkitError(f"cannot run docker {name}", "the plugin is not installed", fix)
    return _version(title, version, minimum, fix)


def _version(program: str, text: str, minimum: tuple[int, int], fix: str) -> str:
    """The version of a program.

    Raises:
        ToolkitError: it is unknown, or older than ``minimum``.
    """
    found = re.search(r"(\d+)\.(\d+)\S*", text)
    if not found:
        raise ToolkitError(f"{program} reports no version", f"but '{text}'", fix)
    if (int(found[1]), int(found[2])) < minimum:
        needed = ".".join(map(str, minimum)).removesuffix(".0")
        raise ToolkitError(f"{program} {found[0]} is too old", f"{needed} or newer is required", fix)
    return found[0]


def require_engine_folder(docker: Docker) -> None:
    """Return if the engine's files that services read are on this machine.

    Raises:
        ToolkitError: the engine runs in a virtual machine or on another host.
    """
    folder = docker.data_root()
    if folder is None or _exists(Path(folder)):
        return
    readers = [
        name
        for name, service in docker.effective()["services"].items()
        if any(str(volume.get("source", "")).startswith(f"{folder}/") for volume in service.get("volumes", []))
    ]
    if readers:
        raise ToolkitError(
            f"{' and '.join(readers)} cannot read the engine's files",
            f"they are in {folder}, which is not on this machine (Docker Desktop, or DOCKER_HOST)",
            "use an engine on this machine, or disable the group: invoke up --without=monitoring",
        )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return True  # of another account: the engine runs as root


def engine_files(subject: Subject) -> Iterator[Finding]:
    """.env has the engine's data folder, which contains the logs of the containers."""
    subject.project.require_setup()
    actual = subject.docker.info()["DockerRootDir"]
    named = subject.project.env.get(ENGINE_FOLDER, DEFAULT_FOLDER)
    if named != actual:
        what = f"{ENGINE_FOLDER} is {named}, but the engine's data is in {actual}: no logs would be collected"
        yield Finding("engine files", Outcome.FAILED, what, "run: invoke setup")
    else:
        yield Finding("engine files", Outcome.OK, actual)


def engine(subject: Subject) -> Iterator[Finding]:
    """The engine is reachable and recent enough for the compose files."""
    try:
        version = _engine_version(subject.docker)
        if _isolates(subject):
            fix = "install Docker Engine 28 or newer: older versions do not isolate the networks of this profile"
            version = _version("Docker Engine", version, ENGINE_FOR_ISOLATION, fix)
        if _has_ipv6(subject):
            fix = "install Docker Engine 27 or newer, or set ENABLE_IPV6=false in .env"
            version = _version("Docker Engine", version, ENGINE_FOR_IPV6, fix)
    except ToolkitError as error:
        yield Finding.of_error("engine", error)
    else:
        yield Finding("engine", Outcome.OK, f"Docker Engine {version}")


def _isolates(subject: Subject) -> bool:
    return any("isolated" in network.get("driver_opts", {}).values() for network in _networks(subject))


def _has_ipv6(subject: Subject) -> bool:
    return any(network.get("enable_ipv6") for network in _networks(subject))


def _networks(subject: Subject) -> list[dict[str, Any]]:
    try:
        return list(subject.configuration.get("networks", {}).values())
    except ToolkitError:
        return []  # reported by the check of the compose files


def compose(subject: Subject) -> Iterator[Finding]:
    """The Compose plugin is installed and recent enough."""
    yield _plugin(subject, "compose")


def buildx(subject: Subject) -> Iterator[Finding]:
    """The buildx plugin is installed and recent enough: the application's image is always built here."""
    yield _plugin(subject, "buildx")


def _plugin(subject: Subject, name: str) -> Finding:
    try:
        return Finding(name, Outcome.OK, f"{PLUGINS[name][0]} {_plugin_version(subject.docker, name)}")
    except ToolkitError as error:
        return Finding.of_error(name, error)


def limits(subject: Subject) -> Iterator[Finding]:
    """The kernel enforces the limits of the compose files."""
    names = {"MemoryLimit": "memory", "CpuCfsQuota": "CPU", "PidsLimit": "processes"}
    missing = [what for name, what in names.items() if not subject.docker.info().get(name)]
    if missing:
        what = f"the kernel does not enforce limits of {', '.join(missing)}: one service can starve the others"
        yield Finding("limits", Outcome.WARNING, what, "enable the cgroup controllers memory, cpu and pids at boot")
    else:
        yield Finding("limits", Outcome.OK, f"enforced (cgroup v{subject.docker.info().get('CgroupVersion', '?')})")


def memory(subject: Subject) -> Iterator[Finding]:
    """The memory limits of all services fit into the host's memory."""
    total, allowed = subject.docker.info()["MemTotal"], 0
    for service in subject.configuration["services"].values():
        deploy = service.get("deploy", {})
        limit = int(deploy.get("resources", {}).get("limits", {}).get("memory", 0))
        allowed += limit * int(deploy.get("replicas", 1))
    figures = f"the services may take {allowed / GB:.1f} GB, this machine has {total / GB:.1f} GB"
    if allowed > total:
        fix = "add memory, disable a group (invoke up --without=monitoring), or lower limits in an override file"
        yield Finding("memory", Outcome.WARNING, f"{figures}: under load the kernel may OOM-kill a service", fix)
    else:
        yield Finding("memory", Outcome.OK, figures)


def disk(subject: Subject) -> Iterator[Finding]:
    """Docker's disk has space for missing images and for data."""
    root = Path(subject.docker.info()["DockerRootDir"])
    if not root.exists():
        yield Finding("disk", Outcome.SKIPPED, f"{root} is not on this machine, so its free space is unknown")
        return
    free = shutil.disk_usage(root).free
    ready = images.ready(subject.project, subject.docker)
    need, purpose = (DISK_TO_RUN, "to run") if ready else (DISK_TO_BUILD, "to pull or build the images")
    if free < need:
        fix = "docker system df shows Docker's disk usage; docker image prune removes unused images"
        what = f"{free / GB:.1f} GB free on the disk of {root}, {need / GB:.0f} GB required {purpose}"
        yield Finding("disk", Outcome.FAILED, what, fix)
    else:
        yield Finding("disk", Outcome.OK, f"{free / GB:.1f} GB free on the disk of {root}, enough {purpose}")
