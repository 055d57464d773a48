"""Files in volumes of services: copied while the service runs, put back while it is stopped."""

from __future__ import annotations

import sqlite3
import tarfile
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from toolkit.core import console
from toolkit.core.errors import ToolkitError
from toolkit.engine import compose
from toolkit.engine.compose import Docker
from toolkit.engine.health import container_states

LIMIT_BYTES = 64 * 1024 * 1024
TIMEOUT_SECONDS = 120.0
ATTEMPTS = 3
# In a shell, since the archive is binary. It keeps the owners and modes that the files have in the volume.
COPY, PUT_BACK = 'docker cp "$1:$2" - >"$3"', 'docker cp --archive - "$1:$2" <"$3"'


@dataclass(frozen=True)
class Files:
    """The files of a service: their archive, the path that is copied, and the folder that the archive is put into."""

    member: str
    service: str
    path: str
    folder: str


GRAFANA = Files("volumes/grafana.tar", "grafana", "/var/lib/grafana/grafana.db", "/var/lib/grafana")
FILES = (
    Files("volumes/proxy.tar", "proxy", "/data/caddy", "/data"),
    Files("volumes/alertmanager.tar", "alertmanager", "/alertmanager/.", "/alertmanager"),
    GRAFANA,
)
"""Certificates, silences, dashboards and accounts."""


def copy(docker: Docker, files: Files, container: str) -> bytes | str:
    """The archive of the files in a running container; the reason if they cannot be copied."""
    with tempfile.TemporaryDirectory(prefix="netmon-backup-") as folder:
        archive = Path(folder) / "archive.tar"
        for _ in range(ATTEMPTS):
            argv = ["bash", "-o", "pipefail", "-c", COPY, "copy", container, files.path, str(archive)]
            result = compose.run(argv, cwd=docker.root, timeout=TIMEOUT_SECONDS)
            if result.code:
                return " ".join(result.stderr.split())[-200:]
            if archive.stat().st_size > LIMIT_BYTES:
                return f"larger than {LIMIT_BYTES // 1024 // 1024} MB"
            # Grafana may have written in the meantime.
            if not (problem := _problem(files, archive)):
                return archive.read_bytes()
        return problem


def _problem(files: Files, archive: Path) -> str:
    """Why the copy cannot be used; empty if it can."""
    try:
        with tarfile.open(archive) as opened:
            names = opened.getnames()
            if files is GRAFANA:
                copied = opened.extractfile("grafana.db")
                (archive.parent / "grafana.db").write_bytes(copied.read() if copied else b"")
    except (tarfile.TarError, KeyError) as error:
        return f"the copy is incomplete: {error}"
    if files is GRAFANA:
        with closing(sqlite3.connect(archive.parent / "grafana.db")) as database:
            try:
                [[verdict]] = database.execute("PRAGMA quick_check(1)").fetchall()
            except sqlite3.DatabaseError as error:
                return f"the copy is damaged: {error}"
        return "" if verdict == "ok" else f"the copy is damaged: {verdict}"
    return "" if names else "there are no files"


def put_back(docker: Docker, folder: Path) -> None:
    """Put the archives in a folder back into the volumes of their services, which are stopped.

    Raises:
        ToolkitError: an archive cannot be put back.
    """
    containers = {state.service: state.id for state in container_states(docker)}
    for files in FILES:
        archive = folder / files.member
        if not archive.is_file():
            continue
        if files.service not in containers:
            console.say(f"  {files.member} is not put back: {files.service} has no container", "warning")
            continue
        # A running service would overwrite them when it ends.
        docker.check(docker.compose("stop", files.service), f"stop {files.service}")
        argv = ["bash", "-c", PUT_BACK, "copy", containers[files.service], files.folder, str(archive)]
        result = compose.run(argv, cwd=docker.root, timeout=TIMEOUT_SECONDS)
        if result.code:
            why = " ".join(result.stderr.split())[-200:]
            raise ToolkitError(f"cannot put {files.member} back", why, f"{archive} has the files")
        console.say(f"  {files.member} is in the volume of {files.service}")
