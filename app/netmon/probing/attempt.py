"""One attempt of a probe."""

from dataclasses import dataclass

from netmon.models import ResultWarning


@dataclass(slots=True)
class Attempt:
    """The limit of an attempt and its findings so far, which an attempt that is cut off leaves behind.

    The findings are those of `netmon.models.Outcome`, which adds what only the whole probe knows: its status, its end
    and the number of attempts.
    """

    timeout_seconds: float
    http_status: int | None = None
    certificate_days: float | None = None
    warning: ResultWarning | None = None
    error: str | None = None
    detail: str | None = None
