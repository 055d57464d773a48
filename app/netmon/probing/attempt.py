"""One attempt of a probe."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    duration_ms: float | None = None
    """The duration that counts, if it is not that of the attempt."""
    loss_percent: float | None = None
    jitter_ms: float | None = None
    received: str | None = None
    """The data received so far, for the message of an attempt that times out."""
    warning: ResultWarning | None = None
    error: str | None = None
    detail: str | None = None

    def add_phases(self, phases: Mapping[Phase, float]) -> None:
        """Add the phases of one request, in seconds."""
        for phase, seconds in phases.items():
            self.phases[phase] = round(self.phases.get(phase, 0) + seconds * 1000, 3)

    @contextmanager
    def timed(self, phase: Phase) -> Iterator[None]:
        """Add the time of a block to a phase, if it succeeds."""
        began = time.perf_counter()
        yield
        self.add_phases({phase: time.perf_counter() - began})
