"""Queries of the history of a target: statistics and series of its results."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Statistics(BaseModel):
    """Statistics of the results within a window, from rollups: whole periods of five minutes, with the current one.

    The uptime is that of the window itself.
    """

    model_config = ConfigDict(frozen=True)

    window: Literal["1h", "24h"]
    results: int
    failed: int
    uptime_percent: float | None
    """The time up ÷ the time observed (`netmon.uptime`); None if nothing was observed."""
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    """Percentiles of the durations of successful results, with an error of at most 6 %."""


class Series(BaseModel):
    """Durations over a span of time, for a plot: columns of equal length, oldest first.

    A point is a single result, or an aggregate of the results in `step_seconds`.
    """

    model_config = ConfigDict(frozen=True)

    span: Literal["1h", "6h", "24h", "7d", "30d", "1y"]
    step_seconds: int
    """0: single results."""
    start: float = 0
    """The start of the span in seconds since 1970."""
    end: float = 0
    """The end of the span in seconds since 1970."""
    at: list[float]
    """Seconds since 1970."""
    p50_ms: list[float | None]
    p95_ms: list[float | None]
    failed: list[int]
    results: list[int]
