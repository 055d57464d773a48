"""The container exporter with file trees like those of the kernel (cgroups 1 and 2) and of the engine."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

ROOT = Path(__file__).resolve().parents[3]
PROJECT = "netmon"
ID = "f" * 64


def load() -> ModuleType:
    path = ROOT / "monitoring" / "container-exporter" / "container_exporter.py"
    spec = importlib.util.spec_from_file_location("container_exporter", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


exporter = load()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def container(host: Path, name: str = "netmon-db-1", container: str = ID, **changes: Any) -> None:
    labels = {"com.docker.compose.project": PROJECT, "com.docker.compose.service": "db"} | changes.pop("labels", {})
    config = {
        "ID": container,
        "Name": f"/{name}",
        "RestartCount": 2,
        "Config": {"Labels": labels, "Env": ["POSTGRES_PASSWORD=secret"]},
        "State": {"Running": True, "Pid": 42, "StartedAt": "2026-01-01T00:00:00.123456789Z"},
    } | changes
    limits = {"Memory": 1024, "NanoCpus": 500_000_000, "PidsLimit": 20}
    write(host / "containers" / container / "config.v2.json", json.dumps(config))
    write(host / "containers" / container / "hostconfig.json", json.dumps(limits))
    write(host / "containers" / container / f"{container}-json.log", "x" * 100)
    write(host / "containers" / container / f"{container}-json.log.1", "x" * 10)
    write(
        host / "proc" / "42" / "net" / "dev",
        "head\nhead\n    lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: 700 1 0 0 0 0 0 0 80 1\n",
    )


def cgroup_v2(host: Path, group: str) -> None:
    write(host / "cgroup" / "cgroup.controllers", "cpu memory pids\n")
    folder = host / "cgroup" / group
    write(folder / "cpu.stat", "usage_usec 3000000\nnr_throttled 1\nthrottled_usec 500000\n")
    write(folder / "memory.current", "900\n")
    write(folder / "memory.stat", "anon 500\ninactive_file 300\n")
    write(folder / "memory.events", "low 0\noom 1\noom_kill 1\n")
    write(folder / "pids.current", "7\n")


def cgroup_v1(host: Path, group: str) -> None:
    root = host / "cgroup"
    write(root / "cpuacct" / group / "cpuacct.usage", "3000000000\n")
    write(root / "cpu" / group / "cpu.stat", "nr_throttled 1\nthrottled_time 500000000\n")
    write(root / "memory" / group / "memory.usage_in_bytes", "900\n")
    write(root / "memory" / group / "memory.stat", "cache 500\ntotal_inactive_file 300\n")
    write(root / "memory" / group / "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    write(root / "pids" / group / "pids.current", "7\n")


def scrape(host: Path) -> dict[tuple[str, str], float]:
    """Values by metric and container."""
    registry = CollectorRegistry()
    registry.register(exporter.Containers(PROJECT, host))
    return {
        (sample.name, sample.labels["container"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if "container" in sample.labels
    }


EVERYTHING = {
    "container_running": 1,
    "container_start_time_seconds": 1767225600,
    "container_restarts_total": 2,
    "container_cpu_usage_seconds_total": 3,
    "container_cpu_throttled_seconds_total": 0.5,
    "container_cpu_limit_cores": 0.5,
    "container_memory_working_set_bytes": 600,
    "container_memory_limit_bytes": 1024,
    "container_oom_kills_total": 1,
    "container_processes": 7,
    "container_processes_limit": 20,
    "container_network_receive_bytes_total": 700,
    "container_network_transmit_bytes_total": 80,
    "container_log_bytes": 110,
}


@pytest.mark.parametrize(
    ("make", "group"),
    [
        (cgroup_v1, f"docker/{ID}"),
        (cgroup_v1, f"system.slice/docker-{ID}.scope"),
        (cgroup_v2, f"docker/{ID}"),
        (cgroup_v2, f"system.slice/docker-{ID}.scope"),
        (cgroup_v2, f"user.slice/user-1000.slice/docker-{ID}.scope"),
    ],
)
def test_every_metric_has_its_value(tmp_path: Path, make: Any, group: str) -> None:
    container(tmp_path)
    make(tmp_path, group)
    assert scrape(tmp_path) == {(name, "netmon-db-1"): value for name, value in EVERYTHING.items()}


def test_every_metric_is_listed_once(tmp_path: Path) -> None:
    assert set(exporter.METRICS) == set(EVERYTHING)


@pytest.mark.parametrize(
    "labels",
    [
        {"com.docker.compose.project": "another"},
        {"com.docker.compose.service": None},
        {"com.docker.compose.oneoff": "True"},
    ],
)
def test_containers_of_other_projects_are_ignored(tmp_path: Path, labels: dict[str, str | None]) -> None:
    container(tmp_path, labels=labels)
    cgroup_v2(tmp_path, f"docker/{ID}")
    assert scrape(tmp_path) == {}


def test_stopped_container_has_no_usage(tmp_path: Path) -> None:
    container(tmp_path, State={"Running": False, "Pid": 0, "StartedAt": "2026-01-01T00:00:00Z"})
    cgroup_v2(tmp_path, "docker/other")
    values = scrape(tmp_path)
    assert values["container_running", "netmon-db-1"] == 0
    assert ("container_memory_working_set_bytes", "netmon-db-1") not in values


def test_unreadable_container_is_counted_and_the_others_are_reported(tmp_path: Path) -> None:
    cgroup_v2(tmp_path, f"docker/{ID}")
    container(tmp_path)
    container(tmp_path, name="netmon-bad-1", container="a" * 64, State=None)
    write(tmp_path / "containers" / ("b" * 64) / "config.v2.json", '{"ID": "half a fi')
    before = exporter.ERRORS._value.get()
    assert {name for _, name in scrape(tmp_path)} == {"netmon-db-1"}
    assert exporter.ERRORS._value.get() == before + 2


def test_container_being_removed_is_no_error(tmp_path: Path) -> None:
    cgroup_v2(tmp_path, "docker/other")
    container(tmp_path)
    before = exporter.ERRORS._value.get()
    assert scrape(tmp_path) == {}
    assert exporter.ERRORS._value.get() == before


def test_environment_is_not_kept(tmp_path: Path) -> None:
    container(tmp_path)
    assert "secret" not in repr(exporter.Container.read(tmp_path / "containers" / ID))
