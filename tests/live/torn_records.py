"""A torn last record in the log of a store: what a power cut leaves of a write that was in progress.

Nothing that is acknowledged is touched: the beginning of one more record is appended, after the service was killed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.live.stack import Stack
from toolkit.engine.stores import PGDATA

Tear = Callable[[Stack, Path], str]
"""Tears the log in the volume's folder, and returns the name of the file."""

RA_HEADER = 5
WAL_PAGE, WAL_SEGMENT = 8192, 16 << 20


def tear_redis(_stack: Stack, volume: Path) -> str:
    """Half a command at the end of the append-only file."""
    return append(newest(volume, "appendonlydir/*.incr.aof"), b"*3\r\n$3\r\nSET\r\n$11\r\nnetmon:torn\r\n$100\r\nhalf")


def tear_kafka(_stack: Stack, volume: Path) -> str:
    """Half a batch at the end of a partition's segment."""
    segment = newest(volume, "probe.results-*/*.log")
    data, position = segment.read_bytes(), 0
    while True:
        following = position + 12 + int.from_bytes(data[position + 8 : position + 12])
        if following >= len(data):
            break
        position = following
    batch = data[position:]
    offset = int.from_bytes(batch[:8]) + int.from_bytes(batch[23:27]) + 1
    return append(segment, offset.to_bytes(8) + batch[8 : len(batch) // 2])


def tear_rabbitmq(_stack: Stack, volume: Path) -> str:
    """Half an entry at the end of the write-ahead log of the quorum queues."""
    log = newest(volume, "mnesia/rabbit@rabbitmq/quorum/rabbit@rabbitmq/*.wal")
    data = log.read_bytes()
    assert data[:4] == b"RAWA", data[:8]
    position, entry = RA_HEADER, b""
    while position + 5 <= len(data) and data[position : position + 11].strip(b"\0"):
        known = data[position] & 0x40
        head = 3 if known else 5 + int.from_bytes(data[position + 3 : position + 5])
        length = int.from_bytes(data[position + head + 4 : position + head + 8])
        entry = data[position : position + head + 24 + length]
        index = int.from_bytes(entry[head + 8 : head + 16]) + 1
        position += len(entry)
    assert entry, "no entry was written"
    torn = entry[: head + 8] + index.to_bytes(8) + entry[head + 16 : head + 24 + length // 2]
    with log.open("r+b") as file:
        file.seek(position)
        file.write(torn)
    return log.name


def tear_db(stack: Stack, volume: Path) -> str:
    """A record without its end after the last one of the write-ahead log."""
    image = stack.container("db")["Config"]["Image"]
    run = ("run", "--rm", "--network=none", f"--volume={volume}:/data:ro", "--entrypoint=sh", image, "-c")
    control = stack.docker(*run, f"pg_controldata /data/{PGDATA}")
    redo = re.findall(r"REDO location: +(\S+)", control)[0]
    timeline = int(re.findall(r"TimeLineID: +(\d+)", control)[0])
    dumped = stack.docker(*run, f"pg_waldump --quiet --path=/data/{PGDATA}/pg_wal --start={redo} 2>&1 | tail -n 1")
    [last, end] = [
        int(high, 16) << 32 | int(low, 16) for high, low in re.findall(r"at ([0-9A-F]+)/([0-9A-F]+)", dumped)
    ]
    name = f"{timeline:08X}{end >> 32:08X}{(end & 0xFFFFFFFF) // WAL_SEGMENT:08X}"
    segment = volume / PGDATA / "pg_wal" / name
    with segment.open("r+b") as file:
        # Length, transaction, the record before, kind, resource manager, checksum: of a record of 200 bytes.
        header = struct.pack("<IIQBBHI", 200, 0, last, 0, 10, 0, 0x12345678)
        file.seek(end % WAL_SEGMENT)
        file.write((header + b"\xaa" * 60)[: WAL_PAGE - end % WAL_PAGE])
    return name


TEARS: Mapping[str, Tear] = {"db": tear_db, "redis": tear_redis, "kafka": tear_kafka, "rabbitmq": tear_rabbitmq}
"""By service."""


def newest(volume: Path, pattern: str) -> Path:
    """The file that was written last."""
    found = [file for file in volume.glob(pattern) if file.stat().st_size]
    assert found, f"{volume} has no {pattern}"
    return max(found, key=lambda file: file.stat().st_mtime)


def append(file: Path, data: bytes) -> str:
    """Append to a file, and return its name."""
    with file.open("ab") as opened:
        opened.write(data)
    return file.name
