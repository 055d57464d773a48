"""Smoke checks: a client operation for each service, from inside the network.

Checks run concurrently. Each prints a JSON line when it is done: `{"check", "ok", "ms", "detail"}`. A check is named
after its Compose service.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from uuid import uuid4

from netmon.settings import Settings
from netmon.smoke import monitoring, services
from netmon.smoke.check import TIMEOUT_SECONDS, Check
from netmon.supervision import deadline, describe

CHECKS: dict[str, Check] = {**services.CHECKS, **monitoring.CHECKS}


def main(settings: Settings, only: Sequence[str] | None) -> int:
    """Run the checks named in `only`, or all; returns the exit code. A name without a check has `ok` null."""
    for name in sorted(set(only or ()) - CHECKS.keys()):
        print(json.dumps({"check": name, "ok": None, "ms": 0, "detail": "no check for this service"}), flush=True)
    return asyncio.run(_run(settings, [name for name in CHECKS if not only or name in only]))


async def _run(settings: Settings, names: Sequence[str]) -> int:
    passed = await asyncio.gather(*(_report(name, settings) for name in names))
    return 0 if all(passed) else 1


async def _report(name: str, settings: Settings) -> bool:
    started = time.perf_counter()
    try:
        detail, ok = await deadline(CHECKS[name](settings, f"smoke-{uuid4().hex}"), TIMEOUT_SECONDS), True
    except Exception as error:
        detail, ok = describe(error), False
    line = {"check": name, "ok": ok, "ms": round((time.perf_counter() - started) * 1000, 1), "detail": detail}
    print(json.dumps(line, ensure_ascii=False), flush=True)
    return ok
