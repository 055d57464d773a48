"""The API of incidents."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from netmon.problems import responses
from netmon.target_models import Incident
from netmon.target_reader import TargetReader


def router(reader: TargetReader) -> APIRouter:
    """`GET /api/incidents`, answered by `reader`."""
    routes = APIRouter(prefix="/api/incidents", tags=["incidents"])

    @routes.get("", responses=responses(422, 503))
    async def incidents(
        target: UUID | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> list[Incident]:
        """List the incidents of a target, or of all targets, newest first; `ended_at` is null while one is ongoing."""
        return await reader.incidents(target, limit)

    return routes
