"""Matchers and rules of inhibition, as Alertmanager reads them."""

from __future__ import annotations

import pytest

from toolkit.validate.inhibition import InhibitRule, Matcher


@pytest.mark.parametrize(
    ("matcher", "value", "fulfilled"),
    [
        ('service="app"', "app", True),
        ('service="app"', "worker", False),
        ('service=~"app|worker"', "worker", True),
        ('service=~"app|worker"', "workers", False),
        ('service!="app"', "", True),
        ('service!~"app|worker"', "app", False),
        ('service=""', "", True),
        ("service = app", "app", True),
    ],
)
def test_matcher(matcher: str, value: str, fulfilled: bool) -> None:
    assert Matcher.parse(matcher).matches({"service": value} if value else {}) is fulfilled


def test_text_without_an_operator_is_no_matcher() -> None:
    with pytest.raises(ValueError, match="service is not a matcher"):
        Matcher.parse("service")


def rule(source: str, target: str, *equal: str) -> InhibitRule:
    return InhibitRule((Matcher.parse(source),), (Matcher.parse(target),), equal)


def test_alerts_are_muted_while_equal_labels_are_equal_or_both_missing() -> None:
    down = rule('alertname="Down"', 'alertname="Slow"', "service", "instance")
    assert down.mutes({"alertname": "Down", "service": "db"}, {"alertname": "Slow", "service": "db"})
    assert not down.mutes({"alertname": "Down", "service": "db"}, {"alertname": "Slow", "service": "redis"})
    assert not down.mutes(
        {"alertname": "Down", "service": "db", "instance": "a"}, {"alertname": "Slow", "service": "db"}
    )
    assert not down.mutes({"alertname": "Slow", "service": "db"}, {"alertname": "Down", "service": "db"})


def test_alerts_that_match_both_sides_do_not_mute_each_other() -> None:
    every = rule('severity=~".+"', 'severity=~".+"', "service")
    alert = {"alertname": "A", "service": "db", "severity": "critical"}
    assert not every.mutes(alert, {**alert, "alertname": "B"})
