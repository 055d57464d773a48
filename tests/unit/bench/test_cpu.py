"""CPU time of containers and of the engine, and their share in a probe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import cpu
from bench.cpu import ENGINE_NAME, TICKS, Window, between, containers_cpu, engine_cpu, figures_of, total


def write(path: Path, text: str) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def process(root: Path, number: int, name: str, ticks: int, *arguments: str) -> None:
    """A process that has used ``ticks`` itself, and as many in its children."""
    write(root / f"{number}/stat", f"{number} ({name}) S {'0 ' * 10}{ticks} 0 {ticks} 0 20 0")
    write(root / f"{number}/cmdline", "\0".join(arguments))


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


def test_a_probe_costs_what_is_used_beyond_the_idle_cost() -> None:
    busy = Window({"worker": 0.5, "db": 0.2, ENGINE_NAME: 0.1}, 80)
    idle = Window({"worker": 0.1, "db": 0.04, ENGINE_NAME: 0.02}, 0)
    costs = busy.per_probe(idle)
    assert costs == pytest.approx({"worker": 5.0, "db": 2.0, ENGINE_NAME: 1.0})
    assert total(costs) == pytest.approx(7.0)


def test_costs_without_probes_or_of_other_containers_are_refused() -> None:
    with pytest.raises(ValueError, match="no probes"):
        Window({"worker": 0.5}, 0).per_probe(Window({"worker": 0.1}, 0))
    with pytest.raises(ValueError, match=r"\['worker'\] are compared with \['db'\]"):
        Window({"worker": 0.5}, 80).per_probe(Window({"db": 0.1}, 0))


def test_between_two_readings() -> None:
    assert between({"1": "db", "2": "app"}, {"1": 1.0, "2": 2.0, "3": 9.0}, {"1": 1.5, "2": 4.0}) == {
        "db": 0.5,
        "app": 2.0,
    }


@pytest.mark.parametrize(("before", "after"), [({}, {"1": 1.0}), ({"1": 1.0}, {})])
def test_a_container_that_was_not_running_all_the_time_is_refused(
    before: dict[str, float], after: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match="no CPU time of db"):
        between({"1": "db"}, before, after)


def readings(monkeypatch: pytest.MonkeyPatch, containers: Iterator[float], engine: Iterator[float]) -> None:
    """The kernel reports these CPU times in turn, and a window takes ten seconds."""
    now = iter([100.0, 110.0])
    monkeypatch.setattr("bench.cpu.time.monotonic", lambda: next(now))
    monkeypatch.setattr("bench.cpu.time.sleep", lambda _seconds: None)
    monkeypatch.setattr(cpu, "containers_cpu", lambda: {"1": next(containers)})
    monkeypatch.setattr(cpu, "engine_cpu", lambda: ({}, next(engine)))


def test_a_window_has_the_rates_of_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    readings(monkeypatch, iter([3.0, 8.0]), iter([1.0, 2.0]))
    counts = iter([50, 850])
    found = cpu.window({"1": "worker"}, lambda: next(counts), 10, expected=80)
    assert found == Window({"worker": 0.5, ENGINE_NAME: 0.1}, 80)


@pytest.mark.parametrize(("count", "expected"), [(700, 80), (900, 80), (1, 0), (0, 80)])
def test_another_rate_than_expected_is_refused(monkeypatch: pytest.MonkeyPatch, count: int, expected: float) -> None:
    readings(monkeypatch, iter([3.0, 8.0]), iter([1.0, 2.0]))
    counts = iter([0, count])
    with pytest.raises(ValueError, match="probes a second instead of"):
        cpu.window({"1": "worker"}, lambda: next(counts), 10, expected)


def test_figures_begin_with_the_total_and_the_most_costly_container_and_end_with_the_engine() -> None:
    rounds = [{"db": 1.0, ENGINE_NAME: 9.0, "worker": 4.0}, {"db": 2.0, ENGINE_NAME: 9.0, "worker": 3.0}]
    found = list(figures_of("key", "400 targets", rounds))
    assert [each.key for each in found] == ["key-total", "key-worker", "key-db", "key-engine"]
    assert found[0].samples == [5.0, 5.0]
