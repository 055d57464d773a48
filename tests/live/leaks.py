"""Search for secrets outside secrets/: in everything that a running stack, its images and its tasks expose.

Each place is a function that yields the name and the content of what it has read, so that a clean place differs from
one where nothing was read.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from tests.live.needles import Needle, Stream, search
from tests.live.stack import Stack

Content = bytes | Stream
Place = Callable[[Stack], Iterator[tuple[str, Content]]]

NEW_PROCESS = 0.5
"""Seconds in which a new process is read repeatedly."""
OBSERVATION = 12.0
"""Seconds in which processes are observed: longer than the interval of most health checks."""

APIS = {
    "prometheus": (9090, ("status/config", "status/flags", "status/runtimeinfo", "targets", "rules", "alerts",
                          "alertmanagers", "targets/metadata", 'series?match[]={__name__=~".%2B"}')),
    "alertmanager": (9093, ("status", "alerts", "silences", "receivers")),
    "grafana": (3000, ("frontend/settings", "health")),
}  # fmt: skip
"""Port and API paths, requested inside the container; paths of Prometheus and Alertmanager follow a version."""
ROOTS = {"prometheus": "/api/v1/", "alertmanager": "/api/v2/", "grafana": "/api/"}


@dataclass(frozen=True, order=True)
class Leak:
    """A secret in a place where it must not be, by its name; the value is in secrets/ only."""

    kind: str
    place: str
    secret: str
    form: str


@dataclass
class Report:
    """The leaks, and the number of bytes read in each kind of place."""

    leaks: set[Leak] = field(default_factory=set)
    bytes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        lines = [f"{leak.kind}: {leak.place}: {leak.secret} ({leak.form})" for leak in sorted(self.leaks)]
        return "\n".join([*lines, *(f"{kind}: {size} bytes" for kind, size in self.bytes.items())])


def find(stack: Stack, needles: Iterable[Needle], places: Iterable[str] = ()) -> Report:
    """Search for the needles in all places, or in the named ones."""
    needles, report = list(needles), Report()
    for kind in places or PLACES:
        report.bytes[kind] = 0
        for place, content in PLACES[kind](stack):
            stream = io.BytesIO(content) if isinstance(content, bytes) else content
            found, size = search(needles, stream)
            report.bytes[kind] += size
            report.leaks |= {Leak(kind, _masked(found, place), needle.secret, needle.form) for needle in found}
    return report


def inspected(stack: Stack) -> Iterator[tuple[str, Content]]:
    """`docker inspect` of every container, image, network and volume, and the history of every image."""
    for container in _containers(stack):
        yield from _values(f"container {container['Name']}", container)
    for image in _images(stack):
        yield from _values(f"image {image}", json.loads(stack.docker("image", "inspect", image)))
        history = stack.docker("history", "--no-trunc", "--format", "{{json .}}", image)
        for number, line in enumerate(history.splitlines()):
            yield f"history of {image}, step {number}", line.encode()
    for kind in ("network", "volume"):
        label = f"label=com.docker.compose.project={stack.name}"
        if names := stack.docker(kind, "ls", "--quiet", "--filter", label).split():
            yield from _values(kind, json.loads(stack.docker(kind, "inspect", *names)))


def processes(stack: Stack) -> Iterator[tuple[str, Content]]:
    """Arguments and environment of every process in a container, including short-lived ones."""
    names = {container["Id"]: container["Name"] for container in _containers(stack)}
    since: dict[str, float] = {}
    deadline = time.monotonic() + OBSERVATION
    while time.monotonic() < deadline:
        present = {path.name for path in Path("/proc").iterdir() if path.name.isdigit()}
        since = {pid: since.get(pid, time.monotonic()) for pid in present}
        for pid in present:
            # More than once, because a process is a copy of its parent until it executes the new program.
            if time.monotonic() - since[pid] < NEW_PROCESS:
                yield from _process(pid, names)
        time.sleep(0.01)


def _process(pid: str, names: dict[str, str]) -> Iterator[tuple[str, Content]]:
    folder = Path("/proc", pid)
    try:
        container = re.search(r"[0-9a-f]{64}", (folder / "cgroup").read_text())
        if container and container[0] in names:
            program = (folder / "comm").read_text().strip()
            for part in ("cmdline", "environ"):
                yield f"{part} of {program} in {names[container[0]]}", (folder / part).read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return  # the process has ended


def configuration(stack: Stack) -> Iterator[tuple[str, Content]]:
    """The output of `docker compose config`, including disabled groups and one-off tools."""
    yield from _values("effective", _config(stack))
    yield "as YAML", stack.compose("--profile", "*", "config").encode()


def container_logs(stack: Stack) -> Iterator[tuple[str, Content]]:
    """The logs of all containers."""
    for container in _containers(stack):
        with _output("docker", "logs", container["Id"]) as stream:
            yield f"log of {container['Name']}", stream


def engine_log(stack: Stack) -> Iterator[tuple[str, Content]]:
    """The log of the engine: a file beside its data if scripts/engine.sh started it, else the journal."""
    log = Path(stack.docker("info", "--format", "{{.DockerRootDir}}").strip(), "engine.log")
    command = ["cat", str(log)] if log.exists() else ["journalctl", "--unit=docker", "--unit=containerd"]
    with _output(*command) as stream:
        yield "log of the engine", stream


def layers(stack: Stack) -> Iterator[tuple[str, Content]]:
    """Every file in every layer of the images that are built here, including files that a later layer removes.

    Of images that are older than the secrets, which cannot contain them, only the application's is read.
    """
    services = _config(stack)["services"]
    built = {service["image"] for service in services.values() if "build" in service} & set(_images(stack))
    since = min(path.stat().st_mtime for path in (stack.root / "secrets").glob("*.txt"))
    read = {image for image in built if _modified(stack, image) >= since} | {services["app"]["image"]}
    with _output("docker", "save", *sorted(read)) as stream, tarfile.open(fileobj=stream, mode="r|") as saved:
        for entry in saved:
            content = saved.extractfile(entry) if entry.isreg() else None
            if content is None:
                continue
            data = io.BytesIO(content.read())
            if not tarfile.is_tarfile(data):
                yield f"{entry.name} of the images", data
                continue
            with tarfile.open(fileobj=data) as layer:
                for file in layer:
                    yield f"name of a file in layer {entry.name}", file.name.encode()
                    if file.isreg() and (text := layer.extractfile(file)):
                        yield f"/{file.name} in layer {entry.name}", text


def apis(stack: Stack) -> Iterator[tuple[str, Content]]:
    """The responses of Prometheus, Alertmanager and Grafana to unauthenticated clients."""
    for service in APIS.keys() & stack.services():
        port, paths = APIS[service]
        for path in (*(ROOTS[service] + path for path in paths), "/metrics"):
            address = f"http://127.0.0.1:{port}{path}"
            answer = stack.exec(service, "wget", "-q", "-T", "20", "-O", "-", address)
            yield f"{service} {path}", answer.encode()


def tasks(stack: Stack) -> Iterator[tuple[str, Content]]:
    """The output of tasks, with the commands that they run."""
    for task in ("config", "status", "doctor", "smoke"):
        done = stack.invoke("--echo", task, check=False)
        yield f"invoke --echo {task}", (done.stdout + done.stderr).encode()


def settings(stack: Stack) -> Iterator[tuple[str, Content]]:
    """The settings in .env."""
    yield ".env", (stack.root / ".env").read_bytes()


def files(stack: Stack) -> Iterator[tuple[str, Content]]:
    """The files in volumes, in mounted folders of the checkout, and in the writable layers of containers.

    The data of the services is in volumes too: it has hashes of passwords only.
    """
    folders: dict[Path, str] = {}
    for container in _containers(stack):
        upper = (container.get("GraphDriver") or {}).get("Data") or {}
        if "UpperDir" in upper:
            folders[Path(upper["UpperDir"])] = f"written by {container['Name']}"
        for mount in container["Mounts"]:
            source = Path(mount["Source"])
            ours = source.is_relative_to(stack.root) and not source.is_relative_to(stack.root / "secrets")
            if mount["Type"] == "volume" or ours:
                folders[source] = mount.get("Name") or str(source.relative_to(stack.root))
    for folder, name in folders.items():
        for path in [folder] if folder.is_file() else folder.rglob("*"):
            try:
                yield f"name of {name}: {path.relative_to(folder)}", path.name.encode()
                if path.is_file() and not path.is_symlink():
                    with path.open("rb") as stream:
                        yield f"{name}: {path.relative_to(folder)}", stream
            except FileNotFoundError:
                continue  # a running service replaces its files


PLACES: dict[str, Place] = {
    "docker inspect": inspected,
    "processes": processes,
    "compose config": configuration,
    "container logs": container_logs,
    "engine log": engine_log,
    "image layers": layers,
    "APIs": apis,
    "tasks": tasks,
    ".env": settings,
    "files": files,
}


def _masked(found: Iterable[Needle], place: str) -> str:
    """The name of a place with secrets masked: a key or the name of a file can be a secret itself."""
    for needle in found:
        place = place.replace(needle.data.decode(), "…")
    return place


@contextmanager
def _output(*argv: str) -> Iterator[IO[bytes]]:
    """The output of a running command, standard output and standard error; the command must succeed."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        yield process.stdout
        while process.stdout.read(1 << 20):
            pass  # the command blocks until its output is read
    assert process.returncode == 0, f"{argv} ended with {process.returncode}"


def _containers(stack: Stack) -> list[dict[str, Any]]:
    ids = stack.containers()
    found: list[dict[str, Any]] = json.loads(stack.docker("container", "inspect", *ids)) if ids else []
    return found


def _images(stack: Stack) -> list[str]:
    """The names of the images of the project's containers."""
    return sorted({container["Config"]["Image"] for container in _containers(stack)})


def _modified(stack: Stack, image: str) -> float:
    """The Unix time at which an image was built or tagged, whichever is later."""
    inspected = json.loads(stack.docker("image", "inspect", image))[0]
    times = inspected["Created"], (inspected.get("Metadata") or {}).get("LastTagTime") or inspected["Created"]
    return max(datetime.fromisoformat(each).timestamp() for each in times)


def _config(stack: Stack) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(stack.compose("--profile", "*", "config", "--format", "json"))
    return config


def _values(place: str, node: Any) -> Iterator[tuple[str, Content]]:
    """Every key and value below a node, each with its path."""
    match node:
        case dict():
            for key, value in node.items():
                yield f"{place}, a key", str(key).encode()
                yield from _values(f"{place}.{key}", value)
        case list():
            for number, value in enumerate(node):
                yield from _values(f"{place}[{number}]", value)
        case _:
            yield place, str(node).encode()
