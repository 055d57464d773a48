"""A figure: its median, range and confidence interval, and how they are written."""

from __future__ import annotations

import random

import pytest

from bench.figure import Figure, number
from tests.unit.bench.conftest import figure


def test_a_figure_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="the figure up has no samples"):
        Figure("up", "start", "s", [])


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (0.0123456, "0.0123"),
        (1.4449, "1.44"),
        (-2.5, "-2.50"),
        (15, "15.0"),
        (838.6, "839"),
        (20210, "20,210"),
    ],
)
def test_numbers_have_three_significant_digits(value: float, written: str) -> None:
    assert number(value) == written


def test_the_median_is_written_with_unit_and_range() -> None:
    assert str(figure([12, 10, 11])) == "11.0 s (10.0 to 12.0)"
    assert str(figure([1.5], unit="")) == "1.50"


@pytest.mark.parametrize("count", range(1, 8))
def test_the_spread_of_few_samples_is_their_range(count: int) -> None:
    samples = random.Random(count).sample(range(100), count)  # noqa: S311 - no secret
    assert figure(samples).spread == (min(samples), max(samples))


@pytest.mark.parametrize(("count", "low"), [(8, 1), (15, 3), (40, 14)])
def test_the_spread_of_many_samples_is_an_interval_around_their_median(count: int, low: int) -> None:
    """From tables of the binomial distribution, e.g. 8 samples: 1 - 2 · (1 + 8) / 256 = 0.93 for the inner six."""
    assert figure(range(count)).spread == (low, count - 1 - low)


@pytest.mark.parametrize("count", [5, 9, 40])
def test_the_spread_contains_the_true_median_with_the_stated_confidence(count: int) -> None:
    source, runs = random.Random(1), 1000  # noqa: S311 - no secret
    spreads = [figure([source.expovariate(1) for _ in range(count)]).spread for _ in range(runs)]
    # The median of this distribution is ln 2. 0.88: the number of hits has a standard deviation of 10.
    assert sum(low <= 0.6931 <= high for low, high in spreads) / runs >= 0.88
