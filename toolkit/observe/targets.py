"""Checks that Prometheus scrapes every service."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.checkout import expectations
from toolkit.core.report import Finding
from toolkit.engine.stack_http import Request
from toolkit.observe.stack import Stack, data, url

CHECK = "targets"


def check(stack: Stack) -> Iterator[Finding]:
    """Every target is up, and every running service is scraped or listed as an exception with a reason."""
    if why := stack.unavailable_reason("prometheus"):
        yield Finding.skipped(CHECK, "every target", why)
        return
    [answer] = stack.fetch([Request(url("prometheus", "/api/v1/targets", state="active"))])
    found = data(answer)
    if found is None:
        yield Finding.of(CHECK, "prometheus", answer.problem or "it does not report its targets")
        return
    scraped: set[str] = set()
    for target in found["activeTargets"]:
        labels = target["labels"]
        scraped |= {labels["job"], labels.get("service", "")}
        problem = "" if target["health"] == "up" else target["lastError"] or f"it is {target['health']}"
        yield Finding.of(CHECK, f"{labels['job']} {labels.get('instance', '')}".strip(), problem)
    unscraped = expectations.unscraped(stack.root)
    for service in sorted(stack.running):
        if service in unscraped and service not in scraped:
            yield Finding.of(CHECK, service, "", unscraped[service])
        else:
            yield Finding.of(CHECK, service, "" if service in scraped else "it is running, but no job scrapes it")
    for service in stack.unavailable:
        yield Finding.skipped(CHECK, service, stack.unavailable_reason(service))
