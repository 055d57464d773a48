"""Smoke checks: one client operation for each service, from where a client stands.

The checks run side by side. Each prints one JSON line when it is done: `{"check", "ok", "ms", "detail"}`. A check has
the name of its Compose service.
"""

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from uuid import uuid4

from netmon.settings import Settings
from netmon.smoke import monitoring, services
from netmon.smoke.check import TIMEOUT, Check
from netmon.supervision import deadline, describe

CHECKS: dict[str, Check] = {**services.CHECKS, **monitoring.CHECKS}
PAGES = "METRICS_PAGES"
"""The variable with the metrics pages of services, as JSON: `{"SERVICE": "URL"}`."""


def main(settings: Settings, only: Sequence[str] | None) -> int:
    """Run the checks named in `only`, or all; 0 if all passed, 1 if not. A name without a check is reported as such.

    The check of a service that has none here is a request for its metrics page, if `METRICS_PAGES` has one.
    """
    pages: dict[str, str] = json.loads(os.environ.get(PAGES) or "{}")
    checks = {name: monitoring.metrics_page(url) for name, url in pages.items()} | CHECKS
    for name in sorted(set(only or ()) - checks.keys()):
        print(json.dumps({"check": name, "ok": None, "ms": 0, "detail": "it has no check"}), flush=True)
    wanted = {name: check for name, check in checks.items() if not only or name in only}
    return asyncio.run(_run(settings, wanted))


async def _run(settings: Settings, checks: Mapping[str, Check]) -> int:
    passed = await asyncio.gather(*(_report(name, check, settings) for name, check in checks.items()))
    return 0 if all(passed) else 1


async def _report(name: str, check: Check, settings: Settings) -> bool:
    started = time.perf_counter()
    try:
        detail, ok = await deadline(check(settings, f"smoke-{uuid4().hex}"), TIMEOUT), True
    except Exception as error:
        detail, ok = describe(error), False
    line = {"check": name, "ok": ok, "ms": round((time.perf_counter() - started) * 1000, 1), "detail": detail}
    print(json.dumps(line, ensure_ascii=False), flush=True)
    return ok
