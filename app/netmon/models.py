"""The one record that walks the whole way: as a job, a row, an event, a cached state and an answer."""

from datetime import UTC, datetime
from typing import Literal, Self
from uuid import UUID, uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict

from netmon.targets import Target

Status = Literal["queued", "succeeded", "failed"]


class Outcome(BaseModel):
    """What probing a target gave.

    `error` is a stable code (see `netmon.probing`), `detail` is for people; both are None for a success.
    """

    model_config = ConfigDict(frozen=True)

    status: Status
    finished_at: AwareDatetime
    duration_ms: float
    http_status: int | None = None
    error: str | None = None
    detail: str | None = None


class Probe(BaseModel):
    """A probe of one target, queued or finished."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    url: str
    target: str
    status: Status = "queued"
    requested_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    duration_ms: float | None = None
    http_status: int | None = None
    error: str | None = None
    detail: str | None = None
    trace_id: str | None = None

    @classmethod
    def of(cls, target: Target, trace_id: str | None = None) -> Self:
        """A new probe of `target`, requested now."""
        return cls(id=uuid4(), url=target.url, target=target.key, requested_at=datetime.now(UTC), trace_id=trace_id)

    def finished(self, outcome: Outcome) -> Self:
        """This probe with its outcome."""
        return self.model_copy(update=dict(outcome))

    def encode(self) -> bytes:
        """JSON, as it stands in messages and in the cache."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, data: bytes | str) -> Self:
        """The probe in a message.

        Raises:
            ValueError: the message is not a probe (pydantic's ValidationError is one).
        """
        return cls.model_validate_json(data)
