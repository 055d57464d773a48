"""Prometheus exporter for the containers of a Compose project: state, resource usage and limits.

Reads files of the kernel and of the engine, so it does not need the engine's socket, which grants root access to the
host. Names, labels, limits, process ids and restart counts come from the engine's state files, usage from the cgroups
(version 1 or 2), traffic from `/proc/<pid>/net/dev`. The engine keeps the results of health checks in memory only, so
there is no metric of them.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prometheus_client import REGISTRY, Counter, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PORT = 9101
HOST = Path("/host")

ERRORS = Counter("container_exporter_errors_total", "Containers whose files could not be read or parsed.")

LABELS = ("service", "container")
METRICS: Mapping[str, tuple[type[CounterMetricFamily | GaugeMetricFamily], str]] = {
    "container_running": (GaugeMetricFamily, "Whether the container is running."),
    "container_start_time_seconds": (GaugeMetricFamily, "Unix time of the last start of the container."),
    "container_restarts_total": (CounterMetricFamily, "Restarts of the container by the engine."),
    "container_cpu_usage_seconds_total": (CounterMetricFamily, "CPU time used by the container."),
    "container_cpu_throttled_seconds_total": (CounterMetricFamily, "Time throttled by the CPU limit."),
    "container_cpu_limit_cores": (GaugeMetricFamily, "CPU limit of the container, in cores."),
    "container_memory_working_set_bytes": (GaugeMetricFamily, "Memory used, without reclaimable page cache."),
    "container_memory_limit_bytes": (GaugeMetricFamily, "Memory limit of the container."),
    "container_oom_kills_total": (CounterMetricFamily, "Processes OOM-killed since the container was started."),
    "container_processes": (GaugeMetricFamily, "Processes and threads in the container."),
    "container_processes_limit": (GaugeMetricFamily, "Limit on processes and threads in the container."),
    "container_network_receive_bytes_total": (CounterMetricFamily, "Bytes received, without loopback."),
    "container_network_transmit_bytes_total": (CounterMetricFamily, "Bytes sent, without loopback."),
    "container_log_bytes": (GaugeMetricFamily, "Size of the container's log files."),
}


@dataclass(frozen=True)
class Container:
    """State and limits of a container, from the engine's files.

    `started` is a Unix time in seconds, `memory_limit` in bytes, `cpu_limit` in cores; a limit of 0 means none.
    `pid` is 0 if the container is not running.
    """

    id: str
    name: str
    labels: Mapping[str, str]
    pid: int
    started: float
    restarts: int
    memory_limit: int
    cpu_limit: float
    processes_limit: int

    @classmethod
    def read(cls, folder: Path) -> Container:
        """Read the state and the limits from a container's folder.

        Raises:
            OSError: a file cannot be read, for example because the container has just been removed.
            ValueError, KeyError, TypeError, AttributeError: a file has an unexpected format.
        """
        config = json.loads((folder / "config.v2.json").read_text())
        host = json.loads((folder / "hostconfig.json").read_text())
        state = config["State"]
        return cls(
            id=config["ID"],
            name=config["Name"].removeprefix("/"),
            labels=config["Config"]["Labels"] or {},
            pid=state["Pid"] if state["Running"] else 0,
            # Without the fraction: fromisoformat does not accept nanoseconds.
            started=datetime.fromisoformat(state["StartedAt"][:19] + "+00:00").timestamp(),
            restarts=config["RestartCount"],
            memory_limit=host.get("Memory") or 0,
            cpu_limit=(host.get("NanoCpus") or 0) / 1e9,
            processes_limit=max(host.get("PidsLimit") or 0, 0),
        )


class Cgroups:
    """The cgroups of containers: version 1 or 2, created by the engine's cgroupfs or systemd driver."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._unified = (root / "cgroup.controllers").exists()
        self._found: dict[str, str] = {}

    def use(self, container: str) -> dict[str, float]:
        """Usage of a running container, by metric name: seconds, bytes or counts, as the name says.

        Raises:
            OSError: the container has no cgroup, for example because it has just stopped.
            ValueError: a file has an unexpected format.
        """
        path = self._path(container)
        return self._use_v2(self._root / path) if self._unified else self._use_v1(path)

    def _path(self, container: str) -> str:
        base = self._root if self._unified else self._root / "memory"
        if container not in self._found:
            for pattern in (f"docker/{container}", f"*/docker-{container}.scope", f"**/docker-{container}.scope"):
                if found := next(base.glob(pattern), None):
                    self._found[container] = str(found.relative_to(base))
                    break
            else:
                raise FileNotFoundError(f"no cgroup of {container} under {base}")
        return self._found[container]

    def _use_v2(self, group: Path) -> dict[str, float]:
        cpu, memory = pairs(group / "cpu.stat"), pairs(group / "memory.stat")
        return {
            "container_cpu_usage_seconds_total": cpu["usage_usec"] / 1e6,
            "container_cpu_throttled_seconds_total": cpu.get("throttled_usec", 0) / 1e6,
            "container_memory_working_set_bytes": number(group / "memory.current") - memory["inactive_file"],
            "container_oom_kills_total": pairs(group / "memory.events")["oom_kill"],
            "container_processes": number(group / "pids.current"),
        }

    def _use_v1(self, path: str) -> dict[str, float]:
        memory = self._root / "memory" / path
        inactive = pairs(memory / "memory.stat")["total_inactive_file"]
        return {
            "container_cpu_usage_seconds_total": number(self._root / "cpuacct" / path / "cpuacct.usage") / 1e9,
            "container_cpu_throttled_seconds_total": pairs(self._root / "cpu" / path / "cpu.stat")["throttled_time"]
            / 1e9,
            "container_memory_working_set_bytes": number(memory / "memory.usage_in_bytes") - inactive,
            "container_oom_kills_total": pairs(memory / "memory.oom_control").get("oom_kill", 0),
            "container_processes": number(self._root / "pids" / path / "pids.current"),
        }


def number(path: Path) -> int:
    """The number in a file with a single value."""
    return int(path.read_text())


def pairs(path: Path) -> dict[str, int]:
    """Names and values of a flat keyed file, such as `cpu.stat`: one pair per line."""
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}


def traffic(path: Path) -> dict[str, float]:
    """Bytes received and sent on all interfaces but loopback, from a file like `/proc/net/dev` (proc(5))."""
    received = sent = 0
    for line in path.read_text().splitlines()[2:]:
        interface, values = line.split(":", 1)
        if interface.strip() != "lo":
            received += int(values.split()[0])
            sent += int(values.split()[8])
    return {"container_network_receive_bytes_total": received, "container_network_transmit_bytes_total": sent}


class Containers(Collector):
    """Collector of the containers of one Compose project; reads all files at every scrape."""

    def __init__(self, project: str, host: Path = HOST) -> None:
        self._project = project
        self._folders = host / "containers"
        self._proc = host / "proc"
        self._cgroups = Cgroups(host / "cgroup")

    def collect(self) -> Iterator[Metric]:
        """Every metric, with a sample per container; unreadable containers are skipped and counted."""
        metrics = {name: kind(name, about, labels=LABELS) for name, (kind, about) in METRICS.items()}
        for folder in self._folders.iterdir():
            try:
                container = Container.read(folder)
                service = container.labels.get("com.docker.compose.service")
                if service is None or container.labels.get("com.docker.compose.project") != self._project:
                    continue
                if container.labels.get("com.docker.compose.oneoff") == "True":
                    continue
                values = self._values(container, folder)
            except FileNotFoundError:
                continue  # the container is being created or removed
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                ERRORS.inc()
                continue
            for name, value in values.items():
                metrics[name].add_metric((service, container.name), value)
        yield from metrics.values()

    def _values(self, container: Container, folder: Path) -> dict[str, float]:
        values: dict[str, float] = {
            "container_running": float(container.pid > 0),
            "container_restarts_total": container.restarts,
            "container_log_bytes": sum(log.stat().st_size for log in folder.glob("*-json.log*")),
        }
        limits = {
            "container_cpu_limit_cores": container.cpu_limit,
            "container_memory_limit_bytes": container.memory_limit,
            "container_processes_limit": container.processes_limit,
        }
        values |= {name: limit for name, limit in limits.items() if limit}
        if container.pid:
            values["container_start_time_seconds"] = container.started
            values |= self._cgroups.use(container.id)
            values |= traffic(self._proc / str(container.pid) / "net" / "dev")
        return values


def main() -> None:
    """Serve metrics until SIGTERM."""
    stop = threading.Event()
    # The kernel ignores signals without a handler for the first process of a container.
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    REGISTRY.register(Containers(os.environ["COMPOSE_PROJECT_NAME"]))
    start_http_server(PORT)
    stop.wait()


if __name__ == "__main__":
    main()
