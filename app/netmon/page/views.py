"""Values for the templates, formatted for people."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor
from typing import Any, Literal

from netmon.kinds import KINDS
from netmon.models import Point, Statistics, Target, TargetSettings, TargetView
from netmon.states import State

Shown = State | Literal["paused"]

ORDER: tuple[Shown, ...] = ("down", "degraded", "unknown", "up", "paused")
"""States by urgency: targets that need attention come first."""
NO_VALUE = "–"  # noqa: RUF001 - for a missing value

_BLANK = TargetSettings.model_construct(name="")


def form(target: TargetView | None) -> dict[str, Any]:
    """The context of the form: the settings of `target`, or the defaults."""
    chosen = target.spec.kind if target else "http"
    specs = {name: kind.blank for name, kind in KINDS.items()} | ({chosen: target.spec} if target else {})
    return {"target": target, "settings": target or _BLANK, "chosen": chosen, "specs": specs}


def shown_state(target: TargetView) -> Shown:
    """The state of a target; paused if it is disabled."""
    return target.standing.state if target.enabled else "paused"


def by_urgency(targets: Iterable[TargetView]) -> list[TargetView]:
    """Targets sorted by the urgency of their state, then by name."""
    return sorted(targets, key=lambda target: (ORDER.index(shown_state(target)), target.name.casefold(), target.id))


@dataclass(frozen=True)
class Summary:
    """The number of targets in each state."""

    counts: dict[Shown, int]

    @classmethod
    def of(cls, targets: Iterable[TargetView]) -> "Summary":
        """Count the states of targets."""
        counts = Counter(map(shown_state, targets))
        return cls({state: counts[state] for state in ORDER})

    @property
    def worst(self) -> Shown:
        """The worst state of any target; up without targets."""
        return next((state for state in ("down", "degraded", "unknown", "up") if self.counts[state]), "up")

    @property
    def headline(self) -> str:
        """The summary in one sentence."""
        enabled = sum(self.counts.values()) - self.counts["paused"]
        if not enabled:
            return "No target is being probed"
        for state in ("down", "degraded"):
            if number := self.counts[state]:
                return f"{number} of {enabled} targets {state}" if enabled > 1 else f"The target is {state}"
        if self.counts["unknown"]:
            return "Waiting for first results"
        return f"All {enabled} targets are up" if enabled > 1 else "The target is up"


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


def uptime(statistics: Statistics | None) -> str:
    """The uptime of a window; a dash if it is unavailable."""
    return percent(statistics.uptime_percent if statistics else None)


def span(seconds: float) -> str:
    """A duration in the appropriate unit."""
    for unit, size, until in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < until:
            return f"{max(0, int(seconds // size))} {unit}"
    return f"{int(seconds // 86_400)} d"


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
