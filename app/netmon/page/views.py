"""What the templates show, in the words and figures that people read."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor
from typing import Any, Literal

from netmon.models import Point, Statistics, Target, TargetSettings, TargetView
from netmon.specs import DnsSpec, HttpSpec, PingSpec, TcpSpec
from netmon.states import State

Shown = State | Literal["paused"]

ORDER: tuple[Shown, ...] = ("down", "degraded", "unknown", "up", "paused")
"""What needs somebody comes first."""
NOTHING = "–"  # noqa: RUF001 - where a figure is not known

KINDS = {"http": "HTTP", "tcp": "TCP", "dns": "DNS", "ping": "Ping"}


_BLANK_SPECS: dict[str, object] = {
    "http": HttpSpec.model_construct(url=""),
    "tcp": TcpSpec.model_construct(host="", port=""),
    "dns": DnsSpec.model_construct(name=""),
    "ping": PingSpec.model_construct(host=""),
}
_BLANK = TargetSettings.model_construct(name="")


def form(target: TargetView | None) -> dict[str, Any]:
    """What the form has in its fields: those of `target`, or the defaults."""
    chosen = target.spec.kind if target else "http"
    specs = _BLANK_SPECS | ({chosen: target.spec} if target else {})
    return {"target": target, "settings": target or _BLANK, "chosen": chosen, "specs": specs}


def shown_state(target: TargetView) -> Shown:
    """The state, or that nobody looks."""
    return target.standing.state if target.enabled else "paused"


def in_order(targets: Iterable[TargetView]) -> list[TargetView]:
    """What needs somebody first, then by name."""
    return sorted(targets, key=lambda target: (ORDER.index(shown_state(target)), target.name.casefold(), target.id))


@dataclass(frozen=True)
class Summary:
    """How the targets are, all together."""

    counts: dict[Shown, int]

    @classmethod
    def of(cls, targets: Iterable[TargetView]) -> "Summary":
        """Count the states."""
        counts = Counter(map(shown_state, targets))
        return cls({state: counts[state] for state in ORDER})

    @property
    def worst(self) -> Shown:
        """The state of the target that is worst off; up where none is watched."""
        return next((state for state in ("down", "degraded", "unknown", "up") if self.counts[state]), "up")

    @property
    def headline(self) -> str:
        """One sentence."""
        watched = sum(self.counts.values()) - self.counts["paused"]
        if not watched:
            return "Nothing is watched at the moment"
        for state in ("down", "degraded"):
            if number := self.counts[state]:
                return f"{number} of {watched} targets {state}" if watched > 1 else f"The target is {state}"
        if self.counts["unknown"]:
            return "Waiting for first results"
        return f"All {watched} targets are up" if watched > 1 else "The target is up"


def latency(milliseconds: float | None) -> str:
    """Three digits or so, with the unit."""
    if milliseconds is None:
        return NOTHING
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 999.5 else f"{milliseconds / 1000:.2f} s"


def percent(value: float | None) -> str:
    """Rounded down: 100 % is said only of what never failed."""
    if value is None:
        return NOTHING
    return "100 %" if value >= 100 else f"{floor(value * 100) / 100:.2f} %"


def uptime(statistics: Statistics | None) -> str:
    """The uptime of a window, as far as it is known."""
    return percent(statistics.uptime_percent if statistics else None)


def span(seconds: float) -> str:
    """A duration, in the unit that fits."""
    for unit, size, until in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < until:
            return f"{max(0, int(seconds // size))} {unit}"
    return f"{int(seconds // 86_400)} d"


def since(moment: datetime) -> str:
    """How long ago."""
    return span((datetime.now(UTC) - moment).total_seconds())


def stamp(moment: datetime | float) -> str:
    """A time for people, in UTC; scripts of the page turn it into that of the reader."""
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(moment: datetime | float) -> str:
    """A time for machines."""
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def state_rule(target: Target) -> str:
    """What it takes for the target to be down."""
    if target.failures == target.window:
        return f"{target.failures} failures in a row" if target.failures > 1 else "1 failure"
    return f"{target.failures} of {target.window} results failed"


@dataclass(frozen=True)
class Sparkline:
    """Recent results as paths of an SVG picture of `width` by `height`; the newest is on the right."""

    width: int
    height: int
    line: str
    poor: str
    bad: str
    about: str


def sparkline(recent: Sequence[Point], width: int = 120, height: int = 28) -> Sparkline:
    """Durations as a line from 0 to the longest; a result that failed is a stroke from top to bottom."""
    verdicts = Counter(point.verdict for point in recent)
    durations = [point.duration_ms for point in recent if point.verdict != "bad"]
    about = f"Last {len(recent)} results: {verdicts['bad']} failed, {verdicts['poor']} with a warning"
    if durations:
        about += f", {latency(min(durations))} to {latency(max(durations))}"
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
    return Sparkline(width, height, "".join(line), "".join(marks["poor"]), "".join(marks["bad"]), about)
