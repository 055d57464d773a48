"""Values for the templates, formatted for people."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor
from typing import Any, Self, get_args
from urllib.parse import urlencode

from netmon.kinds import KINDS
from netmon.maintenance import DAYS, Day, WindowView
from netmon.models import Point
from netmon.states import URGENCY, ShownState
from netmon.target_lists import OVERVIEW_PAGE_SIZE, TargetFilter
from netmon.target_models import Severity, Target, TargetSettings, TargetView
from netmon.target_store import MAX_TARGETS
from netmon.uptime import SPANS, TargetUptime, Uptime

MAX_SEARCH_LENGTH = 100
FAILING: tuple[ShownState, ...] = ("down", "stale", "degraded")
"""The states that need attention, by urgency."""
NO_VALUE = "–"  # noqa: RUF001 - for a missing value

_BLANK = TargetSettings.model_construct(name="")


def form(target: TargetView | None) -> dict[str, Any]:
    """The context of the form: the settings of `target`, or the defaults."""
    chosen = target.spec.kind if target else "http"
    specs = {name: kind.blank for name, kind in KINDS.items()} | ({chosen: target.spec} if target else {})
    severities = get_args(Severity)
    return {
        "target": target, "settings": target or _BLANK, "chosen": chosen, "specs": specs, "severities": severities
    }  # fmt: skip


def shown_state(target: TargetView) -> ShownState:
    """The state of a target in lists."""
    return target.shown_state


def icon(state: ShownState) -> str:
    """The icon of a page about something in this state."""
    return f"icon-{'degraded' if state == 'stale' else state if state in FAILING else 'up'}.svg"


@dataclass(frozen=True)
class Listing:
    """The page of the list of targets that a visitor has requested, starting at 1."""

    chosen: TargetFilter
    page: int

    @classmethod
    def requested(cls, state: str, text: str, tag: str, page: str) -> Self:
        """The page that the parameters of a URL request; invalid ones are ignored, since people edit URLs."""
        chosen = TargetFilter(
            next((known for known in URGENCY if known == state), None),
            text.replace("\0", "").strip()[:MAX_SEARCH_LENGTH],
            tag.replace("\0", "").strip()[:MAX_SEARCH_LENGTH],
        )
        number = int(page) if page.isascii() and page.isdigit() and len(page) < 10 else 1
        return cls(chosen, min(max(number, 1), ceil(MAX_TARGETS / OVERVIEW_PAGE_SIZE)))

    @property
    def first(self) -> int:
        """The number of the first target on this page, among those of all pages."""
        return (self.page - 1) * OVERVIEW_PAGE_SIZE + 1

    def url(self, page: int = 1) -> str:
        """The URL of a page of this list."""
        given = {
            "state": self.chosen.state,
            "q": self.chosen.text,
            "tag": self.chosen.tag,
            "page": page if page > 1 else None,
        }
        query = urlencode({name: value for name, value in given.items() if value})
        return f"/?{query}" if query else "/"


@dataclass(frozen=True)
class Summary:
    """The number of targets in each state."""

    counts: Mapping[ShownState, int]

    @property
    def total(self) -> int:
        """The number of all targets."""
        return sum(self.counts.values())

    @property
    def worst(self) -> ShownState:
        """The worst state of any target that is probed and not in maintenance; up without targets."""
        quiet: ShownState = "maintenance" if self.counts["maintenance"] else "up"
        return next(
            (state for state in URGENCY if self.counts[state] and state not in ("maintenance", "paused")), quiet
        )

    @property
    def headline(self) -> str:
        """The summary in one sentence."""
        enabled = self.total - self.counts["paused"]
        if not enabled:
            return "No target is being probed"
        for state in FAILING:
            if failing := self.counts[state]:
                return f"{failing:,} of {enabled:,} targets {state}" if enabled > 1 else f"The target is {state}"
        if self.counts["unknown"]:
            return "Waiting for first results"
        if maintained := self.counts["maintenance"]:
            if maintained == enabled:
                return f"All {enabled:,} targets are in maintenance" if enabled > 1 else "The target is in maintenance"
            return f"{enabled - maintained:,} of {enabled:,} targets up, {maintained:,} in maintenance"
        return f"All {enabled:,} targets are up" if enabled > 1 else "The target is up"


def latency(milliseconds: float | None) -> str:
    """A latency with about three significant digits, in ms or s."""
    if milliseconds is None:
        return NO_VALUE
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 999.5 else f"{milliseconds / 1000:.2f} s"


def percent(value: float | None) -> str:
    """A percentage, rounded down: only a target that never failed is at 100 %."""
    if value is None:
        return NO_VALUE
    return "100 %" if value >= 100 else f"{floor(value * 100) / 100:.2f} %"


def minutes(seconds: float) -> str:
    """A duration in minutes, with a decimal below ten: rounded up, so that no downtime is hidden."""
    tenths = ceil(round(seconds / 6, 3))
    return f"{ceil(tenths / 10):,} min" if tenths >= 100 else f"{tenths / 10:g} min"


def observed(uptime: TargetUptime) -> list[Uptime]:
    """The uptimes that a page shows: of all spans, and of the months in which the target was observed."""
    return uptime.spans + [each for each in uptime.months if each.observed_seconds or each.maintenance_seconds]


def period(uptime: Uptime) -> str:
    """The period of an uptime."""
    if uptime.period in SPANS:
        return f"Last {uptime.period.removesuffix('h').removesuffix('d')} {'hours' if 'h' in uptime.period else 'days'}"
    return uptime.started_at.strftime("%B %Y")


def number(value: int) -> str:
    """A number with separators between thousands."""
    return f"{value:,}"


def span(seconds: float) -> str:
    """A duration in the appropriate unit."""
    for unit, size, until in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < until:
            return f"{max(0, int(seconds // size))} {unit}"
    return f"{int(seconds // 86_400)} d"


def duration(minutes: int) -> str:
    """A number of minutes in days, hours and minutes."""
    parts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join(f"{amount} {unit}" for amount, unit in parts if amount)


def days(chosen: Sequence[Day]) -> str:
    """Days of the week, from Monday on."""
    if len(chosen) == len(DAYS):
        return "Every day"
    return ", ".join(day.capitalize() for day in DAYS if day in chosen)


def window_state(window: WindowView) -> str:
    """Whether a maintenance window is in effect, planned, or has ended."""
    return "active" if window.active else "planned" if window.next else "ended"


def by_time(windows: Sequence[WindowView]) -> list[WindowView]:
    """Maintenance windows by the start of their next periods; those that have ended come last."""
    last = datetime.max.replace(tzinfo=UTC)
    return sorted(windows, key=lambda window: (window.next.starts_at if window.next else last, window.name))


def since(moment: datetime) -> str:
    """The time since `moment`."""
    return span((datetime.now(UTC) - moment).total_seconds())


def stamp(moment: datetime | float) -> str:
    """A time in UTC for people; scripts convert it to the local time zone."""
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(moment: datetime | float) -> str:
    """A time in ISO 8601."""
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def state_rule(target: Target) -> str:
    """The condition under which a target is down."""
    if target.failures == target.window:
        return f"{target.failures} failures in a row" if target.failures > 1 else "1 failure"
    return f"{target.failures} of {target.window} results failed"


def alert_rule(target: Target) -> str:
    """The severities of a target's alerts."""
    if target.severity == target.degraded_severity == "none":
        return "none"
    return f"down {target.severity}, degraded {target.degraded_severity}"


@dataclass(frozen=True)
class Sparkline:
    """Recent results as SVG paths, `width` by `height`; the newest result is on the right.

    `line` has the durations, `poor` and `bad` mark results by their verdict, `description` is the text alternative.
    """

    width: int
    height: int
    line: str
    poor: str
    bad: str
    description: str


def sparkline(recent: Sequence[Point], width: int = 120, height: int = 28) -> Sparkline:
    """Draw durations as a line, scaled to the longest one; a failed result is a vertical stroke."""
    verdicts = Counter(point.verdict for point in recent)
    durations = [point.duration_ms for point in recent if point.verdict != "bad"]
    description = f"Last {len(recent)} results: {verdicts['bad']} failed, {verdicts['poor']} with a warning"
    if durations:
        description += f", {latency(min(durations))} to {latency(max(durations))}"
    step = (width - 4) / max(len(recent) - 1, 1)
    top = max([*durations, 0.001])
    line: list[str] = []
    marks: dict[str, list[str]] = {"poor": [], "bad": []}
    drawing = False
    for number, point in enumerate(recent):
        x = round(width - 2 - step * (len(recent) - 1 - number), 1)
        if point.verdict == "bad":
            marks["bad"].append(f"M{x:g} 3V{height - 3}")
            drawing = False
            continue
        y = round(height - 3 - point.duration_ms / top * (height - 8), 1)
        line.append(f"{'L' if drawing else 'M'}{x:g} {y:g}" + ("" if drawing else "h0"))
        drawing = True
        if point.verdict == "poor":
            marks["poor"].append(f"M{x:g} {y:g}h0")
    return Sparkline(width, height, "".join(line), "".join(marks["poor"]), "".join(marks["bad"]), description)
