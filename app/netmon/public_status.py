"""The public status: the chosen targets, with nothing that is not meant for everyone.

A target has its name, its state and its uptime: neither its address nor the reason of a failure.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from netmon.states import URGENCY, ShownState
from netmon.target_models import Incident, TargetView

MAX_TARGETS = 500
"""Targets on the public page: the first ones by name."""
MAX_INCIDENTS = 20
SPANS = timedelta(hours=24), timedelta(days=30)
"""The spans of uptimes."""


class PublicTarget(BaseModel):
    """A target on the public page."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    name: str
    state: ShownState
    since: AwareDatetime
    """The time of the last change of its state, which is that of its results."""
    uptime_24h_percent: float | None
    """None without results in the last 24 hours."""
    uptime_30d_percent: float | None
    """None without results in the last 30 days."""


class PublicIncident(BaseModel):
    """An incident of a target on the public page; `ended_at` is None while it is ongoing."""

    model_config = ConfigDict(frozen=True)

    target: UUID
    name: str
    state: Literal["degraded", "down"]
    started_at: AwareDatetime
    ended_at: AwareDatetime | None


class PublicStatus(BaseModel):
    """The targets on the public page by urgency, and their latest incidents, newest first."""

    model_config = ConfigDict(frozen=True)

    targets: Annotated[list[PublicTarget], Field(max_length=MAX_TARGETS)]
    incidents: Annotated[list[PublicIncident], Field(max_length=MAX_INCIDENTS)]

    @classmethod
    def of(
        cls, views: Iterable[TargetView], uptimes: Sequence[Mapping[UUID, float]], incidents: Iterable[Incident]
    ) -> Self:
        """The public part of the status.

        Args:
            views: the targets by name.
            uptimes: their uptimes in percent, in each of SPANS.
            incidents: their incidents, newest first.
        """
        day, month = uptimes
        targets = [
            PublicTarget(
                id=view.id,
                name=view.name,
                state=view.shown_state,
                since=view.standing.since,
                uptime_24h_percent=day.get(view.id),
                uptime_30d_percent=month.get(view.id),
            )
            for view in views
        ]
        shown = [
            PublicIncident(
                target=each.target, name=each.name, state=each.state, started_at=each.started_at, ended_at=each.ended_at
            )
            for each in incidents
        ]
        return cls(targets=sorted(targets, key=lambda each: URGENCY.index(each.state)), incidents=shown)

    @property
    def counts(self) -> dict[ShownState, int]:
        """The number of targets by state."""
        return {state: sum(each.state == state for each in self.targets) for state in URGENCY}
