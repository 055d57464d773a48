"""One attempt of a probe."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netmon.models import ResultWarning
from netmon.phases import Phase


@dataclass(slots=True)
class Attempt:
    """The limit of an attempt and its findings so far, which an attempt that is cut off leaves behind.

    The findings are those of `netmon.models.Outcome`, which adds what only the whole probe knows: its status, its end
    and the number of attempts.
    """

    timeout_seconds: float
    http_status: int | None = None
    certificate_days: float | None = None
    phases: dict[Phase, float] = field(default_factory=dict)
    """Milliseconds; of all requests of the attempt together."""
    warning: ResultWarning | None = None
    error: str | None = None
    detail: str | None = None

    def add_phases(self, phases: Mapping[Phase, float]) -> None:
        """Add the phases of one request, in seconds."""
        for phase, seconds in phases.items():
            self.phases[phase] = round(self.phases.get(phase, 0) + seconds * 1000, 3)
