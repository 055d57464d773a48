"""Checks of the host: Docker's versions, limits, memory and disk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from toolkit import images
from toolkit.checkout.setup import DEFAULT_FOLDER, ENGINE_FOLDER
from toolkit.checks.doctor.subject import Subject
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome
from toolkit.engine.compose import INSTALL, INSTALL_COMPOSE, Docker, Result, explain

ENGINE = (25, 0)  # start_interval
ENGINE_FOR_ISOLATION = (28, 0)  # the gateway mode "isolated"
COMPOSE = (2, 24)  # !reset and !override
BUILDX = (0, 17)  # required by docker compose build

GB = 1_000_000_000
DISK_TO_BUILD = 10 * GB
DISK_TO_RUN = 2 * GB


def require_engine(docker: Docker) -> None:
    """Return if the engine is reachable, and it and Compose are recent enough.

    Raises:
        ToolkitError: the engine is unreachable, or one of them is too old.
    """
    with ThreadPoolExecutor() as pool:
        engine = pool.submit(_engine_version, docker)
        compose = pool.submit(_compose_version, docker)
        engine.result()
        compose.result()


def _engine_version(docker: Docker, minimum: tuple[int, int] = ENGINE) -> str:
    return _version("Docker Engine", docker("version", "--format", "{{.Server.Version}}"), minimum, INSTALL)


def _compose_version(docker: Docker) -> str:
    return _version("Docker Compose", docker.compose("version", "--short"), COMPOSE, INSTALL_COMPOSE)


def _version(program: str, result: Result, minimum: tuple[int, int], fix: str) -> str:
    """The version in the output of a command.

    Raises:
        ToolkitError: the command failed, or the version is older than ``minimum``.
    """
    found = re.search(r"(\d+)\.(\d+)\S*", result.stdout)
    if result.code or not found:
        raise explain(f"read the version of {program}", result)
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
    actual = subject.info["DockerRootDir"]
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
            version = _version("Docker Engine", Result(0, version, ""), ENGINE_FOR_ISOLATION, fix)
    except ToolkitError as error:
        yield Finding.of_error("engine", error)
    else:
        yield Finding("engine", Outcome.OK, f"Docker Engine {version}")


def _isolates(subject: Subject) -> bool:
    try:
        networks = subject.configuration.get("networks", {}).values()
    except ToolkitError:
        return False  # reported by the check of the compose files
    return any("isolated" in network.get("driver_opts", {}).values() for network in networks)


def compose(subject: Subject) -> Iterator[Finding]:
    """The Compose plugin is installed and recent enough."""
    try:
        yield Finding("compose", Outcome.OK, f"Docker Compose {_compose_version(subject.docker)}")
    except ToolkitError as error:
        yield Finding.of_error("compose", error)


def buildx(subject: Subject) -> Iterator[Finding]:
    """The buildx plugin is installed and recent enough: the application's image is always built here."""
    fix = "install the buildx plugin 0.17 or newer (package docker-buildx-plugin or docker-buildx)"
    try:
        version = _version("buildx", subject.docker("buildx", "version"), BUILDX, fix)
    except ToolkitError as error:
        yield Finding("buildx", Outcome.FAILED, f"{error.what}: {error.why}", fix)
    else:
        yield Finding("buildx", Outcome.OK, f"buildx {version}")


def limits(subject: Subject) -> Iterator[Finding]:
    """The kernel enforces the limits of the compose files."""
    names = {"MemoryLimit": "memory", "CpuCfsQuota": "CPU", "PidsLimit": "processes"}
    missing = [what for name, what in names.items() if not subject.info.get(name)]
    if missing:
        what = f"the kernel does not enforce limits of {', '.join(missing)}: one service can starve the others"
        yield Finding("limits", Outcome.WARNING, what, "enable the cgroup controllers memory, cpu and pids at boot")
    else:
        yield Finding("limits", Outcome.OK, f"enforced (cgroup v{subject.info.get('CgroupVersion', '?')})")


def memory(subject: Subject) -> Iterator[Finding]:
    """The memory limits of all services fit into the host's memory."""
    total, allowed = subject.info["MemTotal"], 0
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
    root = Path(subject.info["DockerRootDir"])
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
