"""When a target is due: on a grid of its own, so that a late probe does not shift the next one."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000


def own_grid(target: UUID) -> datetime:
    """A time on the grid of a target: the ids are random, so that those added together are not due together."""
    return _EPOCH + timedelta(milliseconds=target.int % _DAY)


def next_due(due: datetime, interval: timedelta, now: datetime) -> datetime:
    """The first time after `now` on the grid of `due`.

    Time that was missed is not made up for: whatever the number of intervals between `due` and `now`, the target was
    due once. Where the clock was set back, the grid begins anew rather than wait for the old time to come.
    """
    if due > now + interval:
        return now + interval
    if due > now:
        return due
    return due + ((now - due) // interval + 1) * interval
