"""Due times: each target has a fixed grid, so that a late probe does not shift the next one."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000


def grid_origin(target: UUID) -> datetime:
    """A time on the grid of a target, from its random id: targets that are added together are not due together."""
    return _EPOCH + timedelta(milliseconds=target.int % _DAY)


def next_due(due: datetime, interval: timedelta, now: datetime) -> datetime:
    """The first time after `now` on the grid of `due`.

    Missed probes are not made up for: the number of intervals between `due` and `now` does not matter. If the clock was
    set back, the grid restarts at `now` instead of waiting for the clock to catch up.
    """
    if due > now + interval:
        return now + interval
    if due > now:
        return due
    return due + ((now - due) // interval + 1) * interval
