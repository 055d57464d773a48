"""A figure: the samples of one measurement, with their unit and the direction in which they improve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, floor, log10
from statistics import median
from typing import Literal

Better = Literal["less", "more", "neither"]
CONFIDENCE = 0.9


class NotMeasuredError(Exception):
    """A benchmark has nothing to measure here; the message is the reason."""


@dataclass(frozen=True)
class Figure:
    """A measurement.

    Attributes:
        key: Identifies it within its benchmark, in every version: comparisons and documents refer to it.
        label: Its description.
        unit: ``s``, ``ms``, ``MB``, ``%`` …; empty for a ratio or a number.
        samples: Its values, one for each round, in order.
        better: The direction of an improvement.
        detail: A part of another figure, such as the share of one service: not in the documents.
    """

    key: str
    label: str
    unit: str
    samples: Sequence[float]
    better: Better = "less"
    detail: bool = False

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError(f"the figure {self.key} has no samples")

    @property
    def median(self) -> float:
        """The middle of the samples."""
        return median(self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        """The confidence interval of the median, whatever the distribution: two of the sorted samples.

        It is the range of up to seven samples, and narrower than that for more. Five samples are the least that reach
        the confidence.
        """
        ordered, count, outside = sorted(self.samples), len(self.samples), 0
        # The true median is below the sample number `outside` if at most `outside` of `count` coin tosses are heads.
        while 1 - 2 * sum(comb(count, heads) for heads in range(outside + 2)) / 2**count >= CONFIDENCE:
            outside += 1
        return ordered[outside], ordered[-1 - outside]

    @property
    def value(self) -> str:
        """The median with its unit."""
        return f"{number(self.median)} {self.unit}".strip()

    @property
    def range(self) -> str:
        """The smallest and the largest sample, or nothing for a single sample."""
        if len(self.samples) == 1:
            return ""
        return f"{number(min(self.samples))} to {number(max(self.samples))}"

    def __str__(self) -> str:
        return f"{self.value} ({self.range})" if self.range else self.value


def number(value: float) -> str:
    """A number with three significant digits, and without an exponent."""
    decimals = max(0, 2 - floor(log10(abs(value)))) if value else 0
    return f"{value:,.{decimals}f}"
