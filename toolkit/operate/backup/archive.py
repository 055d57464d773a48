"""The files of the platform that a restore on another host needs, as one archive."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker
from toolkit.engine.health import container_states
from toolkit.operate import revision
from toolkit.operate.backup import volumes

EXCLUDED = ("secrets/backup/key", "secrets/.rotation", "secrets/.gitignore")
"""The key of the repository is not in the repository; the rest is temporary, or in the checkout."""

TIMEOUT_SECONDS = 120.0

KAFKA = (
    "env", "KAFKA_HEAP_OPTS=-Xmx128m", "KAFKA_JVM_PERFORMANCE_OPTS=-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
)  # fmt: skip
BOOTSTRAP = "--bootstrap-server=localhost:29091"
EXPORTS = {
    "definitions/rabbitmq.json": ("rabbitmq", ("rabbitmqctl", "--quiet", "export_definitions", "-")),
    "definitions/kafka-topics.txt": ("kafka", (*KAFKA, "/opt/kafka/bin/kafka-topics.sh", BOOTSTRAP, "--describe")),
    "definitions/kafka-acls.txt": ("kafka", (*KAFKA, "/opt/kafka/bin/kafka-acls.sh", BOOTSTRAP, "--list")),
}
"""Files that are the output of a tool in a service. For reading: the services recreate all of it at their start."""


@dataclass(frozen=True)
class Archive:
    """The archive, its members, and what could not be included, with the reason."""

    content: bytes
    members: tuple[str, ...]
    missing: tuple[str, ...]


def make(project: Project, docker: Docker) -> Archive:
    """Collect the files of the checkout that are not in the repository of its source, and those of the services.

    Raises:
        ToolkitError: a file cannot be read.
    """
    buffer = io.BytesIO()
    missing: list[str] = []
    running = {state.service: state.id for state in container_states(docker) if state.status == "running"}
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in checkout_files(project):
            try:
                archive.add(project.root / name, arcname=f"checkout/{name}", recursive=False)
            except OSError as error:
                raise ToolkitError(f"cannot read {name}", error.strerror or str(error)) from error
        for name, content in _service_files(docker, running, missing):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(content))
        members = tuple(archive.getnames())
    return Archive(buffer.getvalue(), members, tuple(missing))


def checkout_files(project: Project) -> list[str]:
    """The files of the checkout that only this host has: settings, credentials, the user's own compose files."""
    own = [".env", project.data["override"], "targets.yml"]
    listed = [name for name in project.env.get("COMPOSE_FILE", "").split(":") if name not in project.shipped_files]
    secrets = sorted(str(each.relative_to(project.root)) for each in project.secrets_dir.rglob("*") if each.is_file())
    names = dict.fromkeys([*own, *listed, *secrets])
    return [name for name in names if name and not name.startswith(EXCLUDED) and (project.root / name).is_file()]


def commit(project: Project) -> str:
    """The commit of the checkout, with ``-dirty`` if files have changed since; empty outside a repository."""
    found = revision.read(project.root)
    return f"{found.commit}{'-dirty' if found.changed else ''}" if found else ""


def _service_files(docker: Docker, running: dict[str, str], missing: list[str]) -> Iterator[tuple[str, bytes]]:
    for name, (service, command) in EXPORTS.items():
        if service in running:
            result = docker("exec", running[service], *command, timeout=TIMEOUT_SECONDS)
            if result.code == 0:
                yield name, result.stdout.encode()
            else:
                missing.append(f"{name}: {' '.join(result.stderr.split())[-200:]}")
    for files in volumes.FILES:
        if files.service in running:
            copied = volumes.copy(docker, files, running[files.service])
            if isinstance(copied, bytes):
                yield files.member, copied
            else:
                missing.append(f"{files.member}: {copied}")


def extract(content: bytes, target: Path) -> list[str]:
    """Write an archive into a new folder that only its owner can enter; returns the names of the files.

    Raises:
        ToolkitError: the folder exists, or the archive is not one of ours.
    """
    try:
        target.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise ToolkitError(f"cannot create {target}", error.strerror or str(error), "remove it") from error
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive.getmembers():
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                raise ToolkitError("the archive of the platform's files is invalid", f"it has {member.name}")
        # Python 3.11.2, that of Debian 12, has no filters.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(target)  # noqa: S202 - the members have been checked
        return archive.getnames()
