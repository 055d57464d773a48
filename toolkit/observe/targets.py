"""Whether Prometheus reaches everything that it should watch."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.checkout import expectations
from toolkit.core.report import Finding
from toolkit.engine.stack_http import Request
from toolkit.observe.stack import Stack, data, url

CHECK = "targets"


def check(stack: Stack) -> Iterator[Finding]:
    """Every target is up, and every running service is scraped or listed with the reason why not."""
    if why := stack.why_not("prometheus"):
        yield Finding.skipped(CHECK, "every target", why)
        return
    [answer] = stack.fetch([Request(url("prometheus", "/api/v1/targets", state="active"))])
    found = data(answer)
    if found is None:
        yield Finding.of(CHECK, "prometheus", answer.problem or "it does not tell its targets")
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
            yield Finding.of(CHECK, service, "" if service in scraped else "it runs, and no job scrapes it")
    for service in stack.unavailable:
        yield Finding.skipped(CHECK, service, stack.why_not(service))
