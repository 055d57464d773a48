"""Uptime by time: the time up ÷ the time observed within a span or a calendar month.

The time of maintenance, and the time in which a target was not observed (`netmon.periods`), is in neither.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import floor
from typing import Literal, NamedTuple, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from netmon.periods import Interval, OpenPeriod, PeriodState, elapsed

UptimeSpan = Literal["24h", "7d", "30d", "90d"]
SPANS: dict[UptimeSpan, timedelta] = {
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
MONTHS = 13
"""The number of calendar months, with the current one, that the uptime of a target is listed for."""
PERIOD_PATTERN = r"^(24h|7d|30d|90d|[1-9]\d{3}-(0[1-9]|1[0-2]))$"
"""A span that ends now, or a calendar month in UTC."""

Seconds = Mapping[PeriodState, float]
"""Seconds by state."""


class Window(NamedTuple):
    """A named span of time, which ends now or earlier."""

    period: str
    start: datetime
    end: datetime

    def since(self, moment: datetime) -> Self:
        """The part of this window after a moment; empty if there is none."""
        return self._replace(start=min(max(self.start, moment), self.end))


class Uptime(BaseModel):
    """The uptime of a target within a period, which begins with the target if that is newer."""

    model_config = ConfigDict(frozen=True)

    period: str
    """A span that ends now (`24h`, `7d`, `30d`, `90d`), or a calendar month in UTC (`2026-01`)."""
    started_at: datetime
    ended_at: datetime
    uptime_percent: float | None
    """The time up or degraded ÷ the time observed; 100 only without downtime, None if nothing was observed."""
    observed_seconds: float
    """The time up, degraded or down."""
    up_seconds: float
    degraded_seconds: float
    down_seconds: float
    maintenance_seconds: float
    unobserved_seconds: float
    """The time in which the target was paused or its state unknown, or in which results were overdue."""

    @classmethod
    def of(cls, window: Window, seconds: Seconds) -> Self:
        """The uptime within a window, from the seconds in it by state."""
        up, degraded, down, maintenance = (
            round(seconds.get(state, 0), 3) for state in ("up", "degraded", "down", "maintenance")
        )
        observed = up + degraded + down
        unobserved = max((window.end - window.start).total_seconds() - observed - maintenance, 0)
        return cls(
            period=window.period,
            started_at=window.start,
            ended_at=window.end,
            uptime_percent=uptime_percent(seconds),
            observed_seconds=round(observed, 3),
            up_seconds=up,
            degraded_seconds=degraded,
            down_seconds=down,
            maintenance_seconds=maintenance,
            unobserved_seconds=round(unobserved, 3),
        )


class TargetUptime(BaseModel):
    """The uptime of a target in all spans and in the last calendar months, newest first."""

    model_config = ConfigDict(frozen=True)

    target: UUID
    name: str
    tags: list[str]
    spans: list[Uptime]
    months: list[Uptime]


class NamedUptime(Uptime):
    """The uptime of a target, in a list."""

    target: UUID
    name: str
    tags: list[str]

    @classmethod
    def named(cls, uptime: Uptime, target: UUID, name: str, tags: list[str]) -> Self:
        """An uptime with its target."""
        return cls(**dict(uptime), target=target, name=name, tags=tags)


def uptime_percent(seconds: Seconds) -> float | None:
    """The time up or degraded ÷ the time observed, rounded down, so that any downtime is visible."""
    up, down = seconds.get("up", 0) + seconds.get("degraded", 0), seconds.get("down", 0)
    if up + down <= 0:
        return None
    return 100.0 if down <= 0 else floor(up / (up + down) * 1e6) / 1e4


def spans(now: datetime) -> list[Window]:
    """The spans that end now."""
    return [Window(name, now - length, now) for name, length in SPANS.items()]


def months(now: datetime, since: datetime) -> list[Window]:
    """The last MONTHS calendar months, newest first, without those before `since`."""
    newest = now.astimezone(UTC).year * 12 + now.astimezone(UTC).month - 1
    windows = [_month(number, now) for number in range(newest, newest - MONTHS, -1)]
    return [window for window in windows if window.end > since]


def window(period: str, now: datetime) -> Window:
    """The window of a period; that of a month that has not begun is empty.

    Raises:
        ValueError: the period does not match PERIOD_PATTERN.
    """
    if not re.fullmatch(PERIOD_PATTERN, period):
        raise ValueError("a period is 24h, 7d, 30d, 90d or a month such as 2026-01")
    for span in spans(now):
        if span.period == period:
            return span
    year, month = map(int, period.split("-"))
    return _month(year * 12 + month - 1, now)


def with_open(
    closed: Seconds, opened: OpenPeriod | None, within: Window, now: datetime, maintenance: Interval | None = None
) -> dict[PeriodState, float]:
    """The seconds of a window by state: those of closed periods, and those of the open period.

    Args:
        closed: the seconds of closed periods within the window.
        opened: the open period of the target.
        within: the window.
        now: the current time.
        maintenance: the maintenance window of the target, as of `netmon.periods.elapsed`.
    """
    seconds = dict(closed)
    for state, start, end in elapsed(opened, now, maintenance):
        overlap = (min(end, within.end) - max(start, within.start)).total_seconds()
        seconds[state] = seconds.get(state, 0) + max(overlap, 0)
    return seconds


def _month(number: int, now: datetime) -> Window:
    """A calendar month, numbered from January of the year 0; the current one ends now."""
    start = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
    end = (start + timedelta(days=31)).replace(day=1) if number < 9999 * 12 + 11 else start
    return Window(f"{start:%Y-%m}", min(start, now), min(end, now))
