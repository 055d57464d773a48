"""What is promised of the disk: an acknowledged event is on it, and each store has a bound."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import pipeline
from tests.live.stack import Stack, until

GZIP = 1
"""The number of the codec in a batch of Kafka."""
CACHESTAT = 451
"""The number of the system call, the same for every processor; since Linux 6.5."""
METRICS = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:3000/api/metrics").read().decode())
"""
SESSION = """
import asyncio, os
from netmon.database import Database
from netmon.settings import load

async def main():
    database = Database(load(os.environ).database_url, "test")
    await database.prepare()
    async with database.transaction() as connection:
        row = await (await connection.execute("SHOW idle_in_transaction_session_timeout")).fetchone()
    print(*row.values())
    await database.close()

asyncio.run(main())
"""
BOUND = """
import asyncio, os
from netmon import retention
from netmon.database import Database
from netmon.settings import load

async def main():
    database = Database(load(os.environ).database_url, "test")
    await database.prepare()
    retention.BOUNDS = [retention.Bound(each.table, 2500, each.at, each.condition) for each in retention.BOUNDS]
    print(await retention.Retention(database, 14).bound())
    await database.close()

asyncio.run(main())
"""
OFFSETS_MINUTES = 90 * 24 * 60


class Pages(ctypes.Structure):
    """`struct cachestat`."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recently")]


def unsynced(file: Path) -> int:
    """The pages of a file that a power cut would lose."""
    kernel, pages, whole = ctypes.CDLL(None, use_errno=True), Pages(), (ctypes.c_uint64 * 2)(0, 0)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        if kernel.syscall(CACHESTAT, descriptor, ctypes.byref(whole), ctypes.byref(pages), 0):
            pytest.skip(f"the kernel has no cachestat: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(descriptor)
    return int(pages.dirty + pages.writeback)


def segments(stack: Stack) -> list[Path]:
    """The files of the events of results."""
    volume = json.loads(stack.docker("volume", "inspect", f"{stack.name}_kafka_data"))[0]["Mountpoint"]
    found = [file for file in Path(volume).glob("probe.results-*/*.log") if file.stat().st_size]
    assert found, "no event was published"
    return found


def codec_of(segment: Path) -> int:
    """The codec of the newest batch of a segment, from its header."""
    data, position, attributes = segment.read_bytes(), 0, 0
    while position + 23 <= len(data):
        attributes = int.from_bytes(data[position + 21 : position + 23])
        position += 12 + int.from_bytes(data[position + 8 : position + 12])
    return attributes & 7


def kafka(stack: Stack, tool: str, *arguments: str) -> str:
    """The output of a tool of Kafka."""
    script = f"unset KAFKA_OPTS; /opt/kafka/bin/kafka-{tool}.sh {' '.join(arguments)}"
    return stack.exec("kafka", "bash", "-c", script)


@pytest.fixture
def server(stack: Stack) -> Iterator[pipeline.TargetServer]:
    """A target on the host."""
    with pipeline.target_server(stack) as server:
        yield server


@pytest.mark.skipif(os.geteuid() != 0, reason="reads the files of a volume")
def test_acknowledged_events_are_on_disk(stack: Stack, server: pipeline.TargetServer) -> None:
    target = pipeline.add_target(stack, server.url)
    try:
        until(lambda: len(pipeline.finished(stack, target)) >= 2, 4 * pipeline.INTERVAL, "two results")
        until(lambda: not pipeline.sql(stack, "SELECT FROM outbox"), 10, "every event to be acknowledged")
        files = segments(stack)
        # New events may arrive: a segment is unsynced only while one is not acknowledged yet.
        until(lambda: not sum(map(unsynced, files)), 5, "the segments to be on disk")
        held = [file.name for _ in range(50) for file in files if unsynced(file)]
        assert len(held) < 25, f"acknowledged events are in memory only: {held}"
    finally:
        pipeline.delete_targets(stack, target)


@pytest.mark.skipif(os.geteuid() != 0, reason="reads the files of a volume")
def test_events_are_compressed(stack: Stack, server: pipeline.TargetServer) -> None:
    target = pipeline.add_target(stack, server.url)
    try:
        until(lambda: pipeline.finished(stack, target), 4 * pipeline.INTERVAL, "a result")
        until(lambda: not pipeline.sql(stack, "SELECT FROM outbox"), 10, "every event to be acknowledged")
        codecs = {codec_of(file) for file in segments(stack)}
    finally:
        pipeline.delete_targets(stack, target)
    assert codecs == {GZIP}


def test_topics_are_bounded_and_offsets_outlive_them(stack: Stack) -> None:
    at = ("--bootstrap-server", "localhost:29091", "--describe", "--all")
    broker = kafka(stack, "configs", *at, "--entity-type", "brokers", "--entity-name", "1")
    assert f"offsets.retention.minutes={OFFSETS_MINUTES}" in broker
    for topic, days in (("probe.results", 7), ("monitor.state", 30)):
        found = kafka(stack, "configs", *at, "--entity-type", "topics", "--entity-name", topic)
        assert f"retention.ms={days * 24 * 3600 * 1000} " in found
        assert "retention.bytes=268435456 " in found
        assert "segment.bytes=67108864 " in found
        assert "flush.messages=1 " in found
        assert days * 24 * 60 < OFFSETS_MINUTES


def test_queues_are_bounded(stack: Stack) -> None:
    columns = ("name", "effective_policy_definition")
    answer = stack.exec("rabbitmq", "rabbitmqctl", "-q", "--formatter=json", "list_queues", *columns)
    policies = {each["name"]: each["effective_policy_definition"] for each in json.loads(answer)}
    for queue in ("probes", "probes.batches"):
        assert policies[queue] == {"max-length-bytes": 256 << 20}
    dead = {"max-length": 10_000, "max-length-bytes": 64 << 20, "overflow": "drop-head", "delivery-limit": -1}
    assert policies["probes.dead"] == dead


def test_sessions_of_vanished_and_hanging_clients_end(stack: Stack) -> None:
    """Their open transactions would block results; the fault table has the partition itself."""
    settings = pipeline.sql(stack, "SELECT name, reset_val FROM pg_settings WHERE name LIKE 'tcp_%'")
    configured = {each["name"]: int(each["reset_val"]) for each in settings}
    keepalive = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
    idle, interval, count = (configured[name] for name in keepalive)
    assert 0 < idle + interval * count <= 30
    assert 0 < configured["tcp_user_timeout"] <= 30_000
    assert stack.exec("worker", "python", "-c", SESSION).split()[-1] == "30s"


def test_collations_are_those_of_the_image_and_watched(stack: Stack) -> None:
    metrics = stack.exec("worker", "python", "-c", METRICS)
    assert "netmon_database_outdated_collations 0.0" in metrics
    assert "netmon_event_loop_blocked_seconds_total" in metrics


def test_incidents_and_periods_are_bounded_for_each_target(stack: Stack, server: pipeline.TargetServer) -> None:
    flapping, quiet = (pipeline.add_target(stack, server.url, enabled=False) for _ in range(2))
    try:
        for target, count in ((flapping, 5000), (quiet, 2500)):
            numbers, at = f"generate_series(1, {count}) AS number", "now() - number * interval '1 h'"
            ended = f"CASE number WHEN {count} THEN NULL ELSE {at} END"
            pipeline.execute(
                stack,
                f"""INSERT INTO incidents (target, state, cause, started_at, ended_at)
                SELECT '{target}', 'down', 'timeout', {at}, {ended} FROM {numbers};
                INSERT INTO periods SELECT '{target}', 'down', {at} - interval '1 s', {at} FROM {numbers}""",  # noqa: S608
            )
        assert stack.exec("worker", "python", "-c", BOUND).split()[-1] == "4999"
        rows = pipeline.sql(
            stack,
            f"""SELECT target, count(*) AS number, count(*) FILTER (WHERE ended_at IS NULL) AS open,
            (SELECT count(*) FROM periods WHERE periods.target = incidents.target) AS periods
            FROM incidents WHERE target IN ('{flapping}', '{quiet}') GROUP BY target""",  # noqa: S608
        )
        found = {row["target"]: (row["number"], row["open"], row["periods"]) for row in rows}
        # The open incident is the oldest here, and stays.
        assert found == {flapping: (2501, 1, 2500), quiet: (2500, 1, 2500)}
    finally:
        pipeline.delete_targets(stack, flapping, quiet)
