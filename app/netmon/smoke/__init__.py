"""Smoke checks: one client operation for each service, from where a client stands.

The checks run side by side. Each prints one JSON line when it is done: `{"check", "ok", "ms", "detail"}`. A check has
the name of its Compose service.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from uuid import uuid4

from netmon.settings import Settings
from netmon.smoke import monitoring, services
from netmon.smoke.check import TIMEOUT, Check
from netmon.supervision import deadline, describe

CHECKS: dict[str, Check] = {**services.CHECKS, **monitoring.CHECKS}


def main(settings: Settings, only: Sequence[str] | None) -> int:
    """Run the checks named in `only`, or all; 0 if all passed, 1 if not. A name without a check is reported as such."""
    for name in sorted(set(only or ()) - CHECKS.keys()):
        print(json.dumps({"check": name, "ok": None, "ms": 0, "detail": "it has no check"}), flush=True)
    return asyncio.run(_run(settings, [name for name in CHECKS if not only or name in only]))


async def _run(settings: Settings, names: Sequence[str]) -> int:
    passed = await asyncio.gather(*(_report(name, settings) for name in names))
    return 0 if all(passed) else 1


async def _report(name: str, settings: Settings) -> bool:
    started = time.perf_counter()
    try:
        detail, ok = await deadline(CHECKS[name](settings, f"smoke-{uuid4().hex}"), TIMEOUT), True
    except Exception as error:
        detail, ok = describe(error), False
    line = {"check": name, "ok": ok, "ms": round((time.perf_counter() - started) * 1000, 1), "detail": detail}
    print(json.dumps(line, ensure_ascii=False), flush=True)
    return ok
