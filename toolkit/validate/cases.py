"""Checks of the unit tests of the rules: cases that every rule with a certain kind of expression needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from toolkit.core import promql
from toolkit.validate import alerts
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding

REPLACED, MISSED = "the container is replaced", "one scrape is missed"
"""The beginning of the name of such a case."""
BETWEEN = re.compile(r"(\S+)x\d+ stale \1x\d+")
STALE = re.compile(r"\bstale\b")
RECORDED = ":"
"""Part of the name of every recorded series."""


def replaced_containers(checkout: Checkout) -> Iterator[Finding]:
    """Every alert on the current value of a scraped metric has a case in which that container is replaced.

    There the series of the old container go stale: the alert must neither fire nor stay on because of them.
    """
    found = named(checkout, REPLACED)
    for alert in alerts.alerts(checkout):
        metrics = {name for name in reads_of(alert).values if RECORDED not in name} - {"up", alerts.PROCESS_START}
        covered = not metrics or any(
            asserts(case, alert.name) and _stale(case, metrics) for case in found.get(file_of(alert), ())
        )
        problem = "" if covered else f"no test case “{REPLACED}” makes {min(metrics)} stale and expects the alert"
        yield alert.at("expr", problem=problem)


def missed_scrapes(checkout: Checkout) -> Iterator[Finding]:
    """Every alert on an absent or a former series, or on ``up``, has a case in which one scrape is missed.

    For a former series the case misses it: ``up`` is 0 once and the series stale once, between two equal values.
    """
    found = named(checkout, MISSED)
    for alert in alerts.alerts(checkout):
        reads = reads_of(alert)
        needed = reads.former or reads.absent or "up" in reads.values
        own = {name for name in reads.former & reads.values if RECORDED not in name}
        chosen = [case for case in found.get(file_of(alert), ()) if asserts(case, alert.name)]
        problem = "" if chosen or not needed else f"no test case “{MISSED}” expects the alert"
        if chosen and own and not any(_misses(case, own) for case in chosen):
            problem = f"no test case “{MISSED}” has {min(own)} stale between two values, and up 0"
        yield alert.at("expr", problem=problem)


def reads_of(alert: alerts.Rule) -> promql.Reads:
    """The inputs of the expression of an alert; none if it does not parse."""
    try:
        return promql.reads(alert.data["expr"])
    except ValueError:
        return promql.Reads()  # alerts.names() reports it


def named(checkout: Checkout, name: str) -> Mapping[str, list[Mapping[str, Any]]]:
    """The test cases whose names begin with ``name``, by the names of the rule files that they load."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for source in alerts.test_files(checkout):
        chosen = [case for case in source.data["tests"] if str(case.get("name", "")).startswith(name)]
        for file in source.data["rule_files"]:
            found.setdefault(_name(file), []).extend(chosen)
    return found


def file_of(alert: alerts.Rule) -> str:
    """The name of the file of an alert's rule."""
    return _name(alert.source.file)


def _name(file: str) -> str:
    return PurePath(file).name


def asserts(case: Mapping[str, Any], alert: str) -> bool:
    """Whether a case expects something of an alert: by its name, or in a query of ``ALERTS``."""
    queries = [
        test
        for test in case.get("promql_expr_test", ())
        if "ALERTS" in test["expr"] and f'alertname="{alert}"' in f"{test['expr']} {test.get('exp_samples')}"
    ]
    return bool(queries) or any(test["alertname"] == alert for test in case.get("alert_rule_test", ()))


def _misses(case: Mapping[str, Any], metrics: set[str]) -> bool:
    """Whether each metric of a case is missed once, and returns, and its target is down meanwhile."""
    series = [(each["series"].partition("{")[0], str(each["values"])) for each in case.get("input_series", ())]
    missed = {name for name, values in series if BETWEEN.search(values)}
    return metrics <= missed and any(name == "up" and re.search(r"\b0\b", values) for name, values in series)


def _stale(case: Mapping[str, Any], metrics: set[str]) -> bool:
    """Whether a series of one of the metrics goes stale in a case."""
    return any(
        series["series"].partition("{")[0] in metrics and STALE.search(str(series["values"]))
        for series in case.get("input_series", ())
    )
