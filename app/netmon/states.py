"""The state of a target, derived from its last results, so that a single result changes nothing.

A target is down once `failures` of its last `window` results are bad, until the same number of results in a row are not
bad. It is degraded once the same number are not good (bad, or poor: a success with a warning), until the same number in
a row are good. This prevents flapping.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

State = Literal["unknown", "up", "degraded", "down"]
ShownState = Literal[State, "stale", "maintenance", "paused"]
"""The state of a target in lists and counts: paused if its scheduled probes are off; otherwise maintenance if a
maintenance window is in effect; otherwise stale if results are overdue."""
Verdict = Literal["good", "poor", "bad"]
"""The verdict on a result: succeeded, succeeded with a warning, failed."""

URGENCY: tuple[ShownState, ...] = ("down", "stale", "degraded", "unknown", "maintenance", "up", "paused")
"""States by urgency: targets that need attention come first."""
WINDOW_LIMIT = 10
"""The maximum window of a target."""
STALE_SECONDS = 15
"""How late a result may be: as long as the schedule may lag, see the alert `ScheduleLagging`."""

PATIENCE = "coalesce((spec ->> 'grace_seconds')::double precision, timeout_seconds * (retries + 1))"
"""SQL: the seconds by which a result may follow its interval, `netmon.models.Plan.patience_seconds`."""
IS_STALE = f"""
    enabled AND stored_at < now() - make_interval(secs => interval_seconds + {PATIENCE} + {STALE_SECONDS})""".strip()
"""SQL: whether the last result of a target is older than its interval and the time that its attempts may take."""
IN_MAINTENANCE = "enabled AND (maintenance_from <= now() AND now() < maintenance_until) IS TRUE"
"""SQL: whether a target is in maintenance."""
SHOWN_STATE = f"""
    CASE WHEN NOT enabled THEN 'paused' WHEN {IN_MAINTENANCE} THEN 'maintenance' WHEN {IS_STALE} THEN 'stale'
        ELSE state END""".strip()
"""SQL: the shown state of a target."""


def overdue_after(interval_seconds: float, patience_seconds: float) -> timedelta:
    """The time after a result at which the next one is overdue; in SQL, `IS_STALE`."""
    return timedelta(seconds=interval_seconds + patience_seconds + STALE_SECONDS)


def next_state(state: State, verdicts: Sequence[Verdict], failures: int, window: int) -> State:
    """The state after the last of `verdicts`.

    Args:
        state: the state before the last result.
        verdicts: the last results, oldest first; those before the last `window` are ignored.
        failures: n of "n of m", from 1 to `window`.
        window: m of "n of m".
    """
    latest = verdicts[-window:]
    in_a_row = verdicts[-failures:]
    if not latest:
        return state

    def recovered_from(*failing: Verdict) -> bool:
        return len(in_a_row) == failures and not any(verdict in failing for verdict in in_a_row)

    if sum(verdict == "bad" for verdict in latest) >= failures or (state == "down" and not recovered_from("bad")):
        return "down"
    if sum(verdict != "good" for verdict in latest) >= failures or (
        state in ("down", "degraded") and not recovered_from("bad", "poor")
    ):
        return "degraded"
    if state == "unknown" and latest[-1] != "good":
        return "unknown"
    return "up"
