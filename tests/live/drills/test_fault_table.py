"""The fault table: every service under every fault, with a ledger of acknowledged writes (tests/live/fault_table.py).

The volumes of the stores are on disks that lose what was not synced, if nbdkit and nbdfuse are installed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.live import disks, pipeline, service_faults
from tests.live.cells import VOLUMES, Bench, Outcome
from tests.live.disks import Disk
from tests.live.fault_table import FAULTS, Expected, cells
from tests.live.host_receiver import HostReceiver
from tests.live.ledger import PROBED, TARGETS, Entrance
from tests.live.machine import Machine
from tests.live.stack import Stack, start_lock
from toolkit.checkout.project import Project

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts disks and stops processes in containers")

Record = Callable[[str], None]

INJECTED = ("kill", "memory", "torn record", "clock", "hang", "partition", "disk full")
"""One after another in this order, since the alert of an earlier fault must be resolved."""
SIZES = {"db": 2 << 30, "redis": 512 << 20, "kafka": 2 << 30, "rabbitmq": 3 << 30}
"""Bytes. RabbitMQ accepts no messages below 1 GB of free space."""

COMMON = {fault: Expected(None, FAULTS[fault].seconds, FAULTS[fault].recovery) for fault in ("power", "engine")}
"""What is expected of faults of all services at once."""
STARTING_SECONDS = 75.0
LIMITS = {"CLIENT_REQUESTS_PER_SECOND": "10000", "ON_DEMAND_PROBES_PER_SECOND": "500"}
"""Settings: a refused request is then one that the fault has refused."""


def named(*faults: str) -> list[object]:
    """The parameters of the cells of some faults."""
    return [pytest.param(service, fault, id=f"{service}/{fault}") for service, fault in cells(*faults)]


def judge(want: Expected, outcome: Outcome, record: Record) -> None:
    """Record the outcome of a cell, and compare it with what is expected."""
    for measurement in outcome.measurements(want):
        record(measurement)
    problems = outcome.problems(want)
    for problem in problems:
        record(f"problem: {problem}")
    assert problems == []


@pytest.fixture(scope="module")
def engine_restart(idle_stack: Stack) -> Outcome:
    """The outcome of a restart of the engine, on a machine in a container that has one of its own."""
    idle_stack.invoke("images.prepare", "--profile=prod", timeout=900)
    with Machine.running(Project.load(idle_stack.root), "netmon-engine") as machine:
        machine.write(".env", machine.read(".env") + "".join(f"{name}={value}\n" for name, value in LIMITS.items()))
        machine.run("scripts/engine.sh", "start")
        machine.run("scripts/quickstart.sh", "--profile=prod", timeout=900)
        machine.run(".venv/bin/pip", "install", "--quiet", "aiohttp", "pytest")
        done = machine.run(".venv/bin/python", "-m", "tests.live.engine_cell", timeout=600)
        return Outcome.decode(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("service", "fault"), named("engine"))
def test_service_after_a_restart_of_the_engine(
    engine_restart: Outcome, record: Record, service: str, fault: str
) -> None:
    """All services are restarted, so that the cells have the same outcome."""
    judge(COMMON["engine"], engine_restart, record)


@pytest.fixture(scope="module")
def stores() -> Iterator[Mapping[str, Disk]]:
    """A disk for each store, which node-exporter can see."""
    folder = Path(tempfile.mkdtemp(prefix="netmon-disks-"))
    folder.chmod(0o755)
    found: dict[str, Disk] = {}
    try:
        for service, size in SIZES.items():
            found[service] = Disk(folder / service, size, volatile=not disks.missing())
            (found[service].path / VOLUMES[service]).mkdir()
        yield found
    finally:
        for disk in found.values():
            disk.detach()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, receiver: HostReceiver, stores: Mapping[str, Disk]
) -> Iterator[Bench]:
    """A production stack whose stores have disks of their own."""
    stack = Stack.create(
        tmp_path_factory.mktemp("faults") / "checkout", "netmon-table", DOMAIN="netmon.localhost",
        ALERT_RECEIVERS="webhook,deadmansswitch", **LIMITS,
    )  # fmt: skip
    volumes = {
        VOLUMES[service]: {"driver_opts": {"type": "none", "o": "bind", "device": str(disk.path / VOLUMES[service])}}
        for service, disk in stores.items()
    }
    (stack.root / "docker-compose.override.yml").write_text(yaml.safe_dump({"volumes": volumes}))
    try:
        stack.invoke("setup", "--profile=prod")
        stack.invoke("images.prepare", timeout=900)
        receiver.connect(stack)
        with start_lock():
            # The probe of the smoke check has no target.
            stack.invoke("up", "--no-smoke", timeout=900)
        targets = pipeline.add_targets(stack, PROBED, TARGETS, enabled=False)
        bench = Bench(stack, Entrance.of(stack), targets, receiver, stores)
        bench.require_health()
        # In the first minute of Prometheus, alerts of availability wait (`netmon:starting`).
        time.sleep(STARTING_SECONDS)
        yield bench
    finally:
        for disk in stores.values():
            disk.empty()
        stack.destroy()


@pytest.mark.parametrize(("service", "fault"), named(*INJECTED))
def test_service_under_a_fault(bench: Bench, record: Record, service: str, fault: str) -> None:
    judge(*bench.run(service, fault), record)


@contextlib.contextmanager
def write_lost(bench: Bench) -> Iterator[None]:
    """Redis hangs, and an accepted probe is deleted with its result."""
    with service_faults.hanging(bench.stack, "redis"):
        newest = "SELECT id FROM probes WHERE status = 'succeeded' ORDER BY finished_at DESC LIMIT 1"
        pipeline.execute(bench.stack, f"DELETE FROM probes WHERE id IN ({newest})")  # noqa: S608
        yield


def test_a_lost_write_and_another_alert_are_found(bench: Bench) -> None:
    """Otherwise the cells would prove nothing."""
    want = Expected(("KafkaDown", "kafka"), seconds=20)
    lost, miscounted, alert = bench.measure(write_lost(bench), want, "redis").problems(want)
    assert lost.startswith("1 acknowledged writes lost, at most 0 expected: 1 without a result: ")
    assert miscounted == "the rollups count 1 results too many"
    assert alert.startswith("KafkaDown kafka did not arrive, but (('RedisDown', 'redis'), ")


def test_disk_loses_what_was_not_synced(tmp_path: Path) -> None:
    """Otherwise the power cuts would prove nothing: neither of the page cache nor of the disk's own cache is kept."""
    require_volatile_disks()
    disk = Disk(tmp_path / "disk", 64 << 20, volatile=True)
    try:
        names = ("synced", "page cache", "write cache")
        for name in names:
            write(disk.path / name, b"before", sync=True)
        write(disk.path / "synced", b"synced", sync=True)
        write(disk.path / "page cache", b"cached", sync=False)
        write(disk.path / "write cache", b"cached", sync=False, direct=True)
        assert [read(disk.path / name) for name in names] == [b"synced", b"cached", b"cached"]
        disk.cut()
        disk.detach()
        disk.attach()
        assert [read(disk.path / name) for name in names] == [b"synced", b"before", b"before"]
    finally:
        disk.detach()


def write(file: Path, data: bytes, *, sync: bool, direct: bool = False) -> None:
    """Write a block at the beginning of a file; a direct write leaves the page cache out."""
    with mmap.mmap(-1, 4096) as block:
        block.write(data)
        opened = os.open(file, os.O_RDWR | os.O_CREAT | (os.O_DIRECT if direct else 0))
        try:
            os.pwrite(opened, block, 0)
            if sync:
                os.fsync(opened)
        finally:
            os.close(opened)


def read(file: Path) -> bytes:
    """The first bytes of a file."""
    return file.read_bytes()[:6]


def require_volatile_disks() -> None:
    """Skip a drill by what the machine lacks."""
    if lacking := disks.missing():
        pytest.skip(lacking)


@pytest.fixture(scope="module")
def power_cut(bench: Bench) -> Outcome:
    """The outcome of a power cut of all disks and containers."""
    require_volatile_disks()
    return bench.measure(power_lost(bench), COMMON["power"], "")


@contextlib.contextmanager
def power_lost(bench: Bench) -> Iterator[None]:
    """Cut the power of the disks, then kill every container; switch on, and start them. Both in arbitrary order."""
    stack, found = bench.stack, list(bench.disks.values())
    names = stack.containers()
    disks.cut(found)
    for name in random.sample(names, len(names)):
        stack.docker("kill", name, check=False)
    for disk in found:
        disk.detach()
        disk.attach()
    for name in random.sample(names, len(names)):
        stack.docker("start", name)
    yield


@pytest.mark.parametrize(("service", "fault"), named("power"))
def test_service_after_a_power_cut(power_cut: Outcome, record: Record, service: str, fault: str) -> None:
    """Everything fails at once, so that the cells have the same outcome."""
    judge(COMMON["power"], power_cut, record)
