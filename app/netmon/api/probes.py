"""Single probes: of a URL that nobody watches, and what became of one."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from netmon import access
from netmon.api.on_demand import OnDemand
from netmon.database import Database
from netmon.guard import Guard
from netmon.models import Plan, Probe
from netmon.problems import responses
from netmon.specs import HttpSpec
from netmon.url_targets import MAX_URL_LENGTH, InvalidTargetError, parse_target


class ProbeRequest(BaseModel):
    """What to probe."""

    url: Annotated[str, Field(max_length=MAX_URL_LENGTH, examples=["https://example.org/"])]


def router(
    database: Database, on_demand: OnDemand, writer: access.Writer, guard: Guard, timeout_seconds: float
) -> APIRouter:
    """`POST /api/probes` and `GET /api/probes/{probe_id}`."""
    routes = APIRouter(prefix="/api/probes", tags=["probes"])

    @routes.post(
        "",
        status_code=HTTPStatus.ACCEPTED,
        dependencies=[Depends(writer)],
        responses=responses(401, 422, 429, 503),
    )
    async def request_probe(body: ProbeRequest, response: Response) -> Probe:
        """Accept a probe of a URL, once: it is stored and queued, and will be carried out."""
        try:
            target = parse_target(body.url)
        except InvalidTargetError as error:
            raise RequestValidationError([{"loc": ("body", "url"), "msg": str(error)}]) from None
        plan = Plan(spec=HttpSpec(url=target.url), timeout_seconds=timeout_seconds)
        if refusal := guard.refuses(plan.spec):
            raise RequestValidationError([{"loc": ("body", "url"), "msg": refusal}])
        probe = await on_demand.request(plan, target.key)
        response.headers["Location"] = f"/api/probes/{probe.id}"
        return probe

    @routes.get("/{probe_id}", responses=responses(404, 422, 503))
    async def get_probe(probe_id: UUID) -> Probe:
        """A probe and, once it is finished, its result."""
        probe = await database.get(probe_id)
        if probe is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no probe {probe_id}.")
        return probe

    return routes
