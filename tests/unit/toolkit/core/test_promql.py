"""The metrics of an expression, sums that are empty because one operand is, and other habits of rules."""

from __future__ import annotations

import pytest

from toolkit.core.promql import (
    Reads,
    bare_timestamps,
    constant_defaults,
    has_threshold,
    metrics_in,
    partial_sums,
    reads,
    unscraped_news,
)

A = frozenset({"a"})


def test_metrics_of_selectors_by_name_and_by_label() -> None:
    assert metrics_in('sum(rate(a[5m])) / b{c="d"} or {__name__="e"}') == {"a", "b", "e"}


@pytest.mark.parametrize(
    ("expression", "empty"),
    [
        ("rare + usual", ["rare{}"]),
        ("usual - sum by (job) (increase(rare[1m]))", ["sum by (job)(increase(rare{}[1m]))"]),
        ("usual + max_over_time(rate(rare[1m])[5m:])", ["max_over_time(rate(rare{}[1m])[5m])"]),
        ("usual + (usual > 0)", ["(usual{} > 0)"]),
        ("usual + absent(usual)", ["absent(usual{})"]),
        ("usual + (usual unless usual offset 1m)", ["(usual{} unless usual{} offset 1m)"]),
        ("(rare or rare) + usual", ["(rare{} or rare{})"]),
        ("usual + on (job) -rare", ["-rare{}"]),
        ("sum(usual + rare) > 0", ["rare{}"]),
        # The operand has a fallback, always exists, or there is only one vector.
        ("(sum(rare) or vector(0)) + usual", []),
        ("usual + (usual > bool 0)", []),
        ("usual + usual", []),
        ("time() - rare", []),
        ("rare + 1", []),
        ("rare - (scalar(usual) + 1)", []),
        # Products, ratios and comparisons are intended to be empty.
        ("rare / usual > 0.05", []),
        ("rare > 0 or usual > 0", []),
    ],
)
def test_partial_sums_are_operands_that_can_be_empty(expression: str, empty: list[str]) -> None:
    assert partial_sums(expression, lambda name: name == "rare") == empty


@pytest.mark.parametrize(
    ("expression", "constants"),
    [
        ("sum(a) or vector(0)", ["vector(0)"]),
        ("1 - (a or (vector(1) - 0.5))", ["(vector(1) - 0.5)"]),
        ("max by (b) (a > 0 or vector(time()))", ["vector(time())"]),
        ("sum(a) or 0 * sum(b)", []),
        ("a or 0 * sum(rate(b[5m]))", []),
        ("vector(1)", []),
        ("vector(1) or a", []),
    ],
)
def test_constant_defaults_select_no_series(expression: str, constants: list[str]) -> None:
    assert constant_defaults(expression) == constants


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a == 0", Reads(values=A, instants=A)),
        ("max by (job) (last_over_time(a[1m])) > b", Reads(frozenset({"a", "b"}), frozenset({"b"}))),
        ("sum(rate(a[5m])) / sum(increase(b[5m])) > 0.05", Reads()),
        ("rate(a[5m]) > 0 or a unless a offset 5m", Reads(values=A, instants=A, former=A)),
        ("absent(a) or absent_over_time(b[1m])", Reads(absent=frozenset({"a", "b"}))),
        (
            "-(a) > 0 and max_over_time(c[1m] offset 1m) > vector(1)",
            Reads(values=A, instants=A, former=frozenset({"c"})),
        ),
    ],
)
def test_reads_are_current_former_and_absent_metrics(expression: str, expected: Reads) -> None:
    assert reads(expression) == expected


@pytest.mark.parametrize(
    ("expression", "bare"),
    [
        ("time() - a > 60", ["a"]),
        ("time() - max by (job) (a) > 60", ["a"]),
        ("time() - (a > 0) > 60", []),
        ("time() - (a > 0 or b) > 60", ["b"]),
        ("a - time() < 60", ["a"]),
        ("(a > 0) - time() < 60", []),
        ("time() - max_over_time(a[5m]) > 60", ["a"]),
        ("time() - (a or b) > 60", ["a", "b"]),
        ("a < time() - 60", ["a"]),
        ("time() - 60 >= min by (job) (a)", ["a"]),
        ("a > time()", []),
        ("time() - timestamp(a) > 60", []),
        ("time() - rate(a[5m]) > 60", []),
        ("a - b", []),
    ],
)
def test_bare_timestamps_are_subtracted_from_the_time_whatever_their_value(expression: str, bare: list[str]) -> None:
    assert bare_timestamps(expression) == bare


@pytest.mark.parametrize(
    ("expression", "unscraped"),
    [
        ("a unless a offset 1m", ["a"]),
        ("(a unless a offset 1m) > 0", ["a"]),
        ("a unless a offset 1m and on (job) up offset 1m == 1", []),
        ("sum(rate(a[1m]) > 0 or (a unless a offset 1m and on (job) up{job='b'} offset 1m == 1) > 0)", []),
        ("(a unless (a offset 1m)) and on (job) (up offset 1m == 1)", []),
        ("a unless a offset 1m and on (job) up offset 5m == 1", ["a"]),
        ("a unless a offset 1m and on (job) up == 1", ["a"]),
        ("a unless a offset 1m and on (job) up offset 1m == 0", ["a"]),
        ("a unless a offset 1m or on (job) up offset 1m == 1", ["a"]),
        ("a unless b offset 1m", []),
        ("a unless b", []),
    ],
)
def test_series_are_new_only_if_their_target_was_scraped_before(expression: str, unscraped: list[str]) -> None:
    assert unscraped_news(expression) == unscraped


@pytest.mark.parametrize(
    ("expression", "threshold"),
    [
        ("sum(a) > 0.9 and b == 1", True),
        ("a == 0 or b < 3", True),
        ("avg(rate(a[1m]) > 5)", True),
        ("a == 0", False),
        ("a == 0 and time() - timestamp(a) < 10", False),
        ("min by (job) (a and time() - timestamp(a) < 10) == 0", False),
        ("absent(a) unless b > 3", False),
    ],
)
def test_a_threshold_bounds_the_value_of_the_expression(expression: str, threshold: bool) -> None:
    assert has_threshold(expression) is threshold
