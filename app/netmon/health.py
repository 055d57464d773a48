"""Health: live (the process), ready (it can do its work), and the state of every dependency."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter, Response

from netmon.logs import logger
from netmon.settings import Settings
from netmon.supervision import describe

CHECK_TIMEOUT = 0.8

Check = Callable[[], Awaitable[None]]
Verdict = Literal["ok", "error"]

log = logger(__name__)


class HealthChecks:
    """Checks that run side by side and never hold up an answer.

    A check that has not answered in time is cancelled and counted as an error, but not waited for: until it has really
    ended, no second one is started beside it. Requests that come while the checks run share their verdicts.
    """

    def __init__(self, checks: Mapping[str, Check], timeout: float = CHECK_TIMEOUT) -> None:
        self._checks = checks
        self._timeout = timeout
        self._running: dict[str, asyncio.Task[None]] = {}
        self._last: dict[str, Verdict] = {}

    async def run(self, *names: str) -> dict[str, Verdict]:
        """The verdict on each dependency, or on those named, within the time-out (seconds) whatever hangs."""
        tasks = {name: self._task(name, self._checks[name]) for name in names or self._checks}
        await asyncio.wait(tasks.values(), timeout=self._timeout)
        return {name: self._verdict(name, task) for name, task in tasks.items()}

    def _task(self, name: str, check: Check) -> asyncio.Task[None]:
        task = self._running.get(name)
        if task is None or task.done():
            task = self._running[name] = asyncio.create_task(_awaited(check))
        return task

    def _verdict(self, name: str, task: asyncio.Task[None]) -> Verdict:
        if not task.done():
            if not task.cancelling():  # a second cancellation would disturb the clean-up after the first
                task.cancel()
            reason = f"no answer within {self._timeout:g} s"
        elif task.cancelled():
            reason = "cancelled"
        else:
            error = task.exception()
            reason = describe(error) if error else ""
        verdict: Verdict = "error" if reason else "ok"
        if verdict != self._last.get(name, "ok"):
            log.log(
                logging.WARNING if reason else logging.INFO,
                "health changed",
                dependency=name,
                state=verdict,
                reason=reason or None,
            )
        self._last[name] = verdict
        return verdict


async def _awaited(check: Check) -> None:
    await check()


@dataclass(slots=True)
class Lifecycle:
    """Whether the service has been told to stop: it then answers, but is no longer ready."""

    draining: bool = False


def router(settings: Settings, checks: HealthChecks, lifecycle: Lifecycle, needed: Sequence[str]) -> APIRouter:
    """The health endpoints: `/api/health/live`, `/api/health/ready` and `/api/health`.

    Args:
        settings: names the version and the environment.
        checks: what `/api/health` reports.
        lifecycle: tells whether the service is stopping.
        needed: the checks without which the service is not ready.
    """
    routes = APIRouter(prefix="/api/health", tags=["health"])

    @routes.get("/live")
    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @routes.get("/ready", responses={503: {"description": "Not ready, or stopping"}})
    async def is_ready(response: Response) -> dict[str, object]:
        """The service can do its work and has not been told to stop."""
        verdicts = await checks.run(*needed)
        healthy = not lifecycle.draining and "error" not in verdicts.values()
        response.status_code = 200 if healthy else 503
        status = "draining" if lifecycle.draining else "ready" if healthy else "not ready"
        return {"status": status, "checks": verdicts}

    @routes.get("", responses={503: {"description": "At least one dependency is away"}})
    async def health(response: Response) -> dict[str, object]:
        """Every dependency, within a second."""
        verdicts = await checks.run()
        healthy = "error" not in verdicts.values()
        response.status_code = 200 if healthy else 503
        return {
            "status": "healthy" if healthy else "unhealthy",
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "version": settings.version,
            "environment": settings.environment,
            "checks": verdicts,
        }

    return routes
