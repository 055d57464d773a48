"""The metrics of an expression, sums that are empty because one operand is, and other habits of rules."""

from __future__ import annotations

import pytest

from toolkit.core.promql import Reads, bare_timestamps, constant_defaults, metrics_in, partial_sums, reads


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
        ("a == 0", Reads(frozenset({"a"}))),
        ("max by (job) (last_over_time(a[1m])) > b", Reads(frozenset({"a", "b"}))),
        ("sum(rate(a[5m])) / sum(increase(b[5m])) > 0.05", Reads()),
        ("rate(a[5m]) > 0 or a unless a offset 5m", Reads(frozenset({"a"}), frozenset({"a"}))),
        ("absent(a) or absent_over_time(b[1m])", Reads(absent=frozenset({"a", "b"}))),
        ("-(a) > 0 and max_over_time(c[1d:1m]) > vector(1)", Reads(frozenset({"a", "c"}))),
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
        ("time() - (a > 0 or b) > 60", []),
        ("a - time() < 60", []),
        ("a - b", []),
    ],
)
def test_bare_timestamps_are_subtracted_from_the_time_whatever_their_value(expression: str, bare: list[str]) -> None:
    assert bare_timestamps(expression) == bare
