"""The API of heartbeats: the URLs that jobs report to, with a token of their own, and the management of these URLs."""

import math
from collections.abc import Awaitable, Callable
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, NoReturn
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from netmon import access, metrics
from netmon.heartbeat_store import HeartbeatStore, Receipt, Report, TooEarlyError
from netmon.heartbeats import PATH
from netmon.problems import problem, responses
from netmon.target_reader import UnknownTargetError
from netmon.target_store import TargetStore

METHODS = ("GET", "HEAD", "POST")
"""The methods of a heartbeat: whatever the job has."""
MAX_DURATION_MS = 604_800_000
"""A week."""
_DETAILS: dict[Receipt, str] = {
    "stored": "The heartbeat was stored as a result.",
    "repeated": "The heartbeat repeats one of the last seconds; it counts, but no further result is stored.",
    "ignored": "The target is paused: the heartbeat is ignored.",
}


class HeartbeatUrl(BaseModel):
    """A heartbeat URL, which is returned only once."""

    path: Annotated[str, Field(examples=[f"{PATH}hb_…"], description="The path of the URL; it contains the token.")]


class Received(BaseModel):
    """What became of a heartbeat."""

    outcome: Receipt
    detail: str


class JobStatus(StrEnum):
    """The report of a job."""

    OK = "ok"
    FAIL = "fail"


class JobReport(BaseModel):
    """The query parameters of a heartbeat."""

    message: Annotated[str, Field(description="The reason of a failure; its first 300 characters are stored.")] = ""
    duration_ms: Annotated[
        float | None, Field(ge=0, le=MAX_DURATION_MS, allow_inf_nan=False, description="How long the job took.")
    ] = None


class JobStatusReport(JobReport):
    """The query parameters of a heartbeat, with its status."""

    status: JobStatus = JobStatus.OK


def router(store: HeartbeatStore) -> APIRouter:
    """The routes below `/api/heartbeats`, which need no other token than that in the URL; bodies are not read."""
    routes = APIRouter(prefix=PATH.rstrip("/"), tags=["heartbeats"])

    async def receive(token: str, report: Report, response: Response) -> Received:
        # A cache that answers the next heartbeat would hide it.
        response.headers["Cache-Control"] = "no-store"
        try:
            outcome = await store.receive(token, report)
        except TooEarlyError:
            metrics.HEARTBEATS.labels("refused").inc()
            raise
        metrics.HEARTBEATS.labels(outcome or "unknown").inc()
        if outcome is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such heartbeat URL: it may have been replaced.")
        return Received(outcome=outcome, detail=_DETAILS[outcome])

    async def heartbeat(token: str, query: Annotated[JobStatusReport, Query()], response: Response) -> Received:
        """Report that a job has run, or with `status=fail` that it has failed."""
        failed = query.status == JobStatus.FAIL
        return await receive(token, Report(failed, query.message, query.duration_ms), response)

    async def failure(token: str, query: Annotated[JobReport, Query()], response: Response) -> Received:
        """Report that a job has failed."""
        return await receive(token, Report(True, query.message, query.duration_ms), response)

    paths: dict[str, Callable[..., Awaitable[Received]]] = {"/{token}": heartbeat, "/{token}/fail": failure}
    for path, endpoint in paths.items():
        for method in METHODS:
            # One by one, for a description of each method with an id of its own; HEAD is GET without the body.
            described = method != "HEAD"
            errors = responses(404, 422, 429, 503)
            routes.add_api_route(path, endpoint, methods=[method], responses=errors, include_in_schema=described)
    return routes


def urls(store: HeartbeatStore, targets: TargetStore, auth: access.TokenAuth) -> APIRouter:
    """The routes of the URLs of targets, `/api/targets/{id}/heartbeat-url`.

    Args:
        store: changes the URLs.
        targets: knows the kinds of targets.
        auth: the dependency of these routes.
    """
    routes = APIRouter(prefix="/api/targets/{target_id}/heartbeat-url", tags=["heartbeats"])
    writing: dict[str, Any] = {"dependencies": [Depends(auth)], "responses": responses(401, 404, 409, 422, 503)}

    @routes.post("", status_code=HTTPStatus.CREATED, **writing)
    async def renew(target_id: UUID, response: Response) -> HeartbeatUrl:
        """Give a target of kind heartbeat a new URL. The former one stops working; the new one is not shown again."""
        token = await store.renew(target_id)
        if token is None:
            await _refuse(targets, target_id)
        response.headers["Cache-Control"] = "no-store"
        return HeartbeatUrl(path=f"{PATH}{token}")

    @routes.delete("", status_code=HTTPStatus.NO_CONTENT, **writing)
    async def revoke(target_id: UUID) -> None:
        """Revoke the URL of a target of kind heartbeat, which then has none."""
        if not await store.revoke(target_id):
            await _refuse(targets, target_id)

    return routes


async def _refuse(targets: TargetStore, target: UUID) -> NoReturn:
    """Explain why a target has no heartbeat URL."""
    found = await targets.planned(target)
    if found is None:
        raise UnknownTargetError(target)
    detail = f"The target is of kind {found.plan.spec.kind}: only targets of kind heartbeat have such a URL."
    raise HTTPException(HTTPStatus.CONFLICT, detail)


def install(app: FastAPI) -> None:
    """Install the handler of heartbeats that come too early."""

    @app.exception_handler(TooEarlyError)
    async def too_early(_request: Request, error: TooEarlyError) -> JSONResponse:
        seconds = str(math.ceil(error.wait.total_seconds()))
        detail = f"The heartbeat differs from one that was received just before. Retry in {seconds} s."
        response = problem(HTTPStatus.TOO_MANY_REQUESTS, detail)
        response.headers["Retry-After"] = seconds
        return response
