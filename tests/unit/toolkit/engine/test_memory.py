"""Memory of containers, from the kernel's accounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.engine import memory

CONTAINER = "c0ffee" * 10
V2 = f"0::/system.slice/docker-{CONTAINER}.scope"
V1 = f"4:cpu,cpuacct:/docker/{CONTAINER}\n5:memory:/docker/{CONTAINER}\n0::/"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of /proc and /sys/fs/cgroup."""
    monkeypatch.setattr(memory, "PROCESSES", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    write(tmp_path / f"cgroup/system.slice/docker-{CONTAINER}.scope", "memory.current", "inactive_file")
    write(tmp_path / f"cgroup/memory/docker/{CONTAINER}", "memory.usage_in_bytes", "total_inactive_file")
    (tmp_path / "proc/7").mkdir(parents=True)
    return tmp_path


def write(folder: Path, usage: str, reclaimable: str) -> None:
    folder.mkdir(parents=True)
    (folder / usage).write_text("5000\n")
    (folder / "memory.stat").write_text(f"cache 1\n{reclaimable} 2000\n")


@pytest.mark.parametrize(
    ("cgroups", "expected"), [(V2, 3000), (V1, 3000), ("0::/user.slice", None), (f"0::/other/{CONTAINER}", None)]
)
def test_reclaimable_page_cache_is_not_used(kernel: Path, cgroups: str, expected: int | None) -> None:
    (kernel / "proc/7/cgroup").write_text(cgroups)
    assert memory.used(CONTAINER, 7) == expected


def test_a_container_of_another_machine_is_unknown(kernel: Path) -> None:
    assert memory.used(CONTAINER, 7) is None
    assert memory.used(CONTAINER, 0) is None
