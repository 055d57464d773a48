"""Whether every metric that a rule or a panel reads is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from toolkit.checkout import dashboards, expectations
from toolkit.core import promql
from toolkit.core.durations import seconds
from toolkit.core.report import Finding
from toolkit.engine.stack_http import Request
from toolkit.observe.stack import Stack, data, url

CHECK = "metrics"
USUAL = "15s"
"""How often a group is evaluated that does not say."""
SETTLING = 60.0
"""Seconds for the first scrapes, and for what is recorded from what is recorded."""
RULES = (Path("monitoring/prometheus/rules"), Path("monitoring/jaeger"))


def check(stack: Stack) -> Iterator[Finding]:
    """Every metric of every rule and panel is in Prometheus now, or listed with the reason why it need not be."""
    used, broken = names(stack)
    yield from broken
    for service in stack.unavailable:
        if any((stack.root / folder / f"{service}.yml").exists() for folder in RULES):
            yield Finding.skipped(CHECK, f"the rules of {service}", stack.why_not(service))
    expected = expectations.absent_metrics(stack.root)
    if why := stack.why_not("prometheus"):
        yield Finding.skipped(CHECK, f"{len(used)} names", why)
        return
    series, runtime = stack.fetch(
        [
            Request(url("prometheus", "/api/v1/query", query='group by (__name__) ({__name__!=""})')),
            Request(url("prometheus", "/api/v1/status/runtimeinfo")),
        ]
    )
    found, told = data(series), data(runtime)
    if found is None or told is None:
        yield Finding.of(CHECK, "prometheus", series.problem or runtime.problem or "it does not tell its metrics")
        return
    live = {each["metric"]["__name__"] for each in found["result"]}
    age = (datetime.now(UTC) - datetime.fromisoformat(told["startTime"])).total_seconds()
    young = {name for name, interval in _recorded(stack) if age < 2 * interval + SETTLING}
    for name in sorted(used):
        listed = [each for each in expected if each.matches(name)]
        if name in live:
            yield Finding.of(CHECK, name, "")
        elif missing := next((each.needs for each in listed if each.needs in stack.unavailable), None):
            yield Finding.skipped(CHECK, name, stack.why_not(missing))
        elif excuse := next((each for each in listed if not each.needs), None):
            yield Finding.of(CHECK, name, "", excuse.reason)
        elif name in young:
            yield Finding.of(CHECK, name, "", "Prometheus has not run for long enough to record it.")
        else:
            yield Finding.of(CHECK, name, f"Prometheus does not have it; read by {', '.join(sorted(used[name]))}")


def names(stack: Stack) -> tuple[dict[str, set[str]], list[Finding]]:
    """The metrics that are read, with who reads each, and the expressions that cannot be read."""
    used: defaultdict[str, set[str]] = defaultdict(set)
    broken = []
    for reader, expression in (*_rules(stack), *_panels(stack)):
        try:
            for name in promql.metrics_in(expression):
                used[name].add(reader)
        except ValueError as error:
            broken.append(Finding.of(CHECK, reader, f"its expression does not parse: {error}"))
    return dict(used), broken


def _rules(stack: Stack) -> Iterator[tuple[str, str]]:
    for file, _, rule in _loaded(stack):
        yield f"{file}:{rule.get('alert') or rule.get('record')}", rule["expr"]


def _recorded(stack: Stack) -> Iterator[tuple[str, float]]:
    """The series that rules record, with the seconds between two evaluations."""
    for _, group, rule in _loaded(stack):
        if "record" in rule:
            yield rule["record"], seconds(group.get("interval", USUAL))


def _loaded(stack: Stack) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """File, group and content of every rule that is loaded here; those of Jaeger only where it runs."""
    for folder in RULES:
        for path in sorted((stack.root / folder).glob("*.yml")):
            if folder.name != "rules" and (folder.name not in stack.services or not path.name.startswith("rules")):
                continue
            if path.stem in stack.unavailable:
                continue
            for group in yaml.safe_load(path.read_text(encoding="utf-8")).get("groups", []):
                for rule in group["rules"]:
                    yield path.name, group, rule


def _panels(stack: Stack) -> Iterator[tuple[str, str]]:
    for query in dashboards.queries(stack.root):
        if query.datasource == "prometheus":
            yield f"{query.dashboard}: {query.panel}", query.expr
