"""Gauges: values, and their removal while a measurement fails."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import get_args

import pytest

from netmon import gauges, metrics, web
from netmon.health import HealthChecks
from netmon.phases import Phase
from netmon.settings import Settings
from tests.unit.app.waiting import until

pytestmark = pytest.mark.anyio


async def run(work: Awaitable[None], holds: Callable[[], object]) -> None:
    """Run `work` until `holds`."""
    task = asyncio.ensure_future(work)
    await until(holds)
    task.cancel()


async def test_each_dependency_has_its_own_value() -> None:
    async def available() -> None:
        return None

    async def unavailable() -> None:
        raise OSError("unavailable")

    def values() -> dict[str, float]:
        samples = next(iter(metrics.DEPENDENCY_UP.collect())).samples
        return {sample.labels["dependency"]: sample.value for sample in samples}

    metrics.DEPENDENCY_UP.clear()
    checks = HealthChecks({"redis": available, "kafka": unavailable, "probing": unavailable})
    await run(gauges.dependencies(checks, "redis", "kafka"), lambda: len(values()) == 2)
    assert values() == {"redis": 1, "kafka": 0}


async def test_a_failed_measurement_removes_the_stale_value(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics.QUEUE_MESSAGES.labels("probes").set(7)

    class Link:
        async def messages(self, _queue: str) -> int:
            raise OSError("unavailable")

    def removed() -> bool:
        return not next(iter(metrics.QUEUE_MESSAGES.collect())).samples

    assert not removed()
    await run(gauges.queues(Link()), removed)  # type: ignore[arg-type]


async def test_a_hanging_measurement_removes_the_stale_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "TIMEOUT_SECONDS", 0.01)
    removed: list[bool] = []

    async def hang() -> None:
        await asyncio.Event().wait()

    await run(gauges.watch(hang, lambda: removed.append(True)), lambda: removed)


async def test_request_counters_start_at_zero(app_settings: Settings) -> None:
    app = web.create_app(app_settings, title="test")

    @app.post("/api/somethings", status_code=202)
    async def something() -> None: ...

    web.initialise_counters(app)
    counts = {
        (sample.labels["method"], sample.labels["status"]): sample.value
        for sample in next(iter(metrics.HTTP_REQUESTS.collect())).samples
        if sample.labels["route"] == "/api/somethings" and sample.name.endswith("_total")
    }
    assert counts == {("POST", "202"): 0, ("POST", "500"): 0, ("POST", "503"): 0}


def test_every_phase_and_every_outcome_of_heartbeats_has_a_series_from_the_start() -> None:
    """Panels and rates see the first probe, and the first heartbeat."""
    program = """
from prometheus_client import REGISTRY
from netmon import metrics
for family in REGISTRY.collect():
    for sample in family.samples:
        if sample.name in ("netmon_probe_phase_seconds_count", "netmon_heartbeats_total"):
            print(*sample.labels.values(), sample.value)
"""
    path = {"PYTHONPATH": str(Path(__file__).parents[3] / "app")}
    command = [sys.executable, "-c", program]
    printed = subprocess.run(command, env=path, capture_output=True, text=True, check=True, timeout=120).stdout
    outcomes = ("stored", "repeated", "ignored", "refused", "unknown", "silent")
    assert sorted(printed.splitlines()) == sorted(f"{name} 0.0" for name in (*get_args(Phase), *outcomes))
