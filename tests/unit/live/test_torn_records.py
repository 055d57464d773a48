"""The torn records of stores: appended to what is complete, with the number of the next record."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from tests.live.stack import Stack
from tests.live.torn_records import tear_kafka, tear_rabbitmq, tear_redis

STACK = Stack(Path(), "unused")


def batch(offset: int, records: int, size: int) -> bytes:
    """A batch of Kafka: base offset, length, three fields, and the offset of its last record."""
    rest = struct.pack(">IBIHI", 0, 2, 1, 0, records - 1) + b"r" * size
    return struct.pack(">QI", offset, len(rest)) + rest


def entry(index: int, queue: bytes = b"") -> bytes:
    """An entry of the log of quorum queues; the first one of a queue has its name."""
    head = b"\0\0\1" + len(queue).to_bytes(2) + queue if queue else b"\x40\0\1"
    return head + struct.pack(">IIQQ", 7, 10, index, 1) + b"0123456789"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """The volumes of the stores, in one."""
    files = {
        "appendonlydir/appendonly.aof.1.incr.aof": b"*1\r\n$4\r\nPING\r\n",
        "probe.results-0/0.log": b"older",
        "probe.results-3/0.log": batch(0, 5, 40) + batch(5, 3, 60),
        "mnesia/rabbit@rabbitmq/quorum/rabbit@rabbitmq/1.wal": b"RAWA\1" + entry(41, b"probes") + entry(42) + bytes(50),
    }
    for age, (name, data) in enumerate(files.items()):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        os.utime(path, (age, age))
    return tmp_path


def test_half_a_command_follows_the_last_one(volume: Path) -> None:
    name = tear_redis(STACK, volume)
    assert (volume / "appendonlydir" / name).read_bytes().startswith(b"*1\r\n$4\r\nPING\r\n*3\r\n")


def test_half_a_batch_has_the_next_offset(volume: Path) -> None:
    tear_kafka(STACK, volume)
    data = (volume / "probe.results-3/0.log").read_bytes()
    complete = batch(0, 5, 40) + batch(5, 3, 60)
    assert data.startswith(complete)
    torn = data[len(complete) :]
    assert int.from_bytes(torn[:8]) == 8
    assert len(torn) == len(batch(5, 3, 60)) // 2


def test_half_an_entry_has_the_next_index(volume: Path) -> None:
    name = tear_rabbitmq(STACK, volume)
    data = (volume / "mnesia/rabbit@rabbitmq/quorum/rabbit@rabbitmq" / name).read_bytes()
    torn = struct.pack(">IIQQ", 7, 10, 43, 1) + b"01234"
    assert data.rstrip(b"\0") == b"RAWA\1" + entry(41, b"probes") + entry(42) + b"\x40\0\1" + torn


def test_a_store_without_a_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"has no appendonlydir/\*"):
        tear_redis(STACK, tmp_path)
