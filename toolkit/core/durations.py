"""Durations in Prometheus notation."""

from __future__ import annotations

import re

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}


def seconds(duration: str) -> float:
    """The seconds of a duration such as ``15s`` or ``1h30m``.

    Raises:
        ValueError: the text is not a duration.
    """
    if not re.fullmatch(r"(\d+(ms|[smhdwy]))+|0", duration):
        raise ValueError(f"{duration} is not a duration")
    return sum(int(count) * UNITS[unit] for count, unit in re.findall(r"(\d+)(ms|[smhdwy])", duration))
