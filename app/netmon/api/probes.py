"""The API of single probes."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from netmon import access
from netmon.api.on_demand import OnDemandProbes
from netmon.database import Database
from netmon.guard import Guard
from netmon.models import Plan, Probe
from netmon.problems import responses
from netmon.specs import HttpSpec
from netmon.url_targets import MAX_URL_LENGTH, InvalidTargetError, parse_target


class ProbeRequest(BaseModel):
    """The URL to probe."""

    url: Annotated[str, Field(max_length=MAX_URL_LENGTH, examples=["https://example.org/"])]


def router(
    database: Database, on_demand: OnDemandProbes, auth: access.TokenAuth, guard: Guard, timeout_seconds: float
) -> APIRouter:
    """`POST /api/probes` and `GET /api/probes/{probe_id}`.

    Args:
        database: has the stored probes.
        on_demand: queues requested probes.
        auth: the dependency of the route that requests a probe.
        guard: refuses URLs with private addresses.
        timeout_seconds: the timeout of requested probes.
    """
    routes = APIRouter(prefix="/api/probes", tags=["probes"])

    @routes.post(
        "",
        status_code=HTTPStatus.ACCEPTED,
        dependencies=[Depends(auth)],
        responses=responses(401, 422, 429, 503),
    )
    async def request_probe(body: ProbeRequest, response: Response) -> Probe:
        """Request a single probe of a URL: it is stored and queued once this responds with 202."""
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
        """Get a probe with its result once it is finished."""
        probe = await database.get(probe_id)
        if probe is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no probe {probe_id}.")
        return probe

    return routes
