"""The alert on bursts of errors counts the lines that report errors, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests import runbooks
from tests.unit.toolkit.validate.conftest import ROOT
from toolkit.core.durations import seconds
from toolkit.validate.alerts import LOG_RULES, alerts
from toolkit.validate.checkout import Checkout

COUNT = re.compile(
    r'\{(?:service_name=~"\.\+", )?service_name(?P<match>=~|!~|=|!=)"(?P<service>[^"]*)"\}'
    r'(?P<filters>[^|]*)\| detected_level=~"(?P<levels>[^"]*)"'
)
FILTER = re.compile(r'(?P<match>\|=|!=|\|~|!~) "(?P<text>[^"]*)"')
EMPTY_RING = (
    'level=error ts=2026-08-16T15:46:02Z caller=ratestore.go:109 msg="error getting ingester clients" err="empty ring"'
)
NO_JOBS = (
    'level=error ts=2026-07-22T10:31:11Z caller=backendworker.go:529 msg="error calling scheduler" '
    'err="rpc error: code = NotFound desc = no jobs found" backoff=51.36819189s'
)


NO_SCHEDULER = (
    "level=error ts=2026-08-22T17:56:09Z caller=frontend_scheduler_worker.go:248 "
    'msg="error sending requests to scheduler" err="unexpected status received for init: ERROR" addr=127.0.0.1:9095'
)
NO_DELETES = (
    'level=error ts=2026-08-22T17:53:28Z caller=gennumber_loader.go:136 msg="error loading cache generation numbers" '
    'err="rpc error: code = Unknown desc = deletion is not available for this tenant"'
)


class Count(NamedTuple):
    """One of the counts of the rule: which services, without which lines, and which levels."""

    match: str
    service: str
    filters: list[tuple[str, str]]
    levels: str

    def includes(self, service: str, line: str, level: str) -> bool:
        """Whether a line of a service is counted."""
        named = re.fullmatch(self.service, service) is not None
        kept = all((re.search(text, line) is not None) == match.startswith("|") for match, text in self.filters)
        return named != self.match.startswith("!") and kept and re.fullmatch(self.levels, level) is not None


def counts() -> Iterator[Count]:
    [rule] = alerts(Checkout(ROOT), LOG_RULES)
    for found in COUNT.finditer(rule.data["expr"]):
        filters = [(each["match"], each["text"]) for each in FILTER.finditer(found["filters"])]
        yield Count(found["match"], found["service"], filters, found["levels"])


@pytest.mark.parametrize(
    ("service", "line", "level", "counted"),
    [
        ("app", "request failed", "error", True),
        ("worker", "database lost", "critical", True),
        ("app", "request failed", "warn", False),
        ("loki", EMPTY_RING, "error", False),
        ("loki", NO_SCHEDULER, "error", False),
        ("loki", NO_DELETES, "error", False),
        ("app", NO_DELETES, "error", True),
        ("loki", 'level=error caller=flush.go:178 msg="failed to flush" err="no space left on device"', "error", True),
        ("tempo", NO_JOBS, "error", False),
        ("tempo", NO_JOBS.replace("no jobs found", "job not found"), "error", True),
        ("app", EMPTY_RING, "error", True),
        ("loki-gateway", "bad gateway", "error", True),
    ],
)
def test_lines_are_counted_once_or_not_at_all(service: str, line: str, level: str, counted: bool) -> None:
    assert sum(count.includes(service, line, level) for count in counts()) == counted


def test_every_count_of_the_rule_is_covered_here() -> None:
    [rule] = alerts(Checkout(ROOT), LOG_RULES)
    assert len(list(counts())) == rule.data["expr"].count("count_over_time") == 3


def test_a_burst_stays_above_the_threshold_long_enough_to_fire() -> None:
    """All at once, it is in the window for as long: two evaluations to become pending and firing, and `for`."""
    [rule] = alerts(Checkout(ROOT), LOG_RULES)
    windows = {seconds(each) for each in re.findall(r"\[(\w+)\]", rule.data["expr"])}
    assert rule.interval is not None
    assert seconds(rule.data["for"]) + 2 * seconds(rule.interval) <= min(windows)


def test_the_threshold_is_that_of_the_runbook() -> None:
    [rule] = alerts(Checkout(ROOT), LOG_RULES)
    thresholds = re.findall(r"\[(\w+)\]\)\s*\) > (\d+)", rule.data["expr"])
    meaning = " ".join(runbooks.section(runbooks.texts()[rule.name], "Meaning").split())
    limit, period = re.findall(r"more than (\d+) lines .* within a (minute)", meaning)[0]
    assert thresholds == 3 * [({"minute": "1m"}[period], limit)]


def test_the_texts_of_the_alert_use_labels_of_its_series() -> None:
    [rule] = alerts(Checkout(ROOT), LOG_RULES)
    grouped = {label for each in re.findall(r"by \(([^)]*)\)", rule.data["expr"]) for label in each.split(", ")}
    assert set(re.findall(r"\$labels\.(\w+)", str(rule.data))) == grouped == {"service_name"}
