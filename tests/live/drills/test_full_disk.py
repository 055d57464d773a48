"""A full disk: new work is refused first, the system of record stops last, and all services recover automatically."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest
import requests
import yaml

from tests.live import pipeline
from tests.live.disks import Disk
from tests.live.stack import Stack, start_lock, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")

Record = Callable[[str], None]

DISK_BYTES = 3 << 30
ALARM = 1_000_000_000
"""The free bytes below which RabbitMQ accepts no messages (config/rabbitmq)."""
VOLUMES = ("postgres_data", "redis_data", "kafka_data", "rabbitmq_data")
STORES = ("db", "redis", "kafka", "rabbitmq")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """A small disk."""
    disk = Disk(tmp_path_factory.mktemp("full") / "disk", DISK_BYTES)
    for name in VOLUMES:
        (disk.path / name).mkdir()
    yield disk
    disk.detach()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, disk: Disk) -> Iterator[Stack]:
    """A stack without monitoring whose stores are on that disk."""
    stack = Stack.create(tmp_path_factory.mktemp("full") / "checkout", "netmon-full")
    volumes = {
        name: {"driver_opts": {"type": "none", "o": "bind", "device": str(disk.path / name)}} for name in VOLUMES
    }
    (stack.root / "docker-compose.override.yml").write_text(yaml.safe_dump({"volumes": volumes}))
    try:
        with start_lock():
            stack.invoke("up", "--without=monitoring", "--no-smoke", "--profile=dev", timeout=900)
        yield stack
    finally:
        disk.empty()
        stack.destroy()


def add_target(stack: Stack, name: str) -> int:
    """The status of the response to a request that changes the record; 0 for none."""
    target = {"name": name, "spec": {"kind": "http", "url": "http://app:3000/api/health/live"}, "enabled": False}
    url = stack.url("/api/targets")
    try:
        return requests.post(url, json=target, headers=stack.authorization(), timeout=8).status_code
    except requests.RequestException:
        return 0


def request_probe(stack: Stack) -> requests.Response | None:
    """The response to a request for a probe; None for none."""
    body, url = {"url": "http://app:3000/api/health/live"}, stack.url("/api/probes")
    try:
        return requests.post(url, json=body, headers=stack.authorization(), timeout=8)
    except requests.RequestException:
        return None


def accepts_probes(stack: Stack) -> bool:
    """Whether a probe is accepted."""
    response = request_probe(stack)
    return response is not None and response.status_code == 202


def test_the_record_stops_last_and_everything_comes_back(stack: Stack, disk: Disk, record: Record) -> None:
    probes = []
    for _ in range(20):
        response = request_probe(stack)
        assert response is not None
        assert response.status_code == 202, response.text
        probes.append(response.json()["id"])
    for probe in probes:
        stack.result(probe)
    assert add_target(stack, "before") == 201

    # New work is refused first, while the record accepts changes.
    disk.leave(ALARM // 2)
    until(lambda: not accepts_probes(stack), 40, "RabbitMQ to refuse messages")
    assert add_target(stack, "while work is refused") == 201
    answer = requests.get(stack.url(f"/api/probes/{probes[0]}"), timeout=5)
    assert answer.json()["status"] == "succeeded"
    assert {stack.container(service)["State"]["Status"] for service in STORES} == {"running"}

    # Then it is full.
    stored = []
    for number in range(30):
        disk.fill()
        if add_target(stack, f"full {number}") == 201:
            stored.append(f"full {number}")
        time.sleep(0.5)

    disk.empty()
    freed = time.monotonic()
    until(lambda: add_target(stack, "after") == 201, 120, "the record to accept changes by itself")
    until(lambda: accepts_probes(stack), 120, "probes to be accepted by themselves")
    seconds = time.monotonic() - freed
    response = request_probe(stack)
    assert response is not None
    assert stack.result(response.json()["id"])["status"] == "succeeded"
    until(lambda: not pipeline.sql(stack, "SELECT FROM outbox"), 120, "events to be published by themselves")
    record(f"back after {seconds:.0f} s; changes stored on the full disk: {len(stored)} of 30")

    for probe in probes:
        answer = requests.get(stack.url(f"/api/probes/{probe}"), timeout=5)
        assert answer.json()["status"] == "succeeded", "an acknowledged result is lost"
    names = {row["name"] for row in pipeline.sql(stack, "SELECT name FROM targets")}
    assert {"before", "while work is refused", "after", *stored} <= names, "an acknowledged change is lost"
    until(lambda: "unhealthy" not in stack.invoke("status", check=False).stdout, 120, "every service to be healthy")
