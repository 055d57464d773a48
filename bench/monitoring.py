"""Cost of monitoring: memory, CPU time, samples, disk space."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests
import yaml

from bench.figure import Figure
from bench.prometheus import value, values
from tests.live.stack import Stack

SETTLE = 60
WINDOW = 180
"""Seconds that are measured, after the settling time."""
PART = 30
"""Seconds of a sample in this window."""
RATE = 10
"""Requests per second of the demo load."""
MB = 1e6
DAY = 86400.0
SCRAPING = re.compile("prometheus|.*-exporter")
STORES = {"logs": ("loki", "victorialogs"), "traces": ("tempo",)}
TEMPO_DAYS = 14.0
"""Tempo's default retention."""
VOLUMES = {"loki": "loki_data", "victorialogs": "victorialogs_data", "tempo": "tempo_data"}


@dataclass(frozen=True)
class Usage:
    """Maximum memory in bytes and CPU time in seconds per second, by service."""

    memory: Mapping[str, float]
    cpu: Mapping[str, float]

    @classmethod
    def of(cls, stack: Stack, ago: float) -> Usage:
        """Usage in a part of the window that ended some seconds ago, as container-exporter reads it."""
        part = f"[{PART}s] offset {ago:g}s"
        memory = f"max by (service) (max_over_time(container_memory_working_set_bytes{part}))"
        cpu = f"sum by (service) (rate(container_cpu_usage_seconds_total{part}))"
        return cls(values(stack, memory, "service"), values(stack, cpu, "service"))

    @classmethod
    def in_window(cls, stack: Stack) -> list[Usage]:
        """Usage in each part of the last window."""
        return [cls.of(stack, ago) for ago in range(0, WINDOW, PART)]


def figures(stack: Stack) -> Iterator[Figure]:
    """Cost idle and under load. Kafka's agent and RabbitMQ's plugin run inside the brokers and are not counted."""
    stack.invoke("setup", "--profile=dev")
    stack.invoke("images.prepare", timeout=900)
    enable_snapshots(stack)
    stack.invoke("up", "--no-smoke", timeout=900)
    services = monitoring(stack)

    time.sleep(SETTLE + WINDOW)
    idle = Usage.in_window(stack)
    with stack.start("demo", f"--seconds={SETTLE + WINDOW + 60}", f"--rate={RATE}") as demo:
        time.sleep(SETTLE)
        before = {name: size(stack, VOLUMES[store]) for name, store in stores(stack).items()}
        raw = value(stack, "sum(container_log_bytes)")
        time.sleep(WINDOW)
        busy = Usage.in_window(stack)
        grown = {name: size(stack, VOLUMES[store]) - before[name] for name, store in stores(stack).items()}
        raw = value(stack, "sum(container_log_bytes)") - raw
        demo.terminate()

    yield from total("stack", "the whole stack, idle", idle, sorted(idle[0].memory))
    yield from total("monitoring", f"the {len(services)} services of monitoring, idle", idle, services)
    busy_label = f"the {len(services)} services of monitoring, {RATE} requests per second"
    yield from total("monitoring-busy", busy_label, busy, services)
    scraping = [service for service in services if SCRAPING.fullmatch(service)]
    samples = value(stack, f"sum(rate(prometheus_tsdb_head_samples_appended_total[{WINDOW}s]))")
    cpu = cpu_percent(busy, scraping)
    yield Figure("scraping-cpu", f"Prometheus and exporters, {RATE} requests per second: CPU", "% of a core", cpu)
    yield Figure("samples", "samples", "per s", [samples])
    yield Figure("series", "time series", "", [value(stack, "prometheus_tsdb_head_series")])
    yield from stored(stack, samples, grown, raw)
    for service in services:
        yield from total(service, f"{service}, {RATE} requests per second", busy, [service], detail=True)


def total(
    key: str, label: str, usages: Sequence[Usage], services: Sequence[str], *, detail: bool = False
) -> Iterator[Figure]:
    """Memory and CPU time of services together."""
    memory = [sum(each.memory.get(service, 0) for service in services) / MB for each in usages]
    yield Figure(f"{key}-memory", f"{label}: memory", "MB", memory, detail=detail)
    yield Figure(f"{key}-cpu", f"{label}: CPU", "% of a core", cpu_percent(usages, services), detail=detail)


def cpu_percent(usages: Sequence[Usage], services: Sequence[str]) -> list[float]:
    """CPU time of services in percent of a core."""
    return [sum(each.cpu.get(service, 0) for service in services) * 100 for each in usages]


def monitoring(stack: Stack) -> list[str]:
    """The services of the group monitoring."""
    found = stack.services()
    return sorted(name for name in found if "monitoring" in effective(stack, name).get("profiles", []))


def stores(stack: Stack) -> dict[str, str]:
    """The store on disk of ``logs`` and of ``traces``, where the stack has one."""
    found = stack.services()
    chosen = {name: next((each for each in services if each in found), "") for name, services in STORES.items()}
    return {name: service for name, service in chosen.items() if service}


def effective(stack: Stack, service: str) -> dict[str, Any]:
    """A service's configuration, all layers merged."""
    config: dict[str, Any] = json.loads(stack.compose("config", "--format=json"))["services"][service]
    return config


def stored(stack: Stack, samples: float, grown: Mapping[str, float], raw: float) -> Iterator[Figure]:
    """Bytes a day at this load and the total at the configured retention, extrapolated from minutes."""
    chunks, index, count = snapshot(stack)
    # A block of two hours has an index of its own; compacted blocks take less.
    metrics = samples * DAY * chunks / count + 12 * index
    days = retention(stack)
    yield Figure("sample-bytes", "metrics: chunks of a sample", "bytes", [chunks / count])
    yield from needs("metrics", "metrics", metrics, days["metrics"])
    yield Figure("log-files", "log files of the engine, a day", "MB", [raw * DAY / WINDOW / MB])
    for name, store in stores(stack).items():
        yield from needs(name, f"{name} ({store})", grown[name] * DAY / WINDOW, days[name])


def needs(key: str, label: str, daily: float, days: float) -> Iterator[Figure]:
    """Megabytes a day, and gigabytes at a retention of so many days."""
    yield Figure(f"{key}-day", f"{label} stored a day, {RATE} requests per second", "MB", [daily / MB])
    yield Figure(f"{key}-retained", f"{label} stored in {days:g} days", "GB", [daily * days / 1e9])


def retention(stack: Stack) -> dict[str, float]:
    """The configured retention of each kind of data, in days."""
    found = stack.services()
    days = {"metrics": flag(effective(stack, "prometheus")["command"], "storage.tsdb.retention.time")}
    if "loki" in found:
        loki = yaml.safe_load((stack.root / "monitoring/loki/loki.yml").read_text())
        days["logs"] = as_days(loki["limits_config"]["retention_period"])
    else:
        days["logs"] = flag(effective(stack, "victorialogs")["command"], "retentionPeriod")
    if "tempo" in found:
        tempo = (stack.root / "monitoring/tempo/tempo.yml").read_text()
        configured = re.search(r"block_retention: *(\S+)", tempo)
        days["traces"] = as_days(configured[1]) if configured else TEMPO_DAYS
    return days


def flag(command: list[str], name: str) -> float:
    """The value of a command line's flag, in days."""
    return next(as_days(word.partition("=")[2]) for word in command if word.lstrip("-").startswith(f"{name}="))


def as_days(text: str) -> float:
    """A duration such as 15d or 168h in days."""
    return float(text[:-1]) * {"w": 7, "d": 1, "h": 1 / 24}[text[-1]]


def enable_snapshots(stack: Stack) -> None:
    """Enable the snapshot API of this stack's Prometheus: a snapshot has the blocks as stored, without the WAL."""
    command = [*effective(stack, "prometheus")["command"], "--web.enable-admin-api"]
    override = {"services": {"prometheus": {"command": command}}}
    (stack.root / "docker-compose.override.yml").write_text(yaml.safe_dump(override))


def snapshot(stack: Stack) -> tuple[float, float, float]:
    """Bytes of chunks, bytes of index and number of samples that Prometheus has stored so far."""
    address = stack.url("/api/v1/admin/tsdb/snapshot", "PROMETHEUS_PORT")
    response = requests.post(address, timeout=60)
    response.raise_for_status()
    folder = f"/data/snapshots/{response.json()['data']['name']}"
    script = f"du -sb {folder}/*/chunks {folder}/*/index; cat {folder}/*/meta.json"
    sizes, _, meta = in_volume(stack, "prometheus_data", script).partition("{")
    chunks, index = (sum(int(line.split()[0]) for line in sizes.splitlines() if line.endswith(part))
                     for part in ("chunks", "index"))  # fmt: skip
    documents = re.findall(r'"numSamples": (\d+)', meta)
    return chunks, index, sum(map(int, documents))


def size(stack: Stack, volume: str) -> float:
    """Bytes of the files in a volume."""
    return float(in_volume(stack, volume, "du -sb /data").split()[0])


def in_volume(stack: Stack, volume: str, script: str) -> str:
    """The output of a shell script with the volume mounted at /data."""
    image = stack.container("worker")["Config"]["Image"]
    mounted = f"--volume={stack.name}_{volume}:/data:ro"
    return stack.docker("run", "--rm", "--user=0", mounted, "--entrypoint=sh", image, "-c", script)
