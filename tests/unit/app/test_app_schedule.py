"""Due times: properties for any clock."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from netmon.schedule import next_due
from tests.unit.app.properties import PROPERTY

TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
INTERVALS = st.integers(5, 86_400).map(lambda seconds: timedelta(seconds=seconds))


@PROPERTY
@given(TIMES, INTERVALS, TIMES)
def test_the_next_due_time_is_within_one_interval(due: datetime, interval: timedelta, now: datetime) -> None:
    assert now < next_due(due, interval, now) <= now + interval


@PROPERTY
@given(TIMES, INTERVALS, TIMES)
def test_the_next_due_time_is_on_the_grid(due: datetime, interval: timedelta, now: datetime) -> None:
    following = next_due(due, interval, now)
    if due <= now + interval:
        assert (following - due) % interval == timedelta()
    else:
        assert following == now + interval  # the clock was set back


@PROPERTY
@given(TIMES, INTERVALS, st.lists(st.integers(0, 3 * 86_400), min_size=1, max_size=20))
def test_missed_probes_are_not_made_up_for(due: datetime, interval: timedelta, pauses: list[int]) -> None:
    """A scheduler that polls at any times never claims a target twice within one interval of the grid."""
    now, claims = due, []
    for pause in pauses:
        now += timedelta(seconds=pause)
        if due <= now:
            claims.append(now)
            due = next_due(due, interval, now)
    assert len(claims) <= (claims[-1] - claims[0]) // interval + 2


@PROPERTY
@given(TIMES, INTERVALS, st.integers(0, 86_400), st.integers(1, 10 * 86_400))
def test_a_clock_that_is_set_back_delays_a_probe_by_one_interval_at_most(
    due: datetime, interval: timedelta, late: int, back: int
) -> None:
    now = due + timedelta(seconds=late)
    due = next_due(due, interval, now)
    after = now - timedelta(seconds=back)
    assert next_due(due, interval, after) <= after + interval
