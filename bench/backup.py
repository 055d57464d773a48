"""Backups of one and ten million results: size, duration, CPU time, the latency of requests, and the way back.

The repository is a folder on the disk of the database, as the volume is. A restore is compared with the same work by
PostgreSQL's own programs: a base backup in a folder is copied, and the same WAL replayed onto it.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench import capacity, cpu
from bench.fast_target import answering
from bench.figure import Figure
from bench.load import constant_rate
from bench.pairs import RATE
from bench.statistics import FILL, ONE_PROCESS
from tests.live import pipeline
from tests.live.stack import Stack, until

SETTINGS = {"LOG_LEVEL": "info", "OTEL_EXPORTER_OTLP_ENDPOINT": "", "BACKUP_WAL_SECONDS": "60",
            "BACKUP_SCHEDULE": "00:00", "BACKUP_VERIFY_DAYS": "365"}  # fmt: skip
"""As in production, without traces; nothing of the schedule runs during a measurement."""
SERVER = 999
"""The user of the service, to whom its target belongs."""
RESULTS, TARGETS = 1_000_000, 1000
ROUNDS = 3
MORE = """
INSERT INTO probes (id, target, url, status, requested_at, finished_at, duration_ms, http_status)
SELECT gen_random_uuid(), id, 'http://example.org/', 'succeeded', at, at, 50 * exp(random()), 200
FROM targets, generate_series({first}, {last}) AS number,
    LATERAL (SELECT now() - number * interval '1 minute' AS at) AS past"""
"""Results of a range of minutes."""
WAL_SECONDS = 60
DAY_SECONDS = 86_400
PATHS = ("/api/targets?limit=50", "/api/health/ready")
DATA = "/var/lib/postgresql"
COPY = """
import os, sys
from netmon_backup.postgres import Database
from netmon_backup.settings import Settings

database = Database(Settings.load())
program = ["pg_basebackup", f"--dbname={database.connection(replication=True)}", *sys.argv[1:]]
os.execvpe(program[0], program, {**os.environ, **database.environment()})
"""
"""Runs pg_basebackup with the options of its arguments."""
PLAIN = f"""
import shutil, sys, time
from pathlib import Path
from netmon_backup.recovery import Target, recover
from netmon_backup.settings import Settings

settings, folder = Settings.load(), Path("{DATA}/plain")
[received] = [each for each in settings.wal.iterdir() if not each.name.endswith(".set-aside")]
began = time.monotonic()
shutil.copytree(folder / "base", folder / "data")
copied = time.monotonic() - began
shutil.copytree(received, folder / "wal")
for partial in (folder / "wal").glob("*.partial"):
    partial.rename(partial.with_suffix(""))
began = time.monotonic()
recover(settings, folder / "data", folder / "wal", Target())
replayed = time.monotonic() - began
shutil.rmtree(folder / "data")
shutil.rmtree(folder / "wal")
print(copied, replayed)
"""
"""Prints the seconds in which a base backup was copied, and in which WAL was replayed and the rows counted."""


@dataclass(frozen=True)
class Run:
    """A base backup: its state afterwards, its duration, the CPU time of the service, and the p99 of requests."""

    known: dict[str, Any]
    seconds: float
    cpu: float
    p99: float


def figures(stack: Stack) -> Iterator[Figure]:
    """Backups, WAL and restores."""
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, SERVER, SERVER)
        (stack.root / "docker-compose.override.yml").write_text(yaml.safe_dump(ONE_PROCESS))
        with (stack.root / ".env").open("a") as settings:
            settings.write(f"BACKUP_TARGET={folder}\n")
        stack.invoke("up", "--profile=dev", "--without=monitoring", "--with=backup", "--no-smoke", timeout=900)
        until(lambda: state(stack)["verified"] > 0, 300, "the first backup and its verification")
        with answering(stack) as target:
            # The results of the past are stored before the first of the worker.
            stack.compose("pause", "worker")
            capacity.store(stack, target.url, TARGETS)
            stack.docker("exec", stack.container("app")["Id"], "python", "-c", FILL, str(RESULTS), timeout=1800)
            stack.compose("unpause", "worker")
            yield from measure(stack, Path(folder))


def measure(stack: Stack, repository: Path) -> Iterator[Figure]:
    """The figures, in the order in which they are measured."""
    size = database_size(stack)
    yield Figure("database", f"database with {RESULTS / 1e6:.0f} million results", "MB", [size / 1e6], "neither")
    quiet = [during(stack, lambda: time.sleep(20))[1] for _ in range(ROUNDS)]
    full = [backup(stack, "--full") for _ in range(ROUNDS)]
    incremental, wal = [], []
    for _ in range(ROUNDS):
        wal.append(written(stack))
        incremental.append(backup(stack))
    for name, runs in (("full", full), ("incremental", incremental)):
        label = f"{name} backup"
        yield Figure(f"{name}-seconds", f"{label}: copied, verified, stored", "s", [each.seconds for each in runs])
        yield Figure(f"{name}-size", f"{label}, copied", "MB", [each.known["size"][name] / 1e6 for each in runs])
        yield Figure(f"{name}-added", f"{label}, added to the repository", "MB",
                     [each.known["added"][name] / 1e6 for each in runs])  # fmt: skip
        yield Figure(f"{name}-cpu", f"{label}, CPU time of the service", "s", [each.cpu for each in runs])
        yield Figure(f"{name}-p99", f"p99 latency at {RATE:.0f} requests per second, {label}", "ms",
                     [each.p99 for each in runs])  # fmt: skip
    yield Figure("quiet-p99", f"p99 latency at {RATE:.0f} requests per second, no backup", "ms", quiet)
    yield Figure(
        "wal",
        f"WAL of the {WAL_SECONDS} s after a checkpoint, {TARGETS:,} targets every 60 s",
        "MB",
        [each / 1e6 for each in wal],
    )
    label = f"WAL of a day, extrapolated from these {WAL_SECONDS} s: at most"
    yield Figure("wal-day", label, "GB", [each * DAY_SECONDS / WAL_SECONDS / 1e9 for each in wal])
    stored = sum(each.stat().st_size for each in repository.rglob("*") if each.is_file())
    yield Figure("repository", f"repository, with {2 * ROUNDS + 1} backups", "MB", [stored / 1e6])
    yield from restores(stack, size)
    yield from ten_times(stack)


def restores(stack: Stack, size: float) -> Iterator[Figure]:
    """The restore of a full backup, an incremental one and WAL; the same by PostgreSQL's own programs; in place."""
    base = (f"--pgdata={DATA}/plain/base", "--wal-method=stream", "--checkpoint=fast")
    stack.exec("backup", "python3", "-c", COPY, *base, timeout=600)
    written(stack)
    prepared, plain = [], []
    for _ in range(ROUNDS):
        began = time.monotonic()
        volume = f"{stack.name}_postgres_data:/restore"
        stack.compose("run", "--rm", "--no-deps", "--no-TTY", "--volume", volume, "backup", "prepare", timeout=900)
        prepared.append(time.monotonic() - began)
        plain.append(sum(map(float, stack.exec("backup", "python3", "-c", PLAIN, timeout=900).split()[-2:])))
    yield Figure("prepare", "restore beside the database: fetched, combined, replayed, counted", "s", prepared)
    yield Figure("prepare-rate", "restore, of the database", "MB/s", [size / 1e6 / each for each in prepared], "more")
    yield Figure("plain", "plain: base backup copied, WAL replayed, counted", "s", plain)
    yield Figure("plain-rate", "plain, of the database", "MB/s", [size / 1e6 / each for each in plain], "more")
    began = time.monotonic()
    stack.invoke("restore", "--yes", timeout=1800)
    yield Figure("rto", "`invoke restore`, with the smoke checks (RTO)", "s", [time.monotonic() - began])


def ten_times(stack: Stack) -> Iterator[Figure]:
    """One full backup and one restore of ten million results."""
    minutes = RESULTS // TARGETS
    more = [MORE.format(first=first, last=first + minutes - 1) for first in range(minutes, 10 * minutes, minutes)]
    for statement in (*more, "VACUUM (ANALYZE) probes", "CHECKPOINT"):
        pipeline.execute(stack, statement)
    until(lambda: not state(stack)["failed"], 120, "the backup after the restore")
    size = database_size(stack)
    yield Figure(
        "ten-database", f"database with {10 * RESULTS / 1e6:.0f} million results", "MB", [size / 1e6], "neither"
    )
    full = backup(stack, "--full")
    yield Figure("ten-full-seconds", "its full backup: copied, verified, stored", "s", [full.seconds])
    began = time.monotonic()
    stack.invoke("restore", "--yes", timeout=1800)
    yield Figure("ten-rto", "its `invoke restore`, with the smoke checks (RTO)", "s", [time.monotonic() - began])


def database_size(stack: Stack) -> float:
    """The bytes of all databases."""
    return float(pipeline.sql(stack, "SELECT sum(pg_database_size(oid)) AS size FROM pg_database")[0]["size"])


def backup(stack: Stack, *options: str) -> Run:
    """Take a backup under requests."""
    container = stack.container("backup")["Id"]
    used = cpu.containers_cpu()[container]
    command = ("python3", "-m", "netmon_backup", "backup", *options)
    seconds, p99 = during(stack, lambda: stack.exec("backup", *command, timeout=1800))
    return Run(state(stack), seconds, cpu.containers_cpu()[container] - used, p99)


def during(stack: Stack, work: Callable[[], object]) -> tuple[float, float]:
    """The seconds of some work, and the p99 in ms of requests at a constant rate for as long as it takes, at least."""
    latencies: list[float] = []
    done = threading.Event()

    def send() -> None:
        while not done.is_set():
            latencies.extend(constant_rate(stack.url(), PATHS, RATE, 5).latencies)

    thread = threading.Thread(target=send)
    thread.start()
    began = time.monotonic()
    try:
        work()
    finally:
        seconds = time.monotonic() - began
        done.set()
        thread.join()
    latencies.sort()
    return seconds, latencies[int(len(latencies) * 0.99)] * 1000


def written(stack: Stack) -> float:
    """The bytes of WAL of some time in which the targets are probed, a checkpoint before it."""
    position = "SELECT pg_current_wal_lsn() - '0/0' AS position"
    stack.exec("db", "psql", "--username=postgres", "--command=CHECKPOINT")
    before = float(pipeline.sql(stack, position)[0]["position"])
    time.sleep(WAL_SECONDS)
    return float(pipeline.sql(stack, position)[0]["position"]) - before


def state(stack: Stack) -> dict[str, Any]:
    """What the service remembers."""
    read = ("python3", "-c", f"print(open('{DATA}/backup/state.json').read())")
    found: dict[str, Any] = json.loads(stack.exec("backup", *read))
    return found
