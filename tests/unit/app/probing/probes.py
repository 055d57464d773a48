"""Probes, executed like in the worker."""

import asyncio
from typing import Any

from netmon.guard import Guard
from netmon.models import Outcome, Plan
from netmon.probing import OUTCOMES, Prober
from netmon.probing.system_names import SystemNames

EVERYWHERE = Guard(private=True)

ENDED = 30
"""Timeout in seconds for every probe of these tests, even on a busy machine."""


async def carry_out(plan: Plan, allowed: Guard = EVERYWHERE, names: SystemNames | None = None) -> Outcome:
    async with Prober(allowed, "test", names=names) as prober, asyncio.timeout(ENDED):
        outcome = await prober.probe(plan)
    assert (outcome.error or outcome.status) in OUTCOMES
    assert (outcome.error is None) == (outcome.status == "succeeded")
    return outcome


async def probe(url: str, timeout: float = 5, allowed: Guard = EVERYWHERE, **spec: Any) -> Outcome:
    """An HTTP probe."""
    plan = Plan.model_validate({"spec": {"kind": "http", "url": url, **spec}, "timeout_seconds": timeout})
    return await carry_out(plan, allowed)
