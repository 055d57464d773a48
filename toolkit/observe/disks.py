"""Check that the disk of the stack's data is watched: node-exporter reports its real size, so that alerts can fire."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from toolkit.core import mounts
from toolkit.core.report import Finding
from toolkit.observe.stack import Stack, data

CHECK = "disk"
TOLERANCE = 0.01
"""The difference between two sizes of the same file system, as a fraction."""
NOT_REPORTED = frozenset({"overlay", "tmpfs", "ramfs"})
"""File systems that node-exporter leaves out, because most of them are none of the host's disks."""


def check(stack: Stack) -> Iterator[Finding]:
    """The file system of the engine's folder, where the volumes are, is reported with its size."""
    folder = Path(stack.docker.data_root() or "/nowhere")
    if why := stack.unavailable_reason("prometheus") or stack.unavailable_reason("node-exporter"):
        yield Finding.skipped(CHECK, str(folder), why)
        return
    if not folder.exists():
        yield Finding.skipped(CHECK, str(folder), "it is not on this machine")
        return
    mountpoint, kind = mounts.mount_of(folder)
    if kind in NOT_REPORTED:
        yield Finding.skipped(CHECK, mountpoint, f"it is of the type {kind}, which node-exporter leaves out")
        return
    answer = stack.get("prometheus", "/api/v1/query", query="node_filesystem_size_bytes")
    found = data(answer)
    if found is None:
        yield Finding.of(CHECK, mountpoint, answer.problem or "Prometheus does not report it")
        return
    reported = {each["metric"]["mountpoint"]: float(each["value"][1]) for each in found["result"]}
    space = os.statvfs(folder)
    yield Finding.of(CHECK, mountpoint, problem(reported.get(mountpoint), space.f_blocks * space.f_frsize))


def problem(reported: float | None, size: float) -> str:
    """Why alerts on a disk cannot fire, from its reported and its real size in bytes; empty if they can."""
    if reported is None:
        return "node-exporter does not report the disk of the volumes, so no alert fires when it is full"
    if abs(reported - size) > TOLERANCE * size:
        return (
            f"node-exporter reports {reported:.0f} bytes for the disk of the volumes, which has {size:.0f}: something "
            "is mounted over it in the container, and no alert fires when it is full"
        )
    return ""
