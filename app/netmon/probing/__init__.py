"""Probing a target: attempts, each with a timeout, and the outcome of the last one."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from netmon.details import printable, slowness
from netmon.guard import Guard
from netmon.kinds import KINDS, ProbeFunction, ProbeTools
from netmon.models import Outcome, Plan
from netmon.probing.attempt import Attempt
from netmon.probing.client import Clients
from netmon.probing.errors import FAILURES, NO_IPV6, NO_PING, OUTCOMES, REFUSED, SECRET, explain
from netmon.probing.resolver import Resolver
from netmon.probing.secrets import SecretFolder
from netmon.probing.system_names import SystemNames
from netmon.probing.tls_sessions import TlsSessions
from netmon.settings import TARGET_SECRETS_FOLDER
from netmon.specs import Kind

__all__ = ["OUTCOMES", "Prober"]

RETRY_DELAY_SECONDS = 0.5
_FINAL = frozenset({None, REFUSED, SECRET, NO_IPV6, NO_PING})
"""Ends of an attempt that a retry would not change: success, and what depends on this platform alone."""


class Prober:
    """Probes targets of each kind that is probed (`netmon.kinds`); use it as an asynchronous context manager."""

    def __init__(
        self,
        guard: Guard,
        version: str,
        secrets: Path = TARGET_SECRETS_FOLDER,
        names: SystemNames | None = None,
    ) -> None:
        self._guard = guard
        self._names = names or SystemNames()
        self._secrets = SecretFolder(secrets)
        self._clients = Clients(f"network-monitor/{version}")
        self._probe_functions: Mapping[Kind, ProbeFunction[Any]] = {}

    async def __aenter__(self) -> Self:
        resolver = Resolver(self._guard, self._names)
        tools = ProbeTools(self._guard, self._names, resolver, TlsSessions(), self._clients, self._secrets)
        self._probe_functions = {name: kind.prober(tools) for name, kind in KINDS.items() if kind.prober}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clients.close()

    async def probe(self, plan: Plan) -> Outcome:
        """Probe a target, with the retries of its plan; the duration is that of the last attempt."""
        attempts = 0
        while True:
            attempts += 1
            started = time.perf_counter()
            attempt = await self._attempt(plan)
            duration_ms = round((time.perf_counter() - started) * 1000, 3)
            if attempt.duration_ms is not None:
                duration_ms = attempt.duration_ms
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
            **{f"{phase}_ms": duration for phase, duration in attempt.phases.items()},
            loss_percent=attempt.loss_percent,
            jitter_ms=attempt.jitter_ms,
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
            if attempt.error == "timeout" and attempt.received:
                attempt.detail = printable(f"{attempt.detail}: {attempt.received}")
            attempt.warning = None
        return attempt
