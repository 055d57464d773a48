"""CPU time of a start: what the kernel's files and the engine's events say, by service and second by second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.start_cpu import TICKS, Recording, Sample, containers_cpu, details, engine_cpu


def write(path: Path, text: str) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def process(root: Path, number: int, name: str, ticks: int, *arguments: str) -> None:
    """A process that has used ``ticks`` itself, and as many in its children."""
    write(root / f"{number}/stat", f"{number} ({name}) S {'0 ' * 10}{ticks} 0 {ticks} 0 20 0")
    write(root / f"{number}/cmdline", "\0".join(arguments))


def event(container: str, service: str, action: str, at: float = 0) -> dict[str, Any]:
    """An event as `docker events` prints it."""
    labels = {"com.docker.compose.service": service}
    actor = {"ID": container, "Attributes": labels}
    return {"Type": "container", "Action": action, "Actor": actor, "timeNano": at * 1e9}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("cpuacct/docker/abc/cpuacct.usage", "1500000000\n"),
        ("docker/abc/cpu.stat", "usage_usec 1500000\nuser_usec 1000000\n"),
        ("system.slice/docker-abc.scope/cpu.stat", "usage_usec 1500000\nuser_usec 1000000\n"),
    ],
)
def test_cpu_of_containers_in_each_version_of_cgroups(tmp_path: Path, path: str, text: str) -> None:
    write(tmp_path / path, text)
    assert containers_cpu(tmp_path) == {"abc": 1.5}


def test_cpu_of_the_engine_and_of_each_shim_with_its_children(tmp_path: Path) -> None:
    process(tmp_path, 1, "dockerd", TICKS, "dockerd")
    process(tmp_path, 2, "containerd", TICKS, "containerd")
    process(tmp_path, 3, "containerd-shim", TICKS, "containerd-shim-runc-v2", "-namespace", "moby", "-id", "abc")
    process(tmp_path, 4, "python", TICKS, "python")
    assert engine_cpu(tmp_path) == ({"abc": 2.0}, 4.0)


def test_a_shim_that_has_just_ended_is_ignored(tmp_path: Path) -> None:
    process(tmp_path, 3, "containerd-shim", TICKS)
    assert engine_cpu(tmp_path) == ({}, 0.0)


def recording() -> Recording:
    """A start of 1.5 s: db runs from the beginning, app after a second; another project's container is busy."""
    made = Recording("project")
    made.samples = [
        Sample(100.0, {"other": 5.0}, {}, 10.0, 20.0),
        Sample(100.5, {"1": 0.2, "other": 6.0}, {"1": 0.1}, 10.0, 21.0),
        Sample(101.0, {"1": 0.3, "other": 7.0}, {"1": 0.1}, 10.5, 22.0),
        Sample(101.5, {"1": 0.3, "2": 0.4, "other": 8.0}, {"1": 0.1, "2": 0.2}, 11.0, 23.0),
    ]
    for each in (
        event("1", "db", "start"), event("2", "app", "start"),
        event("1", "db", "exec_start: postgres-health.sh"), event("1", "db", "health_status: healthy", 101.2),
        event("1", "db", "exec_start: postgres-health.sh"), event("1", "db", "health_status: healthy", 101.4),
        {"Type": "network", "Action": "connect", "Actor": {"ID": "n", "Attributes": {}}, "timeNano": 0},
    ):  # fmt: skip
        made.record(each)
    return made


def test_recording_counts_the_containers_of_its_project() -> None:
    made = recording()
    assert made.containers == pytest.approx({"db": 0.3, "app": 0.4})
    assert made.shims == pytest.approx({"db": 0.1, "app": 0.2})
    assert (made.machine, made.engine, made.wall) == (3.0, 1.0, 1.5)
    assert made.checks == {"db": 2}
    assert made.healthy == {"db": 101.2}


def test_recording_second_by_second() -> None:
    seconds = recording().by_second()
    assert seconds["db"] == pytest.approx([0.3, 0.0])
    assert seconds["app"] == pytest.approx([0.0, 0.4])


def test_details_begin_with_the_most_costly_service_and_omit_the_health_of_a_service_without_a_check() -> None:
    keys = [figure.key for figure in details([recording(), recording()])]
    assert keys == [
        "app-cpu", "app-second-0", "app-second-1", "db-cpu", "db-healthy", "db-second-0", "db-second-1",
    ]  # fmt: skip
