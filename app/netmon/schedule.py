"""When a target is due: on a grid of its own, so that a late probe does not shift the next one."""

from datetime import datetime, timedelta


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
