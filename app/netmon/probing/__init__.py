"""Probing a target: attempts, each with a timeout, and the outcome of the last one."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from netmon.details import slowness
from netmon.guard import Guard
from netmon.kinds import KINDS, ProbeFunction, ProbeTools
from netmon.models import Outcome, Plan
from netmon.probing.attempt import Attempt
from netmon.probing.errors import FAILURES, OUTCOMES, REFUSED, SECRET, explain
from netmon.probing.resolver import Resolver
from netmon.probing.secrets import SecretFolder
from netmon.settings import TARGET_SECRETS_FOLDER
from netmon.specs import Kind

__all__ = ["OUTCOMES", "Prober"]

RETRY_DELAY_SECONDS = 0.5
_FINAL = frozenset({None, REFUSED, SECRET})
"""Ends of an attempt that a retry would not change: success, and what depends on this platform alone."""


class Prober:
    """Probes targets of each kind that is probed (`netmon.kinds`); use it as an asynchronous context manager."""

    def __init__(self, guard: Guard, version: str, secrets: Path = TARGET_SECRETS_FOLDER) -> None:
        self._guard = guard
        self._secrets = SecretFolder(secrets)
        self._version = version
        self._exit_stack = AsyncExitStack()
        self._probe_functions: Mapping[Kind, ProbeFunction[Any]] = {}

    async def __aenter__(self) -> Self:
        resolver = Resolver(self._guard)
        self._exit_stack.push_async_callback(resolver.close)
        tools = ProbeTools(self._guard, resolver, self._secrets, self._version, self._exit_stack)
        self._probe_functions = {name: kind.prober(tools) for name, kind in KINDS.items() if kind.prober}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit_stack.aclose()

    async def probe(self, plan: Plan) -> Outcome:
        """Probe a target, with the retries of its plan; the duration is that of the last attempt."""
        attempts = 0
        while True:
            attempts += 1
            started = time.perf_counter()
            attempt = await self._attempt(plan)
            duration_ms = round((time.perf_counter() - started) * 1000, 3)
            if attempt.error in _FINAL or attempts > plan.retries:
                break
            await asyncio.sleep(RETRY_DELAY_SECONDS)
        if attempt.error is None and attempt.warning is None and (detail := slowness(duration_ms, plan.slow_ms)):
            attempt.warning, attempt.detail = "slow", detail
        return Outcome(
            status="failed" if attempt.error else "succeeded",
            finished_at=datetime.now(UTC),
            duration_ms=duration_ms,
            attempts=attempts,
            http_status=attempt.http_status,
            certificate_days=attempt.certificate_days,
            warning=attempt.warning,
            error=attempt.error,
            detail=attempt.detail,
        )

    async def _attempt(self, plan: Plan) -> Attempt:
        attempt = Attempt(plan.timeout_seconds)
        try:
            async with asyncio.timeout(plan.timeout_seconds):
                await self._probe_functions[plan.spec.kind](plan.spec, attempt)
        except FAILURES as failure:
            attempt.error, attempt.detail = explain(failure, plan.timeout_seconds)
            attempt.warning = None
        return attempt
