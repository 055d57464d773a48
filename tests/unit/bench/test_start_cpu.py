"""CPU time of a start: what the kernel's files and the engine's events say, by service and second by second."""

from __future__ import annotations

from typing import Any

import pytest

from bench.start_cpu import Recording, Sample, details


def event(container: str, service: str, action: str, at: float = 0) -> dict[str, Any]:
    """An event as `docker events` prints it."""
    labels = {"com.docker.compose.service": service}
    actor = {"ID": container, "Attributes": labels}
    return {"Type": "container", "Action": action, "Actor": actor, "timeNano": at * 1e9}


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
