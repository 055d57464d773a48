"""Durations as histograms that can be added: from them percentiles of any span of time are computed.

A bucket is 12 % wider than the one before it, so a percentile is told with an error of at most 6 %.
"""

import math
from collections.abc import Sequence

FIRST = 0.1
"""Upper bound of the first bucket (milliseconds)."""
GROWTH = 1.12
BUCKETS = 128
"""The last one ends at 178 s, after every time-out."""


def bucket_of(milliseconds: float) -> int:
    """The index of the bucket of a duration, from 0."""
    if milliseconds <= FIRST:
        return 0
    return min(math.ceil(math.log(milliseconds / FIRST, GROWTH) - 1e-9), BUCKETS - 1)


def percentile(counts: Sequence[int], fraction: float) -> float | None:
    """The duration (milliseconds) that `fraction` of those counted do not exceed; None where none was counted."""
    wanted = math.ceil(sum(counts) * fraction) or 1
    reached = 0
    for index, count in enumerate(counts):
        reached += count
        if reached >= wanted:
            # The middle of the bucket, by ratio: the error is the same to both sides.
            return round(FIRST * math.pow(GROWTH, index - 0.5), 4)
    return None
