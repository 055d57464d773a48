"""Smoke checks: a client operation for each service, from inside the network.

Checks run concurrently. Each prints a JSON line when it is done: `{"check", "ok", "ms", "detail"}`. A check is named
after its Compose service.
"""

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from uuid import uuid4

from netmon.settings import Settings
from netmon.smoke import monitoring, services
from netmon.smoke.check import TIMEOUT_SECONDS, Check
from netmon.supervision import deadline, describe

CHECKS: dict[str, Check] = {**services.CHECKS, **monitoring.CHECKS}
PAGES = "METRICS_PAGES"
"""The variable with the metrics pages of services, as JSON: `{"SERVICE": "URL"}`."""


def main(settings: Settings, only: Sequence[str] | None) -> int:
    """Run the checks named in `only`, or all; returns the exit code. A name without a check has `ok` null.

    A service without a check of its own is checked by its metrics page, if `METRICS_PAGES` has one.
    """
    pages: dict[str, str] = json.loads(os.environ.get(PAGES) or "{}")
    checks = {name: monitoring.metrics_page(url) for name, url in pages.items()} | CHECKS
    for name in sorted(set(only or ()) - checks.keys()):
        print(json.dumps({"check": name, "ok": None, "ms": 0, "detail": "no check for this service"}), flush=True)
    wanted = {name: check for name, check in checks.items() if not only or name in only}
    return asyncio.run(_run(settings, wanted))


async def _run(settings: Settings, checks: Mapping[str, Check]) -> int:
    passed = await asyncio.gather(*(_report(name, check, settings) for name, check in checks.items()))
    return 0 if all(passed) else 1


async def _report(name: str, check: Check, settings: Settings) -> bool:
    started = time.perf_counter()
    try:
        detail, ok = await deadline(check(settings, f"smoke-{uuid4().hex}"), TIMEOUT_SECONDS), True
    except Exception as error:
        detail, ok = describe(error), False
    line = {"check": name, "ok": ok, "ms": round((time.perf_counter() - started) * 1000, 1), "detail": detail}
    print(json.dumps(line, ensure_ascii=False), flush=True)
    return ok
