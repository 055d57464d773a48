"""Percentiles of histograms, compared with exact ones."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.histograms import BUCKETS, FIRST_BOUND_MS, GROWTH, bucket_of, percentile
from tests.unit.app.properties import PROPERTY

LONGEST = 60_000.0
"""The maximum timeout of a target in milliseconds."""
DURATIONS = st.floats(FIRST_BOUND_MS, LONGEST)


def histogram(durations: list[float]) -> list[int]:
    counts = [0] * BUCKETS
    for duration in durations:
        counts[bucket_of(duration)] += 1
    return counts


@PROPERTY
@given(st.lists(DURATIONS, min_size=1, max_size=200), st.floats(0, 1))
def test_a_percentile_is_within_six_percent(durations: list[float], fraction: float) -> None:
    exact = sorted(durations)[max(math.ceil(len(durations) * fraction), 1) - 1]
    result = percentile(histogram(durations), fraction)
    assert result is not None
    assert result == pytest.approx(exact, rel=0.06)


@PROPERTY
@given(st.lists(DURATIONS, min_size=1), st.lists(DURATIONS), st.floats(0, 1))
def test_the_sum_of_two_histograms_has_the_percentiles_of_both(
    one: list[float], other: list[float], fraction: float
) -> None:
    added = [first + second for first, second in zip(histogram(one), histogram(other), strict=True)]
    assert percentile(added, fraction) == percentile(histogram(one + other), fraction)


@PROPERTY
@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_buckets_preserve_order(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= bucket_of(low) <= bucket_of(high) < BUCKETS


@pytest.mark.parametrize("index", range(BUCKETS))
def test_the_upper_bound_of_a_bucket_is_inclusive(index: int) -> None:
    assert bucket_of(FIRST_BOUND_MS * GROWTH**index) == index


def test_an_empty_histogram_has_no_percentile() -> None:
    assert percentile([0] * BUCKETS, 0.5) is None
