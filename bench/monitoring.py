"""What monitoring itself takes: memory, processor time, samples, disk."""

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
"""Seconds; figures are of the window, which follows on the settling."""
RATE = 10
"""Requests a second of the demo load."""
MB = 1e6
DAY = 86400.0
SCRAPING = re.compile("prometheus|.*-exporter")
STORES = {"logs": ("loki", "victorialogs"), "traces": ("tempo",)}
TEMPO_DAYS = 14.0
"""What Tempo keeps where its file says nothing."""
VOLUMES = {"loki": "loki_data", "victorialogs": "victorialogs_data", "tempo": "tempo_data"}


@dataclass(frozen=True)
class Use:
    """Bytes of memory (the most) and seconds of processor time a second, by service."""

    memory: Mapping[str, float]
    cpu: Mapping[str, float]

    @classmethod
    def of(cls, stack: Stack, services: list[str]) -> Use:
        """In the last window, as container-exporter reads it from the control groups."""
        chosen = f'service=~"{"|".join(services)}"'
        memory = f"max by (service) (max_over_time(container_memory_working_set_bytes{{{chosen}}}[{WINDOW}s]))"
        cpu = f"sum by (service) (rate(container_cpu_usage_seconds_total{{{chosen}}}[{WINDOW}s]))"
        return cls(values(stack, memory, "service"), values(stack, cpu, "service"))

    def __str__(self) -> str:
        return f"{sum(self.memory.values()) / MB:.0f} MB, {sum(self.cpu.values()) * 100:.1f} % of a core"


def rows(stack: Stack) -> Iterator[tuple[str, str]]:
    """Name and figure of each line. Kafka's agent and RabbitMQ's plugin are inside what they watch, and not counted."""
    stack.invoke("setup", "--profile=dev")
    stack.invoke("images.prepare", timeout=900)
    with_snapshots(stack)
    stack.invoke("up", "--no-smoke", timeout=900)
    services = monitoring(stack)

    time.sleep(SETTLE + WINDOW)
    idle = Use.of(stack, services)
    with stack.start("demo", f"--seconds={SETTLE + WINDOW + 60}", f"--rate={RATE}") as demo:
        time.sleep(SETTLE)
        before = {name: size(stack, VOLUMES[store]) for name, store in stores(stack).items()}
        raw = value(stack, "sum(container_log_bytes)")
        time.sleep(WINDOW)
        busy = Use.of(stack, services)
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
    """The services that are there because monitoring is on."""
    found = stack.services()
    return sorted(name for name in found if "monitoring" in effective(stack, name).get("profiles", []))


def stores(stack: Stack) -> dict[str, str]:
    """Which service keeps what on disk here."""
    found = stack.services()
    kept = {name: next((each for each in services if each in found), "") for name, services in STORES.items()}
    return {name: service for name, service in kept.items() if service}


def effective(stack: Stack, service: str) -> dict[str, Any]:
    """A service's configuration, all layers merged."""
    config: dict[str, Any] = json.loads(stack.compose("config", "--format=json"))["services"][service]
    return config


def stored(stack: Stack, samples: float, grown: Mapping[str, float], raw: float) -> Iterator[tuple[str, str]]:
    """Bytes a day at this load and what the retention then takes: minutes, extrapolated to days."""
    chunks, index, count = snapshot(stack)
    # A block of two hours has an index of its own; merged later, they take less.
    metrics = samples * DAY * chunks / count + 12 * index
    days = retention(stack)
    yield "metrics: chunks of a sample", f"{chunks / count:.2f} bytes"
    yield "metrics stored a day", needs(metrics, days["metrics"])
    yield "log lines as the engine has them, a day", f"{raw * DAY / WINDOW / MB:.0f} MB"
    for name, store in stores(stack).items():
        yield f"{name} stored a day ({store})", needs(grown[name] * DAY / WINDOW, days[name])
    if "tempo" not in stack.services():
        yield "traces stored a day", "not run: tempo is not among the images in use, jaeger keeps them in memory"


def needs(daily: float, days: float) -> str:
    """What is stored a day, and after so many days."""
    return f"{daily / MB:.0f} MB, so {days:g} days take {daily * days / 1e9:.2f} GB"


def retention(stack: Stack) -> dict[str, float]:
    """Days that each kind of data is kept."""
    found = stack.services()
    days = {"metrics": flag(effective(stack, "prometheus")["command"], "storage.tsdb.retention.time")}
    if "loki" in found:
        loki = yaml.safe_load((stack.root / "monitoring/loki/loki.yml").read_text())
        days["logs"] = as_days(loki["limits_config"]["retention_period"])
    else:
        days["logs"] = flag(effective(stack, "victorialogs")["command"], "retentionPeriod")
    if "tempo" in found:
        tempo = (stack.root / "monitoring/tempo/tempo.yml").read_text()
        told = re.search(r"block_retention: *(\S+)", tempo)
        days["traces"] = as_days(told[1]) if told else TEMPO_DAYS
    return days


def flag(command: list[str], name: str) -> float:
    """The days that a flag of a command line says."""
    return next(as_days(word.partition("=")[2]) for word in command if word.lstrip("-").startswith(f"{name}="))


def as_days(text: str) -> float:
    """Days of a duration such as 15d or 168h."""
    return float(text[:-1]) * {"w": 7, "d": 1, "h": 1 / 24}[text[-1]]


def with_snapshots(stack: Stack) -> None:
    """Let Prometheus of this stack write snapshots: blocks as they are kept, without the log of the last hours."""
    command = [*effective(stack, "prometheus")["command"], "--web.enable-admin-api"]
    override = {"services": {"prometheus": {"command": command}}}
    (stack.root / "docker-compose.override.yml").write_text(yaml.safe_dump(override))


def snapshot(stack: Stack) -> tuple[float, float, float]:
    """Bytes of chunks, bytes of index and number of samples of what Prometheus has collected so far."""
    address = stack.url("/api/v1/admin/tsdb/snapshot", "PROMETHEUS_PORT")
    answer = requests.post(address, timeout=60)
    answer.raise_for_status()
    folder = f"/data/snapshots/{answer.json()['data']['name']}"
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
    """The output of a shell script that sees a volume as /data."""
    image = stack.container("worker")["Config"]["Image"]
    mounted = f"--volume={stack.name}_{volume}:/data:ro"
    return stack.docker("run", "--rm", "--user=0", mounted, "--entrypoint=sh", image, "-c", script)
