"""Percentiles from histograms, beside the exact ones."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.histograms import BUCKETS, FIRST, GROWTH, bucket_of, percentile
from tests.unit.app.properties import PROPERTY

LONGEST = 60_000.0
"""The longest time-out that a target can have (milliseconds)."""
DURATIONS = st.floats(FIRST, LONGEST)


def histogram(durations: list[float]) -> list[int]:
    counts = [0] * BUCKETS
    for duration in durations:
        counts[bucket_of(duration)] += 1
    return counts


@PROPERTY
@given(st.lists(DURATIONS, min_size=1, max_size=200), st.floats(0, 1))
def test_a_percentile_is_within_six_percent(durations: list[float], fraction: float) -> None:
    exact = sorted(durations)[max(math.ceil(len(durations) * fraction), 1) - 1]
    told = percentile(histogram(durations), fraction)
    assert told is not None
    assert told == pytest.approx(exact, rel=0.06)


@PROPERTY
@given(st.lists(DURATIONS, min_size=1), st.lists(DURATIONS), st.floats(0, 1))
def test_histograms_can_be_added(one: list[float], other: list[float], fraction: float) -> None:
    added = [first + second for first, second in zip(histogram(one), histogram(other), strict=True)]
    assert percentile(added, fraction) == percentile(histogram(one + other), fraction)


@PROPERTY
@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_buckets_keep_the_order(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= bucket_of(low) <= bucket_of(high) < BUCKETS


@pytest.mark.parametrize("index", range(BUCKETS))
def test_the_bound_of_a_bucket_belongs_to_it(index: int) -> None:
    assert bucket_of(FIRST * GROWTH**index) == index


def test_nothing_has_no_percentile() -> None:
    assert percentile([0] * BUCKETS, 0.5) is None
