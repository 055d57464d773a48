"""Probes, carried out as the worker does it."""

import asyncio
from typing import Any

from netmon.guard import Guard
from netmon.models import Outcome, Plan
from netmon.probing import OUTCOMES, Prober

EVERYWHERE = Guard(private=True)

ENDED = 30
"""Seconds in which every probe of these tests has ended, however busy the machine is."""


async def carry_out(plan: Plan, allowed: Guard = EVERYWHERE) -> Outcome:
    async with Prober(allowed, "test") as prober, asyncio.timeout(ENDED):
        outcome = await prober.probe(plan)
    assert (outcome.error or outcome.status) in OUTCOMES
    assert (outcome.error is None) == (outcome.status == "succeeded")
    return outcome


async def probe(url: str, timeout: float = 5, allowed: Guard = EVERYWHERE, **spec: Any) -> Outcome:
    """Of HTTP."""
    plan = Plan.model_validate({"spec": {"kind": "http", "url": url, **spec}, "timeout_seconds": timeout})
    return await carry_out(plan, allowed)
