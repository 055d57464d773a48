"""Times during which a target was not up."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from netmon.models import Incident
from netmon.problems import responses
from netmon.target_reader import Reading


def router(reading: Reading) -> APIRouter:
    """`GET /api/incidents`."""
    routes = APIRouter(prefix="/api/incidents", tags=["incidents"])

    @routes.get("", responses=responses(422, 503))
    async def incidents(
        target: UUID | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> list[Incident]:
        """The incidents of a target, or of all, newest first; one without an end goes on."""
        return await reading.incidents(target, limit)

    return routes
