"""The machine: Docker's versions, and whether memory and disk suffice."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from toolkit import images
from toolkit.checkout.setup import ENGINE_FOLDER, USUAL_FOLDER
from toolkit.checks.doctor.subject import Subject
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome
from toolkit.engine.compose import INSTALL, INSTALL_COMPOSE, Docker, Result, explain

ENGINE = (25, 0)  # start_interval
ENGINE_FOR_ISOLATION = (28, 0)  # the gateway mode "isolated"
COMPOSE = (2, 24)  # !reset and !override
BUILDX = (0, 17)  # what docker compose build asks for

GB = 1_000_000_000
DISK_TO_BUILD = 10 * GB
DISK_TO_RUN = 2 * GB


def require_engine(docker: Docker) -> None:
    """Make sure that an engine answers, and that it and Compose are new enough.

    Raises:
        ToolkitError: it does not, or one of them is not.
    """
    with ThreadPoolExecutor() as side_by_side:
        engine = side_by_side.submit(_engine_version, docker)
        compose = side_by_side.submit(_compose_version, docker)
        engine.result()
        compose.result()


def _engine_version(docker: Docker, least: tuple[int, int] = ENGINE) -> str:
    return _version("Docker Engine", docker("version", "--format", "{{.Server.Version}}"), least, INSTALL)


def _compose_version(docker: Docker) -> str:
    return _version("Docker Compose", docker.compose("version", "--short"), COMPOSE, INSTALL_COMPOSE)


def _version(program: str, result: Result, least: tuple[int, int], fix: str) -> str:
    """The version that a command printed.

    Raises:
        ToolkitError: it failed, or the version is older than ``least``.
    """
    found = re.search(r"(\d+)\.(\d+)\S*", result.stdout)
    if result.code or not found:
        raise explain(f"ask for the version of {program}", result)
    if (int(found[1]), int(found[2])) < least:
        needed = ".".join(map(str, least)).removesuffix(".0")
        raise ToolkitError(f"{program} {found[0]} is too old", f"{needed} or newer is needed", fix)
    return found[0]


def require_engine_folder(docker: Docker) -> None:
    """Make sure that the files of the engine that a service reads are on this machine.

    Raises:
        ToolkitError: they are not: the engine runs in a virtual machine, or on another host.
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
            f"the engine keeps them in {folder}, which is not on this machine (Docker Desktop, or DOCKER_HOST)",
            "use an engine of this machine, or leave the group out: invoke up --without=monitoring",
        )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return True  # another account's: the engine runs as root


def engine_files(subject: Subject) -> Iterator[Finding]:
    """.env names the folder in which the engine keeps the logs of the containers."""
    subject.project.require_setup()
    there = subject.info["DockerRootDir"]
    named = subject.project.env.get(ENGINE_FOLDER, USUAL_FOLDER)
    if named != there:
        what = f"{ENGINE_FOLDER} is {named}, and the engine's files are in {there}: no log line would be collected"
        yield Finding("engine files", Outcome.FAILED, what, "run: invoke setup")
    else:
        yield Finding("engine files", Outcome.OK, there)


def engine(subject: Subject) -> Iterator[Finding]:
    """The engine answers and is new enough for what the compose files use."""
    try:
        version = _engine_version(subject.docker)
        if _isolates(subject):
            fix = "install Docker Engine 28 or newer: an older one does not isolate the networks of this profile"
            version = _version("Docker Engine", Result(0, version, ""), ENGINE_FOR_ISOLATION, fix)
    except ToolkitError as error:
        yield Finding.of_error("engine", error)
    else:
        yield Finding("engine", Outcome.OK, f"Docker Engine {version}")


def _isolates(subject: Subject) -> bool:
    try:
        networks = subject.configuration.get("networks", {}).values()
    except ToolkitError:
        return False  # the check of the compose files says why
    return any("isolated" in network.get("driver_opts", {}).values() for network in networks)


def compose(subject: Subject) -> Iterator[Finding]:
    """The Compose plugin is there and new enough."""
    try:
        yield Finding("compose", Outcome.OK, f"Docker Compose {_compose_version(subject.docker)}")
    except ToolkitError as error:
        yield Finding.of_error("compose", error)


def buildx(subject: Subject) -> Iterator[Finding]:
    """The builder plugin is there and new enough: the application's image is always built here."""
    fix = "install the buildx plugin 0.17 or newer (package docker-buildx-plugin or docker-buildx)"
    try:
        version = _version("buildx", subject.docker("buildx", "version"), BUILDX, fix)
    except ToolkitError as error:
        yield Finding("buildx", Outcome.FAILED, f"{error.what}: {error.why}", fix)
    else:
        yield Finding("buildx", Outcome.OK, f"buildx {version}")


def limits(subject: Subject) -> Iterator[Finding]:
    """The kernel enforces the limits that the compose files set."""
    names = {"MemoryLimit": "memory", "CpuCfsQuota": "CPU", "PidsLimit": "processes"}
    lacking = [what for name, what in names.items() if not subject.info.get(name)]
    if lacking:
        what = f"the kernel does not enforce limits of {', '.join(lacking)}: one service can starve the others"
        yield Finding("limits", Outcome.WARNING, what, "enable the cgroup controllers memory, cpu and pids at boot")
    else:
        yield Finding("limits", Outcome.OK, f"enforced (cgroup v{subject.info.get('CgroupVersion', '?')})")


def memory(subject: Subject) -> Iterator[Finding]:
    """All services at their limits fit into the machine."""
    total, allowed = subject.info["MemTotal"], 0
    for service in subject.configuration["services"].values():
        deploy = service.get("deploy", {})
        limit = int(deploy.get("resources", {}).get("limits", {}).get("memory", 0))
        allowed += limit * int(deploy.get("replicas", 1))
    figures = f"the services may take {allowed / GB:.1f} GB, this machine has {total / GB:.1f} GB"
    if allowed > total:
        fix = "add memory, leave a group out (invoke up --without=monitoring), or lower limits in an override file"
        yield Finding("memory", Outcome.WARNING, f"{figures}: under load the kernel may end one of them", fix)
    else:
        yield Finding("memory", Outcome.OK, figures)


def disk(subject: Subject) -> Iterator[Finding]:
    """Docker's disk has room for images that are still to be made, and for data."""
    root = Path(subject.info["DockerRootDir"])
    if not root.exists():
        yield Finding("disk", Outcome.OK, f"{root} is not on this machine, so its space is not known here")
        return
    free = shutil.disk_usage(root).free
    ready = images.ready(subject.project, subject.docker)
    need, purpose = (DISK_TO_RUN, "to run") if ready else (DISK_TO_BUILD, "to pull or build the images")
    if free < need:
        fix = "docker system df shows what Docker holds; docker image prune removes images that nothing uses"
        what = f"{free / GB:.1f} GB free on the disk of {root}, {need / GB:.0f} GB are needed {purpose}"
        yield Finding("disk", Outcome.FAILED, what, fix)
    else:
        yield Finding("disk", Outcome.OK, f"{free / GB:.1f} GB free on the disk of {root}, enough {purpose}")
