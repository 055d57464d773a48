"""Cost of monitoring: memory, CPU time, samples, disk space."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests
import yaml

from bench.prometheus import value, values
from tests.live.stack import Stack

SETTLE = 60
WINDOW = 180
"""Seconds that are measured, after the settling time."""
RATE = 10
"""Requests a second of the demo load."""
MB = 1e6
DAY = 86400.0
SCRAPING = re.compile("prometheus|.*-exporter")
STORES = {"logs": ("loki", "victorialogs"), "traces": ("tempo",)}
TEMPO_DAYS = 14.0
"""Tempo's default retention."""
VOLUMES = {"loki": "loki_data", "victorialogs": "victorialogs_data", "tempo": "tempo_data"}


@dataclass(frozen=True)
class Usage:
    """Maximum memory in bytes and CPU time in seconds a second, by service."""

    memory: Mapping[str, float]
    cpu: Mapping[str, float]

    @classmethod
    def of(cls, stack: Stack, services: list[str]) -> Usage:
        """Usage in the last window, as container-exporter reads it from the control groups."""
        chosen = f'service=~"{"|".join(services)}"'
        memory = f"max by (service) (max_over_time(container_memory_working_set_bytes{{{chosen}}}[{WINDOW}s]))"
        cpu = f"sum by (service) (rate(container_cpu_usage_seconds_total{{{chosen}}}[{WINDOW}s]))"
        return cls(values(stack, memory, "service"), values(stack, cpu, "service"))

    def __str__(self) -> str:
        return f"{sum(self.memory.values()) / MB:.0f} MB, {sum(self.cpu.values()) * 100:.1f} % of a core"


def rows(stack: Stack) -> Iterator[tuple[str, str]]:
    """Label and value of each line. Kafka's agent and RabbitMQ's plugin run inside the brokers and are not counted."""
    stack.invoke("setup", "--profile=dev")
    stack.invoke("images.prepare", timeout=900)
    enable_snapshots(stack)
    stack.invoke("up", "--no-smoke", timeout=900)
    services = monitoring(stack)

    time.sleep(SETTLE + WINDOW)
    idle = Usage.of(stack, services)
    with stack.start("demo", f"--seconds={SETTLE + WINDOW + 60}", f"--rate={RATE}") as demo:
        time.sleep(SETTLE)
        before = {name: size(stack, VOLUMES[store]) for name, store in stores(stack).items()}
        raw = value(stack, "sum(container_log_bytes)")
        time.sleep(WINDOW)
        busy = Usage.of(stack, services)
        grown = {name: size(stack, VOLUMES[store]) - before[name] for name, store in stores(stack).items()}
        raw = value(stack, "sum(container_log_bytes)") - raw
        demo.terminate()

    yield f"the {len(services)} services of monitoring, idle", str(idle)
    yield f"the same under {RATE} requests a second", str(busy)
    for service in sorted(services, key=lambda each: -busy.memory.get(each, 0)):
        memory, cpu = busy.memory.get(service, 0) / MB, busy.cpu.get(service, 0)
        yield f"  {service}", f"{memory:.0f} MB, {cpu * 100:.1f} % of a core"
    scraping = sum(cpu for service, cpu in busy.cpu.items() if SCRAPING.fullmatch(service))
    samples = value(stack, f"sum(rate(prometheus_tsdb_head_samples_appended_total[{WINDOW}s]))")
    series = value(stack, "prometheus_tsdb_head_series")
    yield "prometheus and exporters", f"{scraping * 100:.1f} % of a core for {samples:.0f} samples a second"
    yield "time series", f"{series:.0f}"
    yield from stored(stack, samples, grown, raw)


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


def stored(stack: Stack, samples: float, grown: Mapping[str, float], raw: float) -> Iterator[tuple[str, str]]:
    """Bytes a day at this load and the total at the configured retention, extrapolated from minutes."""
    chunks, index, count = snapshot(stack)
    # A block of two hours has an index of its own; compacted blocks take less.
    metrics = samples * DAY * chunks / count + 12 * index
    days = retention(stack)
    yield "metrics: chunks of a sample", f"{chunks / count:.2f} bytes"
    yield "metrics stored a day", needs(metrics, days["metrics"])
    yield "log files of the engine, a day", f"{raw * DAY / WINDOW / MB:.0f} MB"
    for name, store in stores(stack).items():
        yield f"{name} stored a day ({store})", needs(grown[name] * DAY / WINDOW, days[name])
    if "tempo" not in stack.services():
        yield "traces stored a day", "not measured: the images in use have no tempo, and jaeger stores traces in memory"


def needs(daily: float, days: float) -> str:
    """Megabytes a day, and gigabytes at a retention of so many days."""
    return f"{daily / MB:.0f} MB, so {days:g} days take {daily * days / 1e9:.2f} GB"


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
