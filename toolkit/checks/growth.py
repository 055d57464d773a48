"""How much disk the data of each store takes at most: the formula of docs/deployment.md, for this host's targets.

A store is bounded by its size where its program can be, else by time: its bytes are then those of its rate. Sizes are
before compression, so a disk that has this much space does not fill.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from toolkit.core.durations import seconds
from toolkit.core.errors import ToolkitError
from toolkit.engine import shapes
from toolkit.engine.compose import Docker
from toolkit.engine.timeouts import SECONDS

DAY = 86_400
MB, GB = 1_000_000, 1_000_000_000
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
"""Prometheus, Redis and PostgreSQL count in powers of two."""

RESULT_BYTES = 450
"""A row of `probes`, with indexes; this and the next are measured (docs/operations.md#retention)."""
ROLLUP_BYTES, COARSE_BYTES = 700, 240
FINE_DAYS, HOURLY_DAYS, YEARS = 35, 400, 10
"""The ages at which rollups are merged (`netmon.rollups`), and the years for which the rest is counted."""
OVERHEAD = 1.5
"""Dead rows that are not vacuumed yet, and half-filled pages."""
WAL_BYTES = 2 * GB
"""PostgreSQL's `max_wal_size` of 1 GB, which a peak exceeds."""
PARTITIONS = 12
"""Of both topics; `netmon.kafka`."""
QUEUE_BYTES = 2 * (256 << 20) + (64 << 20)
"""The bounds of the queues (scripts/container/rabbitmq-entrypoint.sh)."""
RAFT_BYTES = 2 * (512 << 20)
"""The write-ahead log of RabbitMQ's quorum queues: a file that is written, and one that is flushed."""
REDIS_COPIES = 3
"""The append-only file has up to twice the size of the data, and a rewrite another copy."""
HEAD = 1.1
"""Prometheus deletes whole blocks, after a compaction."""
LINE_BYTES, LINES_PER_SECOND, LOGGED_PROBES = 500, 4, 0.1
"""A log line with its metadata; the lines of all services that no probe causes; the share of probes that are logged:
those that fail, and those on demand."""
TRACE_BYTES, TRACES_PER_SECOND = 5_000, 25
"""The trace of a probe, and how many are sampled at most (`netmon.tracing`)."""
CONTAINER_LOGS = 30 * MB
"""Three files of 10 MB for each container."""
IMAGE_BYTES = 6 * GB
"""Two releases of every image, and the additional size of a build."""

DEFAULT_TARGETS, DEFAULT_INTERVAL = 100, 60


@dataclass(frozen=True)
class Load:
    """The monitored targets.

    ``rate`` is in probes per second; ``known`` is false if the database could not be asked.
    """

    targets: int
    rate: float
    known: bool = True


ASSUMED = Load(DEFAULT_TARGETS, DEFAULT_TARGETS / DEFAULT_INTERVAL, known=False)


@dataclass(frozen=True)
class Share:
    """The most that a store takes of the disk, in bytes, and what bounds it."""

    store: str
    size: float
    bound: str


def load(docker: Docker, config: shapes.Configuration) -> Load:
    """The enabled targets of the running database; `ASSUMED` without one."""
    if "db" not in config["services"]:
        return ASSUMED
    query = "SELECT count(*), coalesce(sum(1.0 / interval_seconds), 0) FROM targets WHERE enabled"
    psql = (
        "psql",
        "--username=postgres",
        "--dbname=network_monitor",
        "--tuples-only",
        "--no-align",
        f"--command={query}",
    )
    try:
        found = docker.exec("db", *psql, timeout=SECONDS)
    except ToolkitError:
        return ASSUMED
    match = re.fullmatch(r"(\d+)\|([\d.]+)", found.stdout.strip())
    return Load(int(match[1]), float(match[2])) if match and found.code == 0 else ASSUMED


def shares(root: Path, config: shapes.Configuration, load: Load) -> list[Share]:
    """The share of every store that is on, the largest first.

    Raises:
        ToolkitError: a setting or a file cannot be read.
    """
    try:
        found = list(_shares(root, config["services"], load))
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{error!r} in a compose file, config/ or monitoring/"
        raise ToolkitError("cannot compute the size of the data", why, "run: nox -s validate") from error
    return sorted(found, key=lambda share: -share.size)


def _shares(root: Path, services: Mapping[str, Any], load: Load) -> Iterator[Share]:
    worker = services.get("worker", {}).get("environment") or {}
    days = float(worker.get("RESULTS_RETENTION_DAYS", 14))
    database = OVERHEAD * (load.rate * days * DAY * RESULT_BYTES + load.targets * _rollup_bytes())
    yield Share("database", database, f"results {days:g} days; rollups {FINE_DAYS} days, {HOURLY_DAYS} days, for ever")
    slots = _size(_option(services.get("db", {}), "max_slot_wal_keep_size") or "0")
    yield Share("write-ahead log", WAL_BYTES + slots, "max_wal_size, max_slot_wal_keep_size")
    if "backup" in services:
        yield Share("backup in progress", 2 * database, "a full backup, and the one that it is verified with")
    if "kafka" in services:
        kafka = services["kafka"].get("environment") or {}
        per_partition = int(kafka["KAFKA_LOG_RETENTION_BYTES"]) + int(kafka["KAFKA_LOG_SEGMENT_BYTES"])
        yield Share("events", PARTITIONS * per_partition, "retention.bytes and a segment, of each partition")
    if "rabbitmq" in services:
        yield Share("queues", QUEUE_BYTES + RAFT_BYTES, "max-length-bytes, and RabbitMQ's write-ahead log")
    if "redis" in services:
        memory = re.search(r"^maxmemory (\S+)$", (root / "config/redis/redis.conf").read_text(), re.MULTILINE)
        yield Share("cache", REDIS_COPIES * _size(memory[1] if memory else ""), "maxmemory")
    if "prometheus" in services:
        yield Share("metrics", HEAD * _size(_option(services["prometheus"], "retention.size")), "retention.size")
    if "loki" in services:
        limits = yaml.safe_load((root / "monitoring/loki/loki.yml").read_text())["limits_config"]
        lines = LINES_PER_SECOND + LOGGED_PROBES * load.rate
        size = seconds(limits["retention_period"]) * lines * LINE_BYTES
        yield Share("logs", size, f"time only: {limits['retention_period']}; pushes are refused on a disk of 95 %")
    if "victorialogs" in services:
        size = _size(_option(services["victorialogs"], "maxDiskSpaceUsageBytes"))
        yield Share("logs", size, "retention.maxDiskSpaceUsageBytes")
    if "tempo" in services:
        tempo = yaml.safe_load((root / "monitoring/tempo/tempo.yml").read_text())
        retention = tempo["backend_worker"]["compaction"]["block_retention"]
        size = seconds(retention) * min(load.rate, TRACES_PER_SECOND) * TRACE_BYTES
        yield Share("traces", size, f"time only: {retention}; {TRACES_PER_SECOND} traces a second are sampled")
    yield Share("container logs", CONTAINER_LOGS * len(services), "rotation")
    yield Share("images", IMAGE_BYTES, "two releases; invoke images.prune")


def _rollup_bytes() -> float:
    """The bytes of the rollups of a target."""
    fine = FINE_DAYS * DAY / 300 * ROLLUP_BYTES
    return fine + (HOURLY_DAYS - FINE_DAYS) * 24 * COARSE_BYTES + YEARS * 365 * COARSE_BYTES


def _option(service: Mapping[str, Any], name: str) -> str:
    """The value of the option of a command that ends with ``name``; empty if it has none."""
    for word in service.get("command") or ():
        option, equals, value = word.partition("=")
        if equals and option.endswith(name):
            return str(value)
    return ""


def _size(text: str) -> float:
    """The bytes of a size such as ``8GB`` or ``320mb``.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", text.lower())
    if not match:
        raise ValueError(f"'{text}' is not a size")
    return float(match[1]) * UNITS[match[2]]
