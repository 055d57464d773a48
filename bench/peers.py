"""Others that probe the same target: blackbox_exporter with Prometheus, in the stack's images, on their own network."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.live.stack import Stack, until
from toolkit.engine.memory import used

BLACKBOX, PROMETHEUS = "blackbox-exporter", "prometheus"
BLACKBOX_PORT, PROMETHEUS_PORT = 9115, 9090
CONFIGURATION = "/etc/peer"
MODULES = {"modules": {"http_2xx": {"prober": "http", "http": {"preferred_ip_protocol": "ip4"}}}}


@dataclass(frozen=True)
class Peer:
    """Both containers, and the folder of their configuration."""

    stack: Stack
    containers: Mapping[str, str]
    """Their names by their full ids."""
    folder: Path

    def probe(self, urls: Sequence[str], interval: int) -> None:
        """Probe these URLs, each every `interval` seconds, from now on; none of them: be idle."""
        write(self.folder / "prometheus.yml", scrapes(urls, interval))
        [prometheus] = [each for each, name in self.containers.items() if name == PROMETHEUS]
        self.stack.docker("kill", "--signal=HUP", prometheus)

    def memory(self) -> float:
        """What both use, in bytes."""
        pids = {each: int(self.stack.docker("inspect", "--format={{.State.Pid}}", each)) for each in self.containers}
        return sum(used(each, pid) or 0 for each, pid in pids.items())


def scrapes(urls: Sequence[str], interval: int) -> dict[str, Any]:
    """The configuration of Prometheus that probes URLs by blackbox_exporter, as its documentation has it."""
    job = {
        "job_name": "targets",
        "metrics_path": "/probe",
        "params": {"module": ["http_2xx"]},
        "static_configs": [{"targets": list(urls)}],
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": f"{BLACKBOX}:{BLACKBOX_PORT}"},
        ],
    }
    timeout = f"{min(interval, 10)}s"
    return {
        "global": {"scrape_interval": f"{interval}s", "scrape_timeout": timeout},
        "scrape_configs": [job] if urls else [],
    }


def write(path: Path, content: Mapping[str, object]) -> None:
    """Write a configuration that the user of the container can read."""
    path.write_text(yaml.safe_dump(content))
    path.chmod(0o644)


@contextmanager
def running(stack: Stack) -> Iterator[Peer]:
    """Both, without targets and without limits; removed afterwards, with their network and volume."""
    services = stack.configuration("monitoring")
    images = {name: services[name]["image"] for name in (BLACKBOX, PROMETHEUS)}
    project = f"{stack.name}-peer"
    remove(stack, project)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        write(folder / "blackbox.yml", MODULES)
        write(folder / "prometheus.yml", scrapes((), 5))
        stack.docker("network", "create", project)
        try:
            commands = {
                BLACKBOX: [f"--config.file={CONFIGURATION}/blackbox.yml"],
                PROMETHEUS: [f"--config.file={CONFIGURATION}/prometheus.yml", "--storage.tsdb.path=/prometheus"],
            }
            containers = {
                start(stack, project, each, images[each], folder, command): each for each, command in commands.items()
            }
            until(lambda: ready(stack, containers), 60, "Prometheus and blackbox_exporter to be ready")
            yield Peer(stack, containers, folder)
        finally:
            remove(stack, project)


def start(stack: Stack, project: str, name: str, image: str, folder: Path, command: Sequence[str]) -> str:
    """Start a container and return its full id."""
    return stack.docker(
        "run", "--detach", "--pull=never", f"--name={project}-{name}", f"--network={project}",
        f"--network-alias={name}", "--user=65534:65534", "--volume=/prometheus",
        f"--volume={folder}:{CONFIGURATION}:ro", image, *command,
    ).strip()  # fmt: skip


def ready(stack: Stack, containers: Mapping[str, str]) -> bool:
    """Whether both serve requests."""
    checks = {BLACKBOX: f"{BLACKBOX_PORT}/-/healthy", PROMETHEUS: f"{PROMETHEUS_PORT}/-/ready"}
    return all(
        "200" in stack.docker("exec", each, "sh", "-c", f"wget -qSO /dev/null http://127.0.0.1:{checks[name]} 2>&1",
                              check=False)
        for each, name in containers.items()
    )  # fmt: skip


def remove(stack: Stack, project: str) -> None:
    """Remove both and their network, as far as they exist."""
    names = [f"{project}-{each}" for each in (BLACKBOX, PROMETHEUS)]
    stack.docker("rm", "--force", "--volumes", *names, check=False)
    stack.docker("network", "rm", project, check=False)
