"""The API of the public status."""

from fastapi import APIRouter, Response

from netmon.api.targets import CACHED
from netmon.problems import responses
from netmon.public_status import PublicStatus
from netmon.target_reader import TargetReader


def router(reader: TargetReader) -> APIRouter:
    """`GET /api/status`, answered by `reader`."""
    routes = APIRouter(prefix="/api/status", tags=["status"])

    @routes.get("", responses=CACHED | responses(503))
    async def status(response: Response) -> PublicStatus:
        """Get the targets whose setting `public` is true, without addresses and the reasons of failures."""
        found, response.headers["X-Cache"] = await reader.public_status()
        return found

    return routes
