"""Health: every response in time, even if a check hangs."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from netmon import health
from netmon.settings import Settings

pytestmark = pytest.mark.anyio


class Hanging:
    """A check that hangs and ignores cancellation."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.release = asyncio.Event()

    async def __call__(self) -> None:
        self.started += 1
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled += 1


async def passes() -> None:
    await asyncio.sleep(0)


async def fails() -> None:
    raise ConnectionRefusedError("unavailable")


async def test_each_dependency_has_its_own_verdict() -> None:
    checks = health.HealthChecks({"database": passes, "redis": fails})
    assert await checks.run() == {"database": "ok", "redis": "error"}
    assert await checks.run("database") == {"database": "ok"}


async def test_a_hanging_check_is_an_error_and_does_not_delay_others() -> None:
    hanging = Hanging()
    checks = health.HealthChecks({"database": passes, "kafka": hanging}, timeout_seconds=0.02)
    verdicts = await asyncio.wait_for(checks.run(), 10)
    assert verdicts == {"database": "ok", "kafka": "error"}
    hanging.release.set()


async def test_a_hanging_check_is_cancelled_once_and_not_started_twice() -> None:
    hanging = Hanging()
    checks = health.HealthChecks({"kafka": hanging}, timeout_seconds=0.02)
    for _ in range(3):
        await checks.run()
    assert (hanging.started, hanging.cancelled) == (1, 1)
    hanging.release.set()
    await asyncio.sleep(0.01)
    assert await checks.run() == {"kafka": "ok"}
    assert hanging.started == 2


async def test_concurrent_requests_share_a_check() -> None:
    calls = 0

    async def counted() -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.01)

    checks = health.HealthChecks({"redis": counted})
    await asyncio.gather(*(checks.run() for _ in range(10)))
    assert calls == 1


async def get(settings: Settings, checks: health.HealthChecks, path: str, draining: bool = False) -> Any:
    app = FastAPI()
    app.include_router(health.router(settings, checks, health.Lifecycle(draining), needed=["database"]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as client:
        response = await client.get(path)
    return response.status_code, response.json()


async def test_health_reports_every_dependency(app_settings: Settings) -> None:
    status, body = await get(app_settings, health.HealthChecks({"database": passes, "redis": passes}), "/api/health")
    assert status == 200
    assert body.pop("timestamp").endswith("Z")
    assert body == {
        "status": "healthy",
        "version": "dev",
        "environment": "production",
        "checks": {"database": "ok", "redis": "ok"},
    }
    status, body = await get(app_settings, health.HealthChecks({"database": passes, "redis": fails}), "/api/health")
    assert (status, body["status"], body["checks"]["redis"]) == (503, "unhealthy", "error")


async def test_readiness_depends_only_on_required_dependencies(app_settings: Settings) -> None:
    checks = health.HealthChecks({"database": passes, "redis": fails})
    assert (await get(app_settings, checks, "/api/health/ready"))[0] == 200
    checks = health.HealthChecks({"database": fails, "redis": passes})
    assert (await get(app_settings, checks, "/api/health/ready"))[0] == 503


async def test_a_stopping_service_is_alive_but_not_ready(app_settings: Settings) -> None:
    checks = health.HealthChecks({"database": passes})
    status, body = await get(app_settings, checks, "/api/health/ready", draining=True)
    assert (status, body["status"]) == (503, "draining")
    assert (await get(app_settings, checks, "/api/health/live", draining=True))[0] == 200
