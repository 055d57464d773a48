"""Heartbeats: a job reports to a URL of its own, and silence is a failure. The decisions, without a database.

A target expects a heartbeat in each period of its interval, and at most `grace` late. A silent period is a failed
result. It is decided by three times in PostgreSQL, so that it does not matter which worker decides, nor whether it was
restarted: the start of the period (`Awaited.since`), and the first and the last moment of the uninterrupted time in
which an API was able to receive heartbeats (`Reception`), which each API replica extends every few seconds.

A period counts as silent only once the reception reaches its end, the grace included. If the reception began while the
heartbeat was to be expected, from `grace` before the end of the interval on, the heartbeat may have been lost: then a
new period starts with the reception. An interruption at another time, such as a restart at noon of a platform whose job
reports at midnight, changes nothing.
"""

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from netmon.details import printable, slowness
from netmon.models import CLOCK_TOLERANCE, Outcome

PATH = "/api/heartbeats/"
"""The path of a heartbeat URL, before its token."""
SILENT, REPORTED = "no_heartbeat", "reported"
"""The error codes of results: no heartbeat came in time; the job reported a failure."""
BEAT_SECONDS = 2.0
"""How often a replica of the API extends the reception."""
GAP = timedelta(seconds=7)
"""A longer pause interrupts the reception: three times BEAT_SECONDS have passed without a beat."""
MIN_RESULT_SPACING = timedelta(seconds=5)
"""A heartbeat that repeats the last one within this time is not stored: no interval is shorter."""
MIN_CHANGE_SPACING = timedelta(seconds=1)
"""A heartbeat that differs from the last one is refused within this time."""

_PREFIX = "hb_"
_TOKEN_BYTES = 24
_CREDENTIAL = re.compile(rf"(heartbeats/|{_PREFIX})[^?]*", re.IGNORECASE)


def new_token() -> str:
    """A random token of 192 bits, with a prefix by which logs can be masked and searched."""
    return _PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def hash_of(token: str) -> bytes:
    """The hash by which a token is stored and found.

    A lookup by the hash takes no time that depends on how much of a token is right: who tries tokens does not know
    their hashes. A plain hash is sufficient, since tokens are random.
    """
    return hashlib.sha256(token.encode()).digest()


def without_token(path: str) -> str:
    """The path of a request without a token that it may have, for logs and traces: of mistyped URLs too."""
    return _CREDENTIAL.sub(r"\1•••", path)


class Awaited(NamedTuple):
    """A heartbeat that is awaited."""

    since: datetime
    """The start of the current period: the last heartbeat, or the end of the last silent period without its grace."""
    silent_since: datetime
    """The last heartbeat, or the time from which on one was expected."""
    interval: timedelta
    grace: timedelta

    @property
    def deadline(self) -> datetime:
        """The time by which the heartbeat must have come."""
        return self.since + self.interval + self.grace


class Reception(NamedTuple):
    """The last uninterrupted time in which heartbeats could be received."""

    since: datetime
    until: datetime


class Decision(NamedTuple):
    """The result for an awaited heartbeat: the next awaited one, and whether the period was silent."""

    awaited: Awaited
    silent: bool = False


def decide(awaited: Awaited, reception: Reception | None) -> Decision:
    """Decide about the heartbeat of a target, of which none was received since `awaited.since`.

    Silent periods that no worker evaluated in time count as one, as missed probes do: while no worker ran, the target
    was not observed.
    """
    if reception is None or reception.until < awaited.deadline:
        return Decision(awaited)
    may_come_from = awaited.since + max(awaited.interval - awaited.grace, timedelta(0))
    if reception.since > may_come_from:
        return Decision(awaited._replace(since=reception.since, silent_since=reception.since))
    silent_periods = (reception.until - awaited.grace - awaited.since) // awaited.interval
    return Decision(awaited._replace(since=awaited.since + silent_periods * awaited.interval), silent=True)


def silence(awaited: Awaited, at: datetime) -> Outcome:
    """The result of a silent period, decided at a time."""
    seconds = (at - awaited.silent_since) // timedelta(seconds=1)
    every = awaited.interval // timedelta(seconds=1)
    return Outcome(
        status="failed",
        finished_at=at,
        duration_ms=0,
        error=SILENT,
        detail=f"no heartbeat for {seconds} s, expected every {every} s",
    )


def received(at: datetime, *, failed: bool, message: str, duration_ms: float | None, slow_ms: float | None) -> Outcome:
    """The result of a heartbeat.

    Args:
        at: the time of the heartbeat.
        failed: whether the job reports a failure.
        message: the reason of a failure; may be empty.
        duration_ms: how long the job took, if it reports that.
        slow_ms: that of the target.
    """
    if failed:
        reason = printable(message.strip()) or "the job reported a failure"
        return Outcome(status="failed", finished_at=at, duration_ms=duration_ms or 0, error=REPORTED, detail=reason)
    detail = slowness(duration_ms or 0, slow_ms)
    return Outcome(
        status="succeeded",
        finished_at=at,
        duration_ms=duration_ms or 0,
        warning="slow" if detail else None,
        detail=detail,
    )


def wait_before(last: datetime | None, succeeded: bool | None, now: datetime, *, success: bool) -> timedelta:
    """How long a heartbeat comes too early to be stored; not positive if it is stored.

    Args:
        last: when the last heartbeat was stored.
        succeeded: whether that one was a success.
        now: the current time.
        success: whether this one is a success.
    """
    # A little later than now: by a transaction that began later but came first.
    if last is None or last > now + CLOCK_TOLERANCE:
        return timedelta(0)
    return (MIN_RESULT_SPACING if success == succeeded else MIN_CHANGE_SPACING) - (now - last)
