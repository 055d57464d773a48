"""Periods of a target's state, for uptime by time.

A state holds from the result that leads to it until the next result, but only for as long as results are not overdue.
The time after that is unobserved, and so is the time in which the state is unknown or the target is paused. A target in
a maintenance window has the state `maintenance` in that time, whatever its results are.

The last period is open: it is a part of the standing (`netmon.standings`), and is extended by each result. It is
closed, and stored as a row, once the state changes, observation breaks, or a maintenance window begins or ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Literal, NamedTuple

from netmon.states import State

ObservedState = Literal["up", "degraded", "down"]
PeriodState = Literal[ObservedState, "maintenance"]


class Interval(NamedTuple):
    """A time from `start` until before `end`."""

    start: datetime
    end: datetime


class Period(NamedTuple):
    """A time in which the state was the same."""

    state: PeriodState
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class OpenPeriod:
    """The last period of a target: it lasts until its results are overdue, unless a change ends it before.

    `state` is that of the results, in a maintenance window too.
    """

    state: ObservedState
    started_at: datetime
    overdue_at: datetime


def elapsed(opened: OpenPeriod | None, now: datetime, maintenance: Interval | None = None) -> list[Period]:
    """The time since the start of an open period, oldest first: split where the maintenance window begins and ends.

    Args:
        opened: the open period; None if the target is not observed.
        now: the current time.
        maintenance: the maintenance window of the target that is current, next, or just over.
    """
    if opened is None:
        return []
    end = min(now, opened.overdue_at)
    inner = sorted(each for each in maintenance or () if opened.started_at < each < end)
    bounds = [opened.started_at, *inner, end] if opened.started_at < end else []
    return [
        Period("maintenance" if _contains(maintenance, start) else opened.state, start, until)
        for start, until in pairwise(bounds)
    ]


def observe(
    opened: OpenPeriod | None, now: datetime, state: State, overdue_at: datetime, maintenance: Interval | None = None
) -> tuple[Sequence[Period], OpenPeriod | None]:
    """Account for a result.

    Args:
        opened: the open period before the result.
        now: the time of the result.
        state: the state of the target from then on.
        overdue_at: when the next result is overdue.
        maintenance: as of `elapsed`.

    Returns:
        The periods that are closed, and the open period.
    """
    periods = elapsed(opened, now, maintenance)
    if state == "unknown":
        return periods, None
    shown = "maintenance" if _contains(maintenance, now) else state
    if periods and (periods[-1].state, periods[-1].ended_at) == (shown, now):
        return periods[:-1], OpenPeriod(state, periods[-1].started_at, overdue_at)
    return periods, OpenPeriod(state, now, overdue_at)


def settle(
    opened: OpenPeriod | None, now: datetime, maintenance: Interval | None = None
) -> tuple[Sequence[Period], OpenPeriod | None]:
    """Close all time until now, before the maintenance window of the target changes.

    Returns:
        As `observe`.
    """
    if opened is None:
        return [], None
    left = OpenPeriod(opened.state, now, opened.overdue_at) if now < opened.overdue_at else None
    return elapsed(opened, now, maintenance), left


def _contains(interval: Interval | None, moment: datetime) -> bool:
    return interval is not None and interval.start <= moment < interval.end
