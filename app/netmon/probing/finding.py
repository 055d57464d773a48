"""What an attempt has found out so far: also one that is cut off in the middle leaves what it knows."""

from dataclasses import dataclass

from netmon.models import Caveat


@dataclass(slots=True)
class Finding:
    """See `netmon.models.Outcome`."""

    http_status: int | None = None
    certificate_days: float | None = None
    warning: Caveat | None = None
    error: str | None = None
    detail: str | None = None
