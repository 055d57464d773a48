"""Additive histograms of durations, from which the percentiles of any span of time are computed.

Each bucket is 12 % wider than the previous one, so the error of a percentile is at most 6 %.
"""

import math
from collections.abc import Sequence

FIRST_BOUND_MS = 0.1
"""Upper bound of the first bucket in milliseconds."""
GROWTH = 1.12
BUCKETS = 128
"""The last bucket ends at 178 s, above every timeout."""


def bucket_of(milliseconds: float) -> int:
    """The index of the bucket of a duration, starting at 0."""
    if milliseconds <= FIRST_BOUND_MS:
        return 0
    return min(math.ceil(math.log(milliseconds / FIRST_BOUND_MS, GROWTH) - 1e-9), BUCKETS - 1)


def percentile(counts: Sequence[int], fraction: float) -> float | None:
    """The duration in milliseconds that `fraction` of the counted durations do not exceed; None without any."""
    wanted = math.ceil(sum(counts) * fraction) or 1
    reached = 0
    for index, count in enumerate(counts):
        reached += count
        if reached >= wanted:
            # The geometric mean of the bounds: the relative error is the same in both directions.
            return round(FIRST_BOUND_MS * math.pow(GROWTH, index - 0.5), 4)
    return None
