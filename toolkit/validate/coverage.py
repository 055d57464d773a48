"""The cases in which each alert is tested, read from the tests themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from toolkit.core.durations import seconds
from toolkit.validate import alerts, cases, inhibition
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding

LIVE_TESTS = "tests/live/"
DRILLS = "tests/live/drills/test_alert_faults.py"
"""Every alert that these drills expect has to resolve, too."""
YES, NO, NEEDLESS, NEVER = "✓", "-", "·", "never"
"""Tested; not tested; the expression cannot have this problem; what the alert never does."""
COLUMNS = ("alert", "fires", "resolves", "a new container", "a missed scrape", "after a start", "muted by")


class Tested(NamedTuple):
    """The tests of an alert, as cells of a table."""

    alert: str
    fires: str
    resolves: str
    replaced: str
    missed: str
    start: str
    muted: str


def resolving(checkout: Checkout) -> Iterator[Finding]:
    """Every alert resolves after it has fired: in a case of the unit tests; in a drill, if Loki evaluates it."""
    for folders, resolved in (
        (alerts.RULES, _outcomes(checkout).resolved),
        (alerts.LOG_RULES, _named(checkout, DRILLS)),
    ):
        for alert in alerts.alerts(checkout, folders):
            fine = _fires_always(alert) or alert.name in resolved
            yield alert.at("alert", problem="" if fine else "no test expects it to resolve after it has fired")


def table(checkout: Checkout) -> list[Tested]:
    """The tests of every alert, in the order of the names; rules with the same name are one alert."""
    outcomes = _outcomes(checkout)
    replaced, missed = cases.named(checkout, cases.REPLACED), cases.named(checkout, cases.MISSED)
    live = _named(checkout, LIVE_TESTS)
    resolved = outcomes.resolved | _named(checkout, DRILLS)
    muted: dict[str, set[str]] = {}
    for case in inhibition.cases(checkout.source(inhibition.TESTS)):
        for target in case.mutes:
            muted.setdefault(target["alertname"], set()).add(case.source["alertname"])
    rules: dict[str, list[alerts.Rule]] = {}
    for alert in alerts.alerts(checkout, alerts.RULES + alerts.LOG_RULES):
        rules.setdefault(alert.name, []).append(alert)

    def row(name: str) -> Tested:
        reads = [cases.reads_of(alert) for alert in rules[name]]
        file = cases.file_of(rules[name][0])
        own = {"up", alerts.PROCESS_START}
        values = any({value for value in each.values if cases.RECORDED not in value} - own for each in reads)
        scrapes = any(each.former or each.absent or "up" in each.values for each in reads)
        fires = [word for word, where in (("promtool", outcomes.fired), ("live", live)) if name in where]
        return Tested(
            name,
            ", ".join(fires) or NO,
            NEVER if all(map(_fires_always, rules[name])) else YES if name in resolved else NO,
            _cell(values, [case for case in replaced.get(file, ()) if cases.asserts(case, name)]),
            _cell(scrapes, [case for case in missed.get(file, ()) if cases.asserts(case, name)]),
            _start(rules[name]),
            ", ".join(sorted(muted.get(name, ()))) or "nothing",
        )

    return [row(name) for name in sorted(rules)]


class _Outcomes(NamedTuple):
    fired: set[str]
    resolved: set[str]


def _outcomes(checkout: Checkout) -> _Outcomes:
    """The alerts that fire in a case, and those that are silent afterwards in the same case."""
    found = _Outcomes(set(), set())
    for source in alerts.test_files(checkout):
        for case in source.data["tests"]:
            for name, moments in _moments(case).items():
                firing = [at for at, fires in moments if fires]
                if firing:
                    found.fired.add(name)
                if firing and any(not fires and at > min(firing) for at, fires in moments):
                    found.resolved.add(name)
    return found


def _moments(case: Mapping[str, Any]) -> dict[str, list[tuple[float, bool]]]:
    """When a case expects each alert to fire or to be silent; a query of all alerts expects something of each."""
    found: dict[str, list[tuple[float, bool]]] = {}
    for test in case.get("alert_rule_test", ()):
        found.setdefault(test["alertname"], []).append((seconds(test["eval_time"]), bool(test.get("exp_alerts"))))
    queries = [test for test in case.get("promql_expr_test", ()) if "ALERTS" in test["expr"]]
    named = {name for test in queries for name in re.findall(r'alertname="(\w+)"', str(test))}
    for test in queries:
        for name in named:
            if "alertname=" in test["expr"] and f'alertname="{name}"' not in test["expr"]:
                continue
            fires = f'alertname="{name}"' in str(test.get("exp_samples")) or (
                f'alertname="{name}"' in test["expr"] and bool(test.get("exp_samples"))
            )
            found.setdefault(name, []).append((seconds(test["eval_time"]), fires))
    return found


def _fires_always(alert: alerts.Rule) -> bool:
    return bool(alert.data.get("labels", {}).get("severity") == alerts.ALWAYS)


def _named(checkout: Checkout, start: str) -> set[str]:
    """The alerts that live tests, whose paths begin with ``start``, expect by their names."""
    files = [name for name in checkout.tracked if name.startswith(start) and name.endswith(".py")]
    text = "\n".join((checkout.root / name).read_text(encoding="utf-8") for name in files)
    return set(re.findall(r'"([A-Z]\w+)"', text))


def _cell(needed: bool, found: Sequence[Any]) -> str:
    if found:
        return YES
    return NO if needed else NEEDLESS


def _start(rules: Sequence[alerts.Rule]) -> str:
    """When an alert fires at the earliest after a start: it waits, or its condition has to hold for some time."""
    if all(rule.data["expr"].endswith(alerts.NOT_STARTING) for rule in rules):
        return "waits a minute"
    pending = min(rules, key=lambda rule: seconds(str(rule.data.get("for", "0s"))))
    return f"for {pending.data['for']}" if "for" in pending.data else "at once"
