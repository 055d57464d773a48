"""The metrics of an expression, and sums that are empty because one operand is."""

from __future__ import annotations

import pytest

from toolkit.core.promql import metrics_in, partial_sums


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
