"""The API of bulk changes of targets: all of the changes of a request are made, or none."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from netmon import access
from netmon.api.bulk_plan import MAX_ERRORS, BulkRequest, BulkResult, plan_list, plan_request
from netmon.api.configuration_plan import Configuration
from netmon.api.targets import Refuses, TargetBody
from netmon.bulk_store import BulkChange, BulkStore, ConcurrentChangeError, Planner
from netmon.problems import problem, responses
from netmon.target_reader import TargetReader
from netmon.target_store import MAX_TARGETS

_Model = TypeVar("_Model")
_REQUEST = TypeAdapter(BulkRequest)
_LIST: TypeAdapter[list[TargetBody]] = TypeAdapter(Annotated[list[TargetBody], Field(max_length=MAX_TARGETS)])
_REFERENCE = {"$ref": "#/components/schemas/TargetBody"}


class BulkQuery(BaseModel):
    """The query parameters of a bulk change."""

    model_config = ConfigDict(frozen=True)

    dry_run: Annotated[bool, Field(description="Validate the request and return its changes without making them.")] = (
        False
    )


class ListQuery(BulkQuery):
    """The query parameters of a change to a list of targets."""

    prune: Annotated[bool, Field(description="Delete the targets that are not in the list.")] = False


def router(reader: TargetReader, store: BulkStore, auth: access.TokenAuth, refuses: Refuses) -> APIRouter:
    """The routes that change many targets; arguments as in `netmon.api.targets.router`.

    They read the body themselves, so that a client without a valid token cannot send a large one.
    """
    routes = APIRouter(prefix="/api/targets", tags=["targets"])
    writing: dict[str, Any] = {"dependencies": [Depends(auth)], "responses": responses(401, 409, 422, 503)}

    async def carried_out(planner: Planner, dry_run: bool) -> BulkResult:
        if dry_run:
            change = await store.preview(planner)
        else:
            change = await store.apply(planner)
            await invalidate(reader, change)
        return await asyncio.to_thread(BulkResult.of, change, dry_run=dry_run)

    @routes.put(
        "",
        openapi_extra=json_body({"type": "array", "items": _REFERENCE, "maxItems": MAX_TARGETS}),
        **writing,
    )
    async def replace_list(request: Request, query: Annotated[ListQuery, Query()]) -> BulkResult:
        """Create and update targets from a list, and with `prune` delete the others.

        A target is found by its `id` if it is given, otherwise by its name. Settings that are not given get their
        defaults; masked header values are kept. A list of targets that is sent back as it is changes nothing.
        """
        bodies = await parsed(request, _LIST)
        return await carried_out(
            lambda stored: plan_list(bodies, stored.targets, refuses, prune=query.prune), query.dry_run
        )

    @routes.post("/bulk", openapi_extra=json_body({"$ref": "#/components/schemas/BulkRequest"}), **writing)
    async def change(request: Request, query: Annotated[BulkQuery, Query()]) -> BulkResult:
        """Create, update and delete targets by id; an update is like PATCH."""
        body = await parsed(request, _REQUEST)
        return await carried_out(lambda stored: plan_request(body, stored.targets, refuses), query.dry_run)

    return routes


def install(app: FastAPI) -> None:
    """Install the handler of conflicting changes, and describe the bodies of bulk changes in the OpenAPI document."""

    @app.exception_handler(ConcurrentChangeError)
    async def conflict(_request: Request, _error: ConcurrentChangeError) -> JSONResponse:
        detail = (
            "A target was changed by another request at the same time; nothing was changed. Send the request again."
        )
        return problem(HTTPStatus.CONFLICT, detail)

    generate = app.openapi

    def described() -> dict[str, Any]:
        document = generate()
        for model in (BulkRequest, Configuration):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            definitions = schema.pop("$defs")
            document["components"]["schemas"] |= {**definitions, model.__name__: schema}
        return document

    app.openapi = described  # type: ignore[method-assign]


def json_body(schema: dict[str, Any]) -> dict[str, Any]:
    """The description of a body that a route reads itself."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def invalidate(reader: TargetReader, change: BulkChange) -> None:
    """Invalidate the cache entries of changed targets."""
    await reader.changed(*change.changed, deleted=[target.id for target in change.delete])
    if change.planned:
        await reader.maintenance_changed(change.planned)


async def parsed(request: Request, adapter: TypeAdapter[_Model]) -> _Model:
    """The body of a request; parsed in a thread, since a large one takes longer than other requests should wait.

    Raises:
        RequestValidationError: it is not valid.
    """
    body = await request.body()
    try:
        return await asyncio.to_thread(adapter.validate_json, body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found[:MAX_ERRORS]]) from None
