"""Alerts: their labels and annotations, their unit tests, their timing and their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

from toolkit.checkout import expectations
from toolkit.core import promql
from toolkit.core.durations import seconds
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.scrapes import PROMETHEUS, SCRAPE
from toolkit.validate.source import Source

RULES = ("monitoring/prometheus/rules/", "monitoring/jaeger/rules")
LOG_RULES = ("monitoring/loki/rules/",)
"""Evaluated by Loki: LogQL, for which there is no tester, but what an alert says is held to the same rules."""
TESTS = "monitoring/prometheus/tests/"
HEALTHY = f"{TESTS}healthy_test.yml"

ALWAYS = "none"
"""The severity of an alert that always fires, to show that alerts arrive."""
SEVERITIES = ("critical", "warning", ALWAYS)
HOST = "host"
"""What an alert about the machine itself has as its service."""
DASHBOARD = re.compile(r"\{\{ \$externalLabels\.grafana \}\}/d/netmon-[\w-]+")
AVAILABILITY = re.compile(r"(Down|Absent)$")
STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')


class Rule(NamedTuple):
    """A rule with its file and where it stands there."""

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
        """How often its group is evaluated, where it does not leave that to the global setting."""
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
    """Every alert says how bad it is, and of which service: by itself, or by its series, as its tests show."""
    known = {HOST, *(name for each in checkout.whole for name in each.services)}
    inherited = _inherited(checkout)
    for alert in alerts(checkout, RULES + LOG_RULES):
        given = alert.data.get("labels", {})
        severity, service = given.get("severity"), str(given.get("service", ""))
        wrong = "" if severity in SEVERITIES else f"the severity {severity} is none of {', '.join(SEVERITIES)}"
        yield alert.at("labels", "severity", problem=wrong if severity else "it has no severity")
        problem = "" if service in known or "{{" in service else f"there is no service {service}"
        if not service:
            problem = "" if inherited.get(alert.name) else "it has no service"
        yield alert.at("labels", "service", problem=problem)


def _inherited(checkout: Checkout) -> dict[str, bool]:
    """For each alert of the tests, whether whatever it fires for has a service."""
    found: dict[str, bool] = {}
    for source in _tests(checkout):
        for case in source.data["tests"]:
            for expectation in case.get("alert_rule_test", []):
                name = expectation["alertname"]
                for firing in expectation.get("exp_alerts") or ():
                    found[name] = found.get(name, True) and "service" in firing.get("exp_labels", {})
    return found


def texts(checkout: Checkout) -> Iterator[Finding]:
    """Every alert says what has happened, a threshold's with its value, and links to a dashboard and its runbook."""
    for alert in alerts(checkout, RULES + LOG_RULES):
        given = alert.data.get("annotations", {})
        for key in ("summary", "description"):
            yield alert.at("annotations", key, problem="" if given.get(key) else f"it has no {key}")
        threshold = re.search(r"[<>]", STRINGS.sub("", alert.data["expr"]))
        told = "$value" in given.get("description", "") or "{{ . | first | value" in given.get("description", "")
        problem = "its description does not tell the value" if threshold and not told else ""
        yield alert.at("annotations", "description", problem=problem)
        fine = DASHBOARD.fullmatch(given.get("dashboard_url", ""))
        yield alert.at("annotations", "dashboard_url", problem="" if fine else "it leads to no dashboard")
        page = f"{{{{ $externalLabels.runbooks }}}}/{alert.name}.md"
        fine_page = given.get("runbook_url") == page
        yield alert.at("annotations", "runbook_url", problem="" if fine_page else f"its runbook_url is not {page}")


def tests(checkout: Checkout) -> Iterator[Finding]:
    """Every alert was seen silent and firing in a test of its own file; a healthy system is tested with all files."""
    seen: defaultdict[tuple[str, str], set[bool]] = defaultdict(set)
    for source in _tests(checkout):
        files = {PurePath(name).name for name in source.data["rule_files"]}
        for case in source.data["tests"]:
            for expectation in case.get("alert_rule_test", []):
                for file in files:
                    seen[file, expectation["alertname"]].add(bool(expectation.get("exp_alerts")))
    for alert in alerts(checkout):
        states = seen[PurePath(alert.source.file).name, alert.name]
        if alert.data.get("labels", {}).get("severity") == ALWAYS:
            states = states | {False}
        lacking = [word for word, firing in (("firing", True), ("silent", False)) if firing not in states]
        yield alert.at("alert", problem=f"no test has seen it {' or '.join(lacking)}" if lacking else "")
    healthy = checkout.source(HEALTHY)
    included = {PurePath(name).name for name in healthy.data["rule_files"]}
    for file in sorted({rule.source.file for rule in rules(checkout)}):
        name = PurePath(file).name
        covered = name in included or "*.yml" in included
        yield healthy.finding("rule_files", problem="" if covered else f"{name} is missing: a healthy system is quiet")


def timing(checkout: Checkout) -> Iterator[Finding]:
    """An alert that a service is away waits for one more scrape, and no longer, and is evaluated every second."""
    scrape = seconds(checkout.source(PROMETHEUS).data["global"]["scrape_interval"])
    for alert in alerts(checkout):
        if not AVAILABILITY.search(alert.name):
            continue
        pending = str(alert.data.get("for", "0s"))
        fine = scrape <= seconds(pending) <= SCRAPE
        problem = "" if fine else f"for: {pending} is not between a scrape ({scrape:g}s) and {SCRAPE:g}s"
        yield alert.at("for", problem=problem)
        often = alert.interval is not None and seconds(alert.interval) <= 1
        yield alert.source.finding(
            "groups", alert.group, "interval",
            problem="" if often else f"{alert.name}: the interval of its group is not 1s",
        )  # fmt: skip


def names(checkout: Checkout) -> Iterator[Finding]:
    """Alerts are named LikeThis, recorded series level:metric, and no such series is read that no rule records."""
    found = rules(checkout)
    recorded = {rule.name for rule in found if "record" in rule.data}
    for rule in found:
        if "alert" in rule.data:
            fine = re.fullmatch(r"([A-Z][a-z0-9]*)+([A-Z]+[a-z0-9]*)*", rule.name)
            yield rule.at("alert", problem="" if fine else "an alert is named LikeThis")
        else:
            problem = "" if ":" in rule.name else "a recorded series is named level:metric"
            yield rule.at("record", problem=problem)
        try:
            read = promql.metrics_in(rule.data["expr"])
        except ValueError as error:
            yield rule.at("expr", problem=f"not PromQL: {error}")
            continue
        unknown = sorted(name for name in read if ":" in name and name not in recorded)
        yield rule.at("expr", problem=f"no rule records {unknown[0]}" if unknown else "")


def sums(checkout: Checkout) -> Iterator[Finding]:
    """No rule adds what need not be there: one empty operand hides the other."""
    absent = expectations.may_be_absent(expectations.absent_metrics(checkout.root))
    for rule in rules(checkout):
        try:
            empty = promql.partial_sums(rule.data["expr"], absent)
        except ValueError:
            continue  # names() reports it
        problem = f'the sum is empty where {empty[0]} is: add "or vector(0)", or use "or"' if empty else ""
        yield rule.at("expr", problem=problem)


def _tests(checkout: Checkout) -> list[Source]:
    files = sorted(file for file in checkout.tracked if file.startswith(TESTS) and file.endswith("_test.yml"))
    return [checkout.source(file) for file in files]
