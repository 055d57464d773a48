"""Maintenance windows: their settings, and the times at which they are in effect.

A weekly window starts at a local time of its zone and lasts a number of minutes as they pass, also over a change of the
clocks. A start that is skipped when the clocks go forward is read with the offset before the change, so that 02:30 is
03:30; one that occurs twice when they go back is the first. Both follow RFC 5545 (iCalendar).
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple, Self, get_args
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from netmon.target_models import Tag

MAX_MINUTES = 7 * 24 * 60
"""The maximum length of a weekly window."""
MAX_LENGTH = timedelta(days=366)
"""The maximum length of a window that is in effect once."""
MAX_AHEAD = timedelta(days=5 * 366)
"""How far ahead such a window may start."""
HORIZON = timedelta(days=15)
"""How far ahead weekly windows are planned: two weeks, so that the next period is complete."""
KEPT = timedelta(days=1)
"""How long a period that has ended is kept: the maximum interval of a target, whose next result covers it."""
LEAD = timedelta(minutes=5)
"""How long before its start the next period replaces one that has ended."""

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)


class Period(NamedTuple):
    """A period of maintenance; its end is excluded."""

    starts_at: datetime
    ends_at: datetime


@lru_cache(1)
def time_zones() -> frozenset[str]:
    """The names of all time zones of the IANA database."""
    return frozenset(available_timezones())


def _known_zone(name: str) -> str:
    if name not in time_zones():
        similar = get_close_matches(name, time_zones(), 1)
        hint = f"did you mean {similar[0]}?" if similar else "use a name such as Europe/Berlin or UTC"
        raise ValueError(f"unknown time zone: {hint}")
    return name


class Once(BaseModel):
    """A schedule of one period."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    starts_at: AwareDatetime
    ends_at: AwareDatetime

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if self.ends_at <= self.starts_at:
            raise ValueError("ends_at must be after starts_at")
        if self.ends_at - self.starts_at > MAX_LENGTH:
            raise ValueError(f"it must end within {MAX_LENGTH.days} days; to stop probing a target, pause it")
        return self

    def periods(self, _since: datetime, _until: datetime) -> list[Period]:
        """Its period."""
        return [Period(self.starts_at.astimezone(UTC), self.ends_at.astimezone(UTC))]


class Weekly(BaseModel):
    """A schedule that repeats every week."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: Annotated[list[Day], Field(min_length=1, max_length=7)]
    """The days on which it starts."""
    start: Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$"), Field(examples=["02:30"])]
    """The time of day at which it starts."""
    minutes: Annotated[int, Field(ge=1, le=MAX_MINUTES)]
    timezone: Annotated[str, Field(max_length=64, examples=["Europe/Berlin"]), AfterValidator(_known_zone)]
    """A name of the IANA database."""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if len(set(self.days)) < len(self.days):
            raise ValueError("days must be unique")
        starts = sorted(DAYS.index(day) * 24 * 60 for day in self.days)
        gaps = [later - earlier for earlier, later in zip(starts, [*starts[1:], starts[0] + MAX_MINUTES], strict=True)]
        if self.minutes >= max(gaps):
            raise ValueError("it would never end, since it starts again before it ends; to stop probing, pause targets")
        return self

    def periods(self, since: datetime, until: datetime) -> list[Period]:
        """Its periods that end after `since` and start before `until`."""
        zone, length = ZoneInfo(self.timezone), timedelta(minutes=self.minutes)
        at = time.fromisoformat(self.start)
        date = (since - length).astimezone(zone).date() - timedelta(days=1)
        last = until.astimezone(zone).date() + timedelta(days=1)
        found = []
        while date <= last:
            if DAYS[date.weekday()] in self.days:
                starts_at = datetime.combine(date, at, zone).astimezone(UTC)
                if starts_at < until and starts_at + length > since:
                    found.append(Period(starts_at, starts_at + length))
            date += timedelta(days=1)
        return found


class WindowSettings(BaseModel):
    """The settings of a maintenance window, given by the user."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Weekly updates",
                    "tag": "web",
                    "weekly": {"days": ["sun"], "start": "02:30", "minutes": 90, "timezone": "Europe/Berlin"},
                }
            ]
        },
    )

    name: Annotated[
        str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$")
    ]
    target: UUID | None = None
    """The target that it applies to; null if it applies to those with a tag."""
    tag: Tag | None = None
    once: Once | None = None
    weekly: Weekly | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.target is None) == (self.tag is None):
            raise ValueError("either target or tag is required, and not both")
        if (self.once is None) == (self.weekly is None):
            raise ValueError("either once or weekly is required, and not both")
        return self

    def refused(self, now: datetime) -> str | None:
        """The reason why a window must not be created or changed to this; None if it may."""
        if self.once and self.once.ends_at <= now:
            return "it has ended already: choose a later end"
        if self.once and self.once.starts_at > now + MAX_AHEAD:
            return f"it must start within {MAX_AHEAD.days} days"
        return None

    def periods(self, now: datetime) -> list[Period]:
        """Its periods, merged, without those that ended more than KEPT ago; weekly ones until HORIZON."""
        schedule = self.once or self.weekly
        found = schedule.periods(now - KEPT, now + HORIZON) if schedule else []
        return [period for period in merged(found) if period.ends_at > now - KEPT]


class MaintenanceWindow(WindowSettings):
    """A maintenance window."""

    id: UUID

    @property
    def settings(self) -> WindowSettings:
        """Its settings."""
        return WindowSettings.model_construct(**{name: getattr(self, name) for name in WindowSettings.model_fields})


class NextPeriod(BaseModel):
    """A period of maintenance; its end is excluded."""

    model_config = ConfigDict(frozen=True)

    starts_at: datetime
    ends_at: datetime


class WindowView(MaintenanceWindow):
    """A maintenance window as the API returns it."""

    active: bool
    """Whether it is in effect."""
    next: NextPeriod | None
    """The current period, otherwise the next one; null if there is none."""

    @classmethod
    def of(cls, window: MaintenanceWindow, now: datetime) -> Self:
        """A window as of `now`."""
        following = next((period for period in window.periods(now) if period.ends_at > now), None)
        shown = NextPeriod(starts_at=following.starts_at, ends_at=following.ends_at) if following else None
        active = following is not None and following.starts_at <= now
        return cls.model_construct(**dict(window), active=active, next=shown)


def merged(periods: Iterable[Period]) -> list[Period]:
    """Periods without those that overlap or follow each other immediately, which become one; in order of time."""
    found: list[Period] = []
    for period in sorted(periods):
        if found and period.starts_at <= found[-1].ends_at:
            found[-1] = Period(found[-1].starts_at, max(found[-1].ends_at, period.ends_at))
        else:
            found.append(period)
    return found


def next_change(periods: Sequence[Period], now: datetime) -> datetime | None:
    """When the period that a target has must be chosen again; None if never."""
    changes = (
        change
        for period in periods
        for change in (period.starts_at - LEAD, period.ends_at, period.ends_at + KEPT)
        if change > now
    )
    return min(changes, default=None)
