"""Uptime by time, compared with an obvious implementation that looks at each second."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.models import Standing
from netmon.periods import Interval, OpenPeriod, Period, elapsed, observe, settle
from netmon.standings import LockedStanding
from netmon.states import State
from netmon.uptime import Uptime, Window, with_open
from tests.unit.app.properties import PROPERTY

START = datetime(2026, 3, 1, tzinfo=UTC)
STATES: tuple[State, ...] = ("up", "degraded", "down", "unknown")


def at(seconds: float) -> datetime:
    """A time after START."""
    return START + timedelta(seconds=seconds)


@dataclass(frozen=True)
class Step:
    """What happens to a target after `wait` seconds."""

    wait: int
    kind: Literal["result", "reset", "reschedule"]
    state: State
    overdue: int
    """Seconds after which the next result is overdue."""


STEPS = st.lists(
    st.builds(
        Step,
        wait=st.integers(0, 25),
        kind=st.sampled_from(("result",) * 8 + ("reset", "reschedule")),
        state=st.sampled_from(STATES),
        overdue=st.integers(1, 30),
    ),
    max_size=25,
)
WINDOWS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=4)
"""Maintenance windows: the seconds between the end of one and the start of the next, and its length."""


@dataclass
class Monitor:
    """A target, whose standing is locked, changed and written at each step; the periods are kept as rows."""

    windows: list[Interval]
    row: LockedStanding = field(
        default_factory=lambda: LockedStanding(UUID(int=1), Standing(since=START), None, 0, None, START)
    )
    periods: list[Period] = field(default_factory=list)

    def locked(self, now: datetime) -> LockedStanding:
        """The standing in the next transaction; before it, the maintenance window that is over was replaced."""
        while self.windows and self.windows[0].end <= now:
            window = self.windows.pop(0)
            closed, self.row.opened = settle(self.row.opened, window.end, window)
            self.periods += closed
        return self._transact(now)

    def _transact(self, now: datetime) -> LockedStanding:
        self.row = replace(self.row, now=now, maintenance=self.windows[0] if self.windows else None, closed=[])
        return self.row

    def _write(self) -> None:
        self.periods += self.row.closed

    def take(self, step: Step, now: datetime) -> None:
        locked = self.locked(now)
        if step.kind == "result":
            locked.change(state=step.state, stored_at=now)
            locked.observe(now + timedelta(seconds=step.overdue))
        elif step.kind == "reset":
            locked.reset()
        else:
            locked.reschedule(timedelta(seconds=step.overdue))
        self._write()

    def seconds(self, start: datetime, end: datetime, now: datetime) -> dict[str, float]:
        """The seconds by state, as `netmon.uptime_store` sums them."""
        locked, closed = self.locked(now), dict.fromkeys(("up", "degraded", "down", "maintenance"), 0.0)
        for state, since, until in self.periods:
            closed[state] += max((min(until, end) - max(since, start)).total_seconds(), 0)
        return dict(with_open(closed, locked.opened, Window("", start, end), now, locked.maintenance))  # type: ignore[arg-type]


def obvious(steps: list[Step], windows: list[Interval], seconds: range) -> dict[str, float]:
    """The seconds by state, second by second."""
    counted = dict.fromkeys(("up", "degraded", "down", "maintenance"), 0.0)
    for second in seconds:
        state, overdue, result, now = "unknown", 0, 0, 0
        for step in steps:
            now += step.wait
            if now > second:
                break
            if step.kind == "result":
                state, overdue, result = step.state, now + step.overdue, now
            elif step.kind == "reset":
                state = "unknown"
            elif overdue > now:
                overdue = max(result + step.overdue, now)
        if state == "unknown" or second >= overdue:
            continue
        in_maintenance = any(window.start <= at(second) < window.end for window in windows)
        counted["maintenance" if in_maintenance else state] += 1
    return counted


def made(windows: list[tuple[int, int]]) -> list[Interval]:
    """Maintenance windows, in order."""
    found, end = [], 0
    for gap, length in windows:
        found.append(Interval(at(end + gap), at(end + gap + length)))
        end += gap + length
    return found


@PROPERTY
@given(STEPS, WINDOWS, st.integers(0, 60), st.data())
def test_uptime_by_time_is_that_of_each_second(
    steps: list[Step], windows: list[tuple[int, int]], later: int, data: st.DataObject
) -> None:
    monitor, now = Monitor(made(windows)), 0
    for step in steps:
        now += step.wait
        monitor.take(step, at(now))
    end = now + later
    first, last = sorted((data.draw(st.integers(0, end)), data.draw(st.integers(0, end))))
    found = monitor.seconds(at(first), at(last), at(end))
    assert found == obvious(steps, made(windows), range(first, last))
    uptime = Uptime.of(Window("24h", at(first), at(last)), found)  # type: ignore[arg-type]
    parts = (uptime.up_seconds, uptime.degraded_seconds, uptime.down_seconds)
    assert uptime.observed_seconds == sum(parts)
    assert sum(parts) + uptime.maintenance_seconds + uptime.unobserved_seconds == last - first
    assert (uptime.uptime_percent == 100) is (uptime.observed_seconds > 0 and uptime.down_seconds == 0)


@PROPERTY
@given(STEPS, WINDOWS)
def test_periods_do_not_overlap_and_follow_changes_only(steps: list[Step], windows: list[tuple[int, int]]) -> None:
    monitor, now = Monitor(made(windows)), 0
    for step in steps:
        now += step.wait
        monitor.take(step, at(now))
    ends = START
    for period in monitor.periods:
        assert ends <= period.started_at < period.ended_at
        ends = period.ended_at
    if not windows and {(step.kind, step.state) for step in steps} == {("result", "up")}:
        gaps = sum(later.wait > earlier.overdue for earlier, later in pairwise(steps))
        assert len(monitor.periods) == gaps, "a result that continues a state must not write a period"


def test_ten_minutes_of_timeouts_after_ten_minutes_up_are_half_of_the_time() -> None:
    """By the number of results, 120 of 140 were good: 86 %."""
    opened, closed = None, list[Period]()
    for seconds, state in [*((5 * n, "up") for n in range(120)), *((600 + 30 * n, "down") for n in range(21))]:
        periods, opened = observe(opened, at(seconds), state, at(seconds + 50))  # type: ignore[arg-type]
        closed += periods
    assert closed == [Period("up", at(0), at(600))]
    assert opened == OpenPeriod("down", at(600), at(1250))


@pytest.mark.parametrize("back", [1, 3600])
def test_a_clock_that_was_set_back_does_not_stop_the_account(back: float) -> None:
    opened = OpenPeriod("up", at(3600), at(3650))
    assert observe(opened, at(3600 - back), "down", at(3700)) == ([], OpenPeriod("down", at(3600 - back), at(3700)))
    locked = LockedStanding(UUID(int=1), Standing(since=START), None, 0, opened, at(3600 - back))
    locked.change(state="down")
    locked.observe(at(3700))
    assert locked.set_back, "the periods after now must be discarded"


def test_a_maintenance_window_splits_a_period_at_its_bounds() -> None:
    window, opened = Interval(at(10), at(20)), OpenPeriod("up", at(0), at(100))
    split = [Period("up", at(0), at(10)), Period("maintenance", at(10), at(20)), Period("up", at(20), at(50))]
    assert elapsed(opened, at(50), window) == split
    assert observe(opened, at(50), "up", at(150), window) == (split[:2], OpenPeriod("up", at(20), at(150)))
    assert observe(opened, at(10), "up", at(150), window) == (split[:1], OpenPeriod("up", at(10), at(150)))
    assert observe(opened, at(15), "down", at(150), window) == (split[:1], OpenPeriod("down", at(10), at(150)))
    ended = [split[0], Period("maintenance", at(10), at(15))]
    assert settle(opened, at(15), window) == (ended, OpenPeriod("up", at(15), at(100)))
    assert settle(opened, at(100), window)[1] is None, "the result is overdue"
    assert settle(None, at(100), window) == ([], None)
