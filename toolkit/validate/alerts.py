"""Checks of alerts: labels, annotations, unit tests, timing and names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

from toolkit.checkout import dashboards, expectations
from toolkit.core import promql
from toolkit.core.durations import seconds
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.grafana import dashboard_files, targets
from toolkit.validate.scrapes import MAX_SCRAPE_SECONDS, PROMETHEUS
from toolkit.validate.source import Source

RULES = ("monitoring/prometheus/rules/", "monitoring/jaeger/rules", "monitoring/backup/rules")
LOG_RULES = ("monitoring/loki/rules/",)
"""Alerts evaluated by Loki: without unit tests, but with the same requirements for labels and annotations."""
TESTS = "monitoring/prometheus/tests/"
HEALTHY = f"{TESTS}healthy_test.yml"

ALWAYS = "none"
"""The severity of the alert that always fires, to prove the delivery of alerts."""
SEVERITIES = ("critical", "warning", ALWAYS)
HOST, TARGETS = "host", "targets"
"""The labels ``service`` of alerts about the host, and about monitored targets."""
DASHBOARD = re.compile(r"\{\{ \$externalLabels\.grafana \}\}/d/netmon-[\w-]+")
AVAILABILITY = re.compile(r"(Down|Absent)$")
VALUE = re.compile(r"\$value|\| value\b|\.Value\b")
"""A value in a description: that of the alert, or of a query."""
LOOK_BACK, DEFAULT_LOOK_BACK_SECONDS = "--query.lookback-delta=", 300.0
MAX_LOOK_BACK_SECONDS = 30.0
"""With a longer one, alerts fire for containers that were gone when Prometheus was started."""
PROCESS_START = "process_start_time_seconds"
"""A timestamp that is never 0."""
NOT_STARTING = "unless on () netmon:starting == 1"
STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')


class Rule(NamedTuple):
    """A rule with its file and position."""

    source: Source
    group: int
    number: int
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The alert's or the recorded series' name."""
        return str(self.data.get("alert") or self.data["record"])

    @property
    def interval(self) -> str | None:
        """The evaluation interval of the rule's group; None for the global interval."""
        interval: str | None = self.source.data["groups"][self.group].get("interval")
        return interval

    def at(self, *keys: str, problem: str = "") -> Finding:
        """A finding at the rule."""
        message = problem and f"{self.name}: {problem}"
        return self.source.finding("groups", self.group, "rules", self.number, *keys, problem=message)


def files(checkout: Checkout, folders: tuple[str, ...] = RULES) -> list[Source]:
    """Every tracked rule file: of Prometheus, or of other folders."""
    names = sorted(file for file in checkout.tracked if file.startswith(folders) and file.endswith(".yml"))
    return [checkout.source(name) for name in names]


def rules(checkout: Checkout, folders: tuple[str, ...] = RULES) -> list[Rule]:
    """Every rule of every tracked file: of Prometheus, or of other folders."""
    return [
        Rule(source, g, r, rule)
        for source in files(checkout, folders)
        for g, group in enumerate(source.data["groups"])
        for r, rule in enumerate(group["rules"])
    ]


def alerts(checkout: Checkout, folders: tuple[str, ...] = RULES) -> list[Rule]:
    """The rules that are alerts."""
    return [rule for rule in rules(checkout, folders) if "alert" in rule.data]


def labels(checkout: Checkout) -> Iterator[Finding]:
    """Every alert has a severity and a known service, as a label of the rule or, by its tests, of its series."""
    known = {HOST, TARGETS, *(name for each in checkout.full_configurations for name in each.services)}
    inherited = _inherited(checkout)
    for alert in alerts(checkout, RULES + LOG_RULES):
        given = alert.data.get("labels", {})
        severity, service = given.get("severity"), str(given.get("service", ""))
        fine = severity in SEVERITIES or "{{" in str(severity)
        unknown = "" if fine else f"unknown severity {severity}: not {', '.join(SEVERITIES)}"
        yield alert.at("labels", "severity", problem=unknown if severity else "the severity is missing")
        problem = "" if service in known or "{{" in service else f"unknown service {service}"
        if not service:
            problem = "" if inherited.get(alert.name) else "the service is missing"
        yield alert.at("labels", "service", problem=problem)


def _inherited(checkout: Checkout) -> dict[str, bool]:
    """Whether every firing series in the tests has a service, by alert."""
    found: dict[str, bool] = {}
    for source in test_files(checkout):
        for case in source.data["tests"]:
            for expectation in case.get("alert_rule_test", []):
                name = expectation["alertname"]
                for firing in expectation.get("exp_alerts") or ():
                    found[name] = found.get(name, True) and "service" in firing.get("exp_labels", {})
    return found


def texts(checkout: Checkout) -> Iterator[Finding]:
    """Every alert has a summary, a description with a threshold's value, and links to a dashboard and its runbook."""
    for alert in alerts(checkout, RULES + LOG_RULES):
        given = alert.data.get("annotations", {})
        for key in ("summary", "description"):
            yield alert.at("annotations", key, problem="" if given.get(key) else f"the {key} is missing")
        lacking = _has_threshold(alert.data["expr"]) and not VALUE.search(given.get("description", ""))
        problem = "the description does not contain the value" if lacking else ""
        yield alert.at("annotations", "description", problem=problem)
        fine = DASHBOARD.fullmatch(given.get("dashboard_url", ""))
        yield alert.at(
            "annotations", "dashboard_url", problem="" if fine else "the dashboard_url does not link to a dashboard"
        )
        runbook = f"{{{{ $externalLabels.runbooks }}}}/{alert.name}.md"
        fine = given.get("runbook_url") == runbook
        yield alert.at("annotations", "runbook_url", problem="" if fine else f"the runbook_url is not {runbook}")


def _has_threshold(expr: str) -> bool:
    try:
        return promql.has_threshold(expr)
    except ValueError:  # LogQL, or a mistake that names() reports
        return re.search(r"[<>]", STRINGS.sub("", expr)) is not None


def tests(checkout: Checkout) -> Iterator[Finding]:
    """Every alert has a firing and a silent test with its own file; the test of a healthy system includes all files."""
    seen: defaultdict[tuple[str, str], set[bool]] = defaultdict(set)
    for source in test_files(checkout):
        files = {PurePath(name).name for name in source.data["rule_files"]}
        for case in source.data["tests"]:
            for expectation in case.get("alert_rule_test", []):
                for file in files:
                    seen[file, expectation["alertname"]].add(bool(expectation.get("exp_alerts")))
    for alert in alerts(checkout):
        states = seen[PurePath(alert.source.file).name, alert.name]
        if alert.data.get("labels", {}).get("severity") == ALWAYS:
            states = states | {False}
        missing = [word for word, firing in (("firing", True), ("silent", False)) if firing not in states]
        yield alert.at("alert", problem=f"no test covers it {' or '.join(missing)}" if missing else "")
    healthy = checkout.source(HEALTHY)
    included = [name.removeprefix("../") for name in healthy.data["rule_files"]]
    for file in sorted({rule.source.file for rule in rules(checkout, RULES[:1])}):
        name = PurePath(file).name
        covered = any(PurePath(file).match(pattern) for pattern in included)
        yield healthy.finding(
            "rule_files", problem="" if covered else f"{name} is missing from the test of a healthy system"
        )


def timing(checkout: Checkout) -> Iterator[Finding]:
    """An alert about an unavailable service waits for one more scrape, is evaluated every second, but not at a start.

    Not one about a monitored target: the application has confirmed its state.
    """
    scrape = seconds(checkout.source(PROMETHEUS).data["global"]["scrape_interval"])
    for alert in alerts(checkout):
        if not AVAILABILITY.search(alert.name) or alert.data.get("labels", {}).get("service") == TARGETS:
            continue
        pending = str(alert.data.get("for", "0s"))
        fine = scrape <= seconds(pending) <= MAX_SCRAPE_SECONDS
        problem = "" if fine else f"for: {pending} is not between a scrape ({scrape:g}s) and {MAX_SCRAPE_SECONDS:g}s"
        yield alert.at("for", problem=problem)
        frequent = alert.interval is not None and seconds(alert.interval) <= 1
        yield alert.source.finding(
            "groups", alert.group, "interval",
            problem="" if frequent else f"{alert.name}: the interval of its group is not 1s",
        )  # fmt: skip
        waits = alert.data["expr"].endswith(NOT_STARTING)
        yield alert.at("expr", problem="" if waits else f"it fires while the stack starts; end it with {NOT_STARTING}")


def names(checkout: Checkout) -> Iterator[Finding]:
    """Alerts are named LikeThis, recorded series level:metric, and every used level:metric series is recorded."""
    found = rules(checkout)
    recorded = {rule.name for rule in found if "record" in rule.data}
    for rule in found:
        if "alert" in rule.data:
            fine = re.fullmatch(r"([A-Z][a-z0-9]*)+([A-Z]+[a-z0-9]*)*", rule.name)
            yield rule.at("alert", problem="" if fine else "alerts are named LikeThis")
        else:
            problem = "" if ":" in rule.name else "recorded series are named level:metric"
            yield rule.at("record", problem=problem)
        try:
            used = promql.metrics_in(rule.data["expr"])
        except ValueError as error:
            yield rule.at("expr", problem=f"not PromQL: {error}")
            continue
        unknown = sorted(name for name in used if ":" in name and name not in recorded)
        yield rule.at("expr", problem=f"no rule records {unknown[0]}" if unknown else "")


def sums(checkout: Checkout) -> Iterator[Finding]:
    """No rule adds optional metrics: one empty operand makes the sum empty."""
    absent = expectations.may_be_absent(expectations.absent_metrics(checkout.root))
    for rule in rules(checkout):
        try:
            empty = promql.partial_sums(rule.data["expr"], absent)
        except ValueError:
            continue  # names() reports it
        problem = (
            f'the sum is empty if {empty[0]} is: add "or 0 * …" of a series that always exists, or use "or"'
            if empty
            else ""
        )
        yield rule.at("expr", problem=problem)


def timestamps(checkout: Checkout) -> Iterator[Finding]:
    """No rule takes a timestamp that is 0, since nothing has happened yet, for one of long ago."""
    for rule in rules(checkout):
        try:
            bare = [name for name in promql.bare_timestamps(rule.data["expr"]) if name != PROCESS_START]
        except ValueError:
            continue  # names() reports it
        problem = f"{bare[0]} may be 0: filter it by > 0, and use the start of the process before" if bare else ""
        yield rule.at("expr", problem=problem)


def news(checkout: Checkout) -> Iterator[Finding]:
    """No rule takes a series for a new one because a scrape was missed."""
    for rule in rules(checkout):
        try:
            unscraped = promql.unscraped_news(rule.data["expr"])
        except ValueError:
            continue  # names() reports it
        fix = 'add "and on (job, instance) up offset … == 1", with the same offset'
        problem = f"{unscraped[0]} is taken for new after a missed scrape: {fix}" if unscraped else ""
        yield rule.at("expr", problem=problem)


def look_back(checkout: Checkout) -> Iterator[Finding]:
    """A series recorded less often than twice in the look-back is read over a range, else it would be missing."""
    seconds_back = _look_back(checkout)
    for each in checkout.full_configurations:
        if "prometheus" in each.services:
            problem = "" if seconds_back <= MAX_LOOK_BACK_SECONDS else f"the look-back, {seconds_back:g}s, is too long"
            yield checkout.place(each.files, "services", "prometheus", "command", problem=problem)
    default = checkout.source(PROMETHEUS).data["global"]["evaluation_interval"]
    rare = {
        rule.name: (rule.source.file, rule.group)
        for rule in rules(checkout)
        if "record" in rule.data and 2 * seconds(rule.interval or default) > seconds_back
    }
    yield checkout.source(PROMETHEUS).finding("global", "evaluation_interval")
    for rule in rules(checkout):
        own = (rule.source.file, rule.group)
        late = [name for name in _instants(rule.data["expr"]) if rare.get(name, own) != own]
        yield rule.at("expr", problem=_late(late))
    for dashboard in dashboard_files(checkout).values():
        for keys, target in targets(dashboard.model):
            if target["datasource"]["type"] == "prometheus":
                text = dashboards.with_defaults(dashboards.query_text(target), dashboard.model)
                yield dashboard.at(*keys, "expr", problem=_late([name for name in _instants(text) if name in rare]))


def _late(names: list[str]) -> str:
    return f"{min(names)} is recorded too rarely for the look-back: use last_over_time" if names else ""


def _instants(expr: str) -> frozenset[str]:
    try:
        return promql.reads(expr).instants
    except ValueError:
        return frozenset()  # names() and queries.syntax() report it


def _look_back(checkout: Checkout) -> float:
    """The look-back of Prometheus, in seconds, as its service sets it."""
    configuration = next(each for each in checkout.full_configurations if "prometheus" in each.services)
    flags = [word for word in configuration.services["prometheus"]["command"] if word.startswith(LOOK_BACK)]
    return seconds(flags[0].removeprefix(LOOK_BACK)) if flags else DEFAULT_LOOK_BACK_SECONDS


def test_files(checkout: Checkout) -> list[Source]:
    """Every file of unit tests of the rules."""
    files = sorted(file for file in checkout.tracked if file.startswith(TESTS) and file.endswith("_test.yml"))
    return [checkout.source(file) for file in files]
