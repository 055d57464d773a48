"""The phases of a probe."""

from collections.abc import Mapping
from typing import Literal, get_args

Phase = Literal["lookup", "connect", "tls", "first_byte", "transfer"]
"""The phases of a probe: until the addresses are known, the connection is open, TLS is agreed on, the first byte of the
response arrives, and the response ends or is no longer read."""

PHASE_NAMES: Mapping[Phase, str] = {
    "lookup": "look-up",
    "connect": "connect",
    "tls": "TLS",
    "first_byte": "first byte",
    "transfer": "transfer",
}
"""The names of the phases for people."""


class Phased:
    """A result with a field for each phase: its duration in milliseconds, None if it was not reached."""

    @property
    def phases(self) -> dict[Phase, float]:
        """The duration of each phase that was reached, in milliseconds."""
        durations: dict[Phase, float | None] = {name: getattr(self, f"{name}_ms") for name in get_args(Phase)}
        return {name: duration for name, duration in durations.items() if duration is not None}
