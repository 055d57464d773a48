"""The order of the results of a target: that of storing, whatever the clocks say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon import result_store
from netmon.models import Outcome, Probe, Standing
from netmon.periods import OpenPeriod
from netmon.result_store import PendingResult
from netmon.standings import LockedStanding, next_version
from netmon.target_models import StateChange
from tests.unit.app.properties import PROPERTY

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TARGET = uuid4()


def locked(now: datetime = NOW, **changes: Any) -> result_store._LockedTarget:
    """A target that is down after one failure, in a transaction at `now`."""
    row = {
        "target": TARGET, "state": "unknown", "since": NOW - HOUR, "recent": [], "succeeded_at": None,
        "stored_at": NOW - HOUR, "version": 0, "latest": None, "generation": 3, "observed_state": None,
        "observed_from": None, "overdue_at": None, "now": now, "name": "a", "enabled": True, "failures": 1,
        "window": 1, "interval_seconds": 60, "patience_seconds": 10, "maintenance_from": None,
        "maintenance_until": None,
    }  # fmt: skip
    return result_store._LockedTarget.of({**row, **changes})


def result(status: Any, finished_at: datetime, requested_at: datetime = NOW, generation: int | None = 3) -> Any:
    """A result that waits to be stored."""
    queued = Probe(id=uuid4(), url="http://a/", target=str(TARGET), requested_at=requested_at)
    outcome = Outcome(status=status, finished_at=finished_at, duration_ms=1, error="x" if status == "failed" else None)
    future: Any = None
    return PendingResult(queued.finished(outcome), {}, future, generation)


def store(target: result_store._LockedTarget, *results: PendingResult) -> tuple[list[Probe], list[StateChange]]:
    """The stored probes and the state changes of a transaction."""
    transaction = result_store._Transaction({str(TARGET): target})
    return [transaction.add(each) for each in results], transaction._changes


def test_time_in_maintenance_is_no_downtime() -> None:
    """The window begins half an hour before the result, and ends half an hour after it."""
    half = timedelta(minutes=30)
    opened: dict[str, Any] = {"observed_state": "down", "observed_from": NOW - HOUR, "overdue_at": NOW + HOUR}
    target = locked(state="down", **opened, maintenance_from=NOW - half, maintenance_until=NOW + half)
    store(target, result("failed", NOW))
    assert [(each.state, each.ended_at) for each in target.locked.closed] == [("down", NOW - half)]
    assert target.locked.opened
    assert target.locked.opened.started_at == NOW - half


def test_a_result_from_the_future_does_not_hide_the_next_one() -> None:
    target = locked()
    [first, second], changes = store(target, result("succeeded", NOW + HOUR), result("failed", NOW))
    assert first.standing
    assert second.standing
    assert (first.standing.state, second.standing.state) == ("up", "down")
    assert second.standing.version > first.standing.version > 0
    assert [change.version for change in changes] == [first.standing.version, second.standing.version]
    assert [change.at for change in changes] == [NOW, NOW], "not in the future"
    assert target.locked.latest == second.id
    assert second.standing.stored_at == NOW


def test_a_result_after_a_clock_was_set_back_is_newer() -> None:
    ahead = locked(NOW + HOUR)
    [first], _ = store(ahead, result("succeeded", NOW + HOUR))
    back = replace(ahead, locked=replace(ahead.locked, now=NOW, closed=[]))
    [second], [change] = store(back, result("failed", NOW))
    assert first.standing
    assert second.standing
    assert (second.standing.state, second.standing.since, change.at) == ("down", NOW, NOW)
    assert second.standing.version == first.standing.version + 1
    assert back.locked.opened == OpenPeriod("down", NOW, NOW + timedelta(seconds=85))


def test_a_state_does_not_begin_before_the_previous_one() -> None:
    """The clock of the worker that stores the second result is an hour behind."""
    [_, second], _ = store(locked(), result("succeeded", NOW), result("failed", NOW - HOUR))
    assert second.standing
    assert second.standing.since == NOW


@PROPERTY
@given(st.lists(st.integers(-10_000, 10_000), min_size=1))
def test_versions_grow_with_any_clock(seconds: list[int]) -> None:
    version = 0
    for each in seconds:
        following = next_version(version, NOW + timedelta(seconds=each))
        assert version < following < 2**53, "a script in Redis has numbers of 53 bits"
        version = following


@pytest.mark.parametrize(
    ("row", "generation", "accepted"),
    [
        ({}, 3, True),
        ({"enabled": False}, 3, False),
        ({}, 2, False),  # paused or edited after the probe was requested
        # By generation, not by time.
        ({"since": NOW + HOUR}, 3, True),
        ({"since": NOW - HOUR}, 2, False),
        # A job of the former release.
        ({}, None, True),
        ({"since": NOW + timedelta(seconds=1)}, None, False),
        ({"since": NOW + timedelta(seconds=1), "state": "up"}, None, True),
    ],
)
def test_a_result_from_before_a_change_of_the_target_does_not_change_its_state(
    row: dict[str, Any], generation: int | None, accepted: bool
) -> None:
    target = locked(**row)
    before = target.standing
    probe = result("succeeded", NOW, generation=generation)
    [stored], _ = store(target, probe)
    assert stored.standing == target.standing
    assert (target.standing.recent != before.recent) is accepted
    assert target.standing.version > before.version, "it is the latest result in any case"
    assert target.locked.latest == probe.probe.id
    assert (target.locked.opened is not None) is accepted


def test_a_reset_rejects_probes_that_were_requested_before() -> None:
    opened = OpenPeriod("up", NOW - HOUR, NOW + HOUR)
    standing = LockedStanding(TARGET, Standing(state="up", since=NOW - HOUR, version=5), None, 3, opened, NOW)
    standing.reset()
    assert (standing.generation, standing.standing.state, standing.standing.since) == (4, "unknown", NOW)
    assert standing.standing.version > 5
    assert standing.opened is None
    assert [(period.state, period.ended_at) for period in standing.closed] == [("up", NOW)]


def test_an_extended_interval_extends_the_open_period() -> None:
    opened = OpenPeriod("up", NOW - HOUR, NOW + timedelta(seconds=20))
    standing = LockedStanding(
        TARGET, Standing(state="up", since=NOW - HOUR, stored_at=NOW - timedelta(seconds=10)), None, 3, opened, NOW
    )
    standing.reschedule(timedelta(seconds=100))
    assert cast(OpenPeriod, standing.opened).overdue_at == NOW + timedelta(seconds=90)
    standing.reschedule(timedelta(seconds=5))
    assert cast(OpenPeriod, standing.opened).overdue_at == NOW, "overdue at once, but not in the past"
