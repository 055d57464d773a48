"""Probing a target: attempts, each of them bounded in time, and what they come to."""

import asyncio
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from netmon.guard import Guard
from netmon.models import Outcome, Plan
from netmon.probing import ping, tcp
from netmon.probing.dns import DnsProbe
from netmon.probing.errors import FAILURES, OUTCOMES, REFUSED, explain
from netmon.probing.finding import Finding
from netmon.probing.http import HttpProbe
from netmon.probing.resolver import Resolver
from netmon.specs import DnsSpec, HttpSpec, Spec, TcpSpec

__all__ = ["OUTCOMES", "Prober"]

RETRY_PAUSE = 0.5
"""Seconds before another attempt."""


class Prober:
    """Carries out probes; use it as an asynchronous context manager."""

    def __init__(self, guard: Guard, version: str) -> None:
        self._guard = guard
        self._version = version

    async def __aenter__(self) -> Self:
        self._resolver = Resolver(self._guard)
        self._http = HttpProbe(self._resolver, self._version)
        self._dns = DnsProbe(self._guard)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()
        await self._resolver.close()

    async def probe(self, plan: Plan) -> Outcome:
        """Probe a target and say how it went; the duration is that of the last attempt."""
        attempt = 0
        while True:
            attempt += 1
            started = time.perf_counter()
            finding = await self._attempt(plan)
            duration_ms = round((time.perf_counter() - started) * 1000, 3)
            if finding.error in (None, REFUSED) or attempt > plan.retries:
                break
            await asyncio.sleep(RETRY_PAUSE)
        if finding.error is None and finding.warning is None and plan.slow_ms and duration_ms > plan.slow_ms:
            finding.warning = "slow"
            finding.detail = f"it took {duration_ms:.0f} ms, more than {plan.slow_ms:g} ms"
        return Outcome(
            status="failed" if finding.error else "succeeded",
            finished_at=datetime.now(UTC),
            duration_ms=duration_ms,
            attempts=attempt,
            http_status=finding.http_status,
            certificate_days=finding.certificate_days,
            warning=finding.warning,
            error=finding.error,
            detail=finding.detail,
        )

    async def _attempt(self, plan: Plan) -> Finding:
        finding = Finding()
        try:
            async with asyncio.timeout(plan.timeout_seconds):
                await self._carry_out(plan.spec, plan.timeout_seconds, finding)
        except FAILURES as failure:
            finding.error, finding.detail = explain(failure)
            finding.warning = None
        return finding

    async def _carry_out(self, spec: Spec, timeout: float, finding: Finding) -> None:
        if isinstance(spec, HttpSpec):
            await self._http.probe(spec, finding)
        elif isinstance(spec, TcpSpec):
            await tcp.probe(spec, self._resolver)
        elif isinstance(spec, DnsSpec):
            await self._dns.probe(spec, timeout)
        else:
            await ping.probe(spec, self._resolver)
