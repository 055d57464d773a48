"""Durations as Go writes them."""

from __future__ import annotations

import re

from toolkit.operate.targets.importing.imported import NotCarriedOverError

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def seconds(text: object) -> float:
    """A duration of Go, like ``1m30s``, in seconds.

    Raises:
        NotCarriedOverError: it is not a duration.
    """
    parts = _PART.findall(str(text))
    if not parts or "".join(number + unit for number, unit in parts) != str(text):
        raise NotCarriedOverError(f"{text!r} is not a duration")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
