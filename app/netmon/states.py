"""The state of a target: what its last results say together, so that a single one changes nothing.

A target is down once `failures` of its last `window` results are bad, and stays so until as many in a row are not.
It is degraded once as many are not good (bad ones, or good ones with a warning), and stays so until as many in a row
are good. So a result that comes and goes keeps a state instead of flapping between two.
"""

from collections.abc import Sequence
from typing import Literal

State = Literal["unknown", "up", "degraded", "down"]
Verdict = Literal["good", "poor", "bad"]
"""Of one result: succeeded, succeeded with a warning, failed."""

WINDOW_LIMIT = 10
"""The longest window that a target can have."""


def next_state(state: State, verdicts: Sequence[Verdict], failures: int, window: int) -> State:
    """The state after the last of `verdicts`.

    Args:
        state: the state before it.
        verdicts: the last results, oldest first; more than `window` do no harm.
        failures: n of "n of m", from 1 to `window`.
        window: m of "n of m".
    """
    latest = verdicts[-window:]
    in_a_row = verdicts[-failures:]
    if not latest:
        return state

    def ended(*ill: Verdict) -> bool:
        return len(in_a_row) == failures and not any(verdict in ill for verdict in in_a_row)

    if sum(verdict == "bad" for verdict in latest) >= failures or (state == "down" and not ended("bad")):
        return "down"
    if sum(verdict != "good" for verdict in latest) >= failures or (
        state in ("down", "degraded") and not ended("bad", "poor")
    ):
        return "degraded"
    if state == "unknown" and latest[-1] != "good":
        return "unknown"
    return "up"
