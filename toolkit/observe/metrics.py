"""Checks that every metric used by a rule or a panel exists in Prometheus."""

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
DEFAULT_INTERVAL = "15s"
"""The evaluation interval of a group without one."""
SETTLING_SECONDS = 60.0
"""Seconds for the first scrapes and for recording rules based on other recording rules."""
RECENTLY_RECORDED = 'group by (__name__) (last_over_time({__name__=~".+:.+"}[2m30s]))'
"""The recorded series of the last two evaluations of the slowest group. An interruption of what they are recorded from
ends them until the next evaluation."""
RULES = (Path("monitoring/prometheus/rules"), Path("monitoring/jaeger"), Path("monitoring/backup"))


def check(stack: Stack) -> Iterator[Finding]:
    """Every metric of every rule and panel exists in Prometheus, or is listed as optional with a reason."""
    used, broken = used_metrics(stack)
    yield from broken
    for service in stack.unavailable:
        if any((stack.root / folder / f"{service}.yml").exists() for folder in RULES):
            yield Finding.skipped(CHECK, f"the rules of {service}", stack.unavailable_reason(service))
    expected = expectations.absent_metrics(stack.root)
    if why := stack.unavailable_reason("prometheus"):
        yield Finding.skipped(CHECK, f"{len(used)} names", why)
        return
    series, recorded, runtime = stack.fetch(
        [
            Request(url("prometheus", "/api/v1/query", query='group by (__name__) ({__name__!=""})')),
            Request(url("prometheus", "/api/v1/query", query=RECENTLY_RECORDED)),
            Request(url("prometheus", "/api/v1/status/runtimeinfo")),
        ]
    )
    found, old, info = map(data, (series, recorded, runtime))
    if found is None or old is None or info is None:
        problem = series.problem or recorded.problem or runtime.problem
        yield Finding.of(CHECK, "prometheus", problem or "it does not report its metrics")
        return
    live = {each["metric"]["__name__"] for each in (*found["result"], *old["result"])}
    age = (datetime.now(UTC) - datetime.fromisoformat(info["startTime"])).total_seconds()
    not_yet_recorded = {name for name, interval in _recorded(stack) if age < 2 * interval + SETTLING_SECONDS}
    for name in sorted(used):
        listed = [each for each in expected if each.matches(name)]
        if name in live:
            yield Finding.of(CHECK, name, "")
        elif missing := next((each.needs for each in listed if each.needs in stack.unavailable), None):
            yield Finding.skipped(CHECK, name, stack.unavailable_reason(missing))
        elif optional := next((each for each in listed if not each.needs), None):
            yield Finding.of(CHECK, name, "", optional.reason)
        elif name in not_yet_recorded:
            yield Finding.of(CHECK, name, "", "Prometheus has not been running long enough to record it.")
        else:
            yield Finding.of(CHECK, name, f"missing in Prometheus; used by {', '.join(sorted(used[name]))}")


def used_metrics(stack: Stack) -> tuple[dict[str, set[str]], list[Finding]]:
    """The used metrics with their rules and panels, and the findings of expressions that do not parse."""
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
    for file, _, rule in _loaded_rules(stack):
        yield f"{file}:{rule.get('alert') or rule.get('record')}", rule["expr"]


def _recorded(stack: Stack) -> Iterator[tuple[str, float]]:
    """The recorded series with their evaluation intervals in seconds."""
    for _, group, rule in _loaded_rules(stack):
        if "record" in rule:
            yield rule["record"], seconds(group.get("interval", DEFAULT_INTERVAL))


def _loaded_rules(stack: Stack) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """File, group and content of every loaded rule; Jaeger's rules only if its group is enabled."""
    for folder in RULES:
        for path in sorted((stack.root / folder).rglob("*.yml")):
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
