"""Health endpoints: liveness, readiness, and the state of every dependency."""

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

CHECK_TIMEOUT_SECONDS = 0.8

Check = Callable[[], Awaitable[None]]
Verdict = Literal["ok", "error"]

log = logger(__name__)


class HealthChecks:
    """Runs health checks concurrently, within a timeout that holds even if a check hangs.

    A check that exceeds the timeout is cancelled and reported as an error without waiting for it to end; it is not
    started again until it has ended. Concurrent requests share the running checks.

    Args:
        checks: by dependency; a check raises if the dependency is unavailable.
        timeout_seconds: timeout of each check.
    """

    def __init__(self, checks: Mapping[str, Check], timeout_seconds: float = CHECK_TIMEOUT_SECONDS) -> None:
        self._checks = checks
        self._timeout_seconds = timeout_seconds
        self._running: dict[str, asyncio.Task[None]] = {}
        self._last: dict[str, Verdict] = {}

    async def run(self, *names: str) -> dict[str, Verdict]:
        """Check the given dependencies, or all."""
        tasks = {name: self._task(name, self._checks[name]) for name in names or self._checks}
        await asyncio.wait(tasks.values(), timeout=self._timeout_seconds)
        return {name: self._verdict(name, task) for name, task in tasks.items()}

    def _task(self, name: str, check: Check) -> asyncio.Task[None]:
        task = self._running.get(name)
        if task is None or task.done():
            task = self._running[name] = asyncio.create_task(_awaited(check))
        return task

    def _verdict(self, name: str, task: asyncio.Task[None]) -> Verdict:
        if not task.done():
            if not task.cancelling():  # a second cancellation would interrupt the cleanup after the first
                task.cancel()
            reason = f"no response within {self._timeout_seconds:g} s"
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
    """Whether the service is stopping: it then still responds, but is no longer ready."""

    draining: bool = False


def router(settings: Settings, checks: HealthChecks, lifecycle: Lifecycle, needed: Sequence[str]) -> APIRouter:
    """The health endpoints: `/api/health/live`, `/api/health/ready` and `/api/health`.

    Args:
        settings: has the version and the environment.
        checks: the checks of `/api/health`.
        lifecycle: whether the service is stopping.
        needed: the checks that must pass for the service to be ready.
    """
    routes = APIRouter(prefix="/api/health", tags=["health"])

    @routes.get("/live")
    async def live() -> dict[str, str]:
        """Report that the process is alive."""
        return {"status": "alive"}

    @routes.get("/ready", responses={503: {"description": "Not ready or stopping"}})
    async def is_ready(response: Response) -> dict[str, object]:
        """Report whether the service can do its work and is not stopping."""
        verdicts = await checks.run(*needed)
        healthy = not lifecycle.draining and "error" not in verdicts.values()
        response.status_code = 200 if healthy else 503
        status = "draining" if lifecycle.draining else "ready" if healthy else "not ready"
        return {"status": status, "checks": verdicts}

    @routes.get("", responses={503: {"description": "At least one dependency is unavailable"}})
    async def health(response: Response) -> dict[str, object]:
        """Report the state of every dependency within a second."""
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
