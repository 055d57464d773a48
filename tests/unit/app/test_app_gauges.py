"""Gauges of what lies outside: an old value is not told as if it were true."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from netmon import gauges, metrics, web
from netmon.health import HealthChecks
from netmon.settings import Settings
from tests.unit.app.waiting import until

pytestmark = pytest.mark.anyio


async def run(work: Awaitable[None], holds: Callable[[], object]) -> None:
    """For as long as it takes."""
    task = asyncio.ensure_future(work)
    await until(holds)
    task.cancel()


async def test_dependencies_are_told_one_by_one() -> None:
    async def well() -> None:
        return None

    async def away() -> None:
        raise OSError("away")

    def values() -> dict[str, float]:
        samples = next(iter(metrics.DEPENDENCY_UP.collect())).samples
        return {sample.labels["dependency"]: sample.value for sample in samples}

    metrics.DEPENDENCY_UP.clear()
    await run(gauges.dependencies(HealthChecks({"redis": well, "kafka": away})), lambda: len(values()) == 2)
    assert values() == {"redis": 1, "kafka": 0}


async def test_what_cannot_be_asked_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics.QUEUE_MESSAGES.labels("probes").set(7)

    class Link:
        async def messages(self, _queue: str) -> int:
            raise OSError("away")

    def forgotten() -> bool:
        return not next(iter(metrics.QUEUE_MESSAGES.collect())).samples

    assert not forgotten()
    await run(gauges.queues(Link()), forgotten)  # type: ignore[arg-type]


async def test_what_hangs_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "TIMEOUT", 0.01)
    forgotten: list[bool] = []

    async def hang() -> None:
        await asyncio.Event().wait()

    await run(gauges.watch(hang, lambda: forgotten.append(True)), lambda: forgotten)


async def test_counts_begin_at_zero(app_settings: Settings) -> None:
    app = web.create_app(app_settings, title="test")

    @app.post("/api/somethings", status_code=202)
    async def something() -> None: ...

    web.count_from_zero(app)
    counts = {
        (sample.labels["method"], sample.labels["status"]): sample.value
        for sample in next(iter(metrics.HTTP_REQUESTS.collect())).samples
        if sample.labels["route"] == "/api/somethings" and sample.name.endswith("_total")
    }
    assert counts == {("POST", "202"): 0, ("POST", "500"): 0, ("POST", "503"): 0}
