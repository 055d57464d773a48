"""Targets that are watched: added, changed, deleted, probed at once, and what is known of them."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from yarl import URL

from netmon import access
from netmon.api.on_demand import OnDemand
from netmon.history_store import Span, Window
from netmon.models import Probe, Series, Statistics, Target, TargetSettings, TargetView
from netmon.problems import problem, responses
from netmon.specs import MASK, HttpSpec, Spec
from netmon.target_reader import Reading, UnknownTargetError
from netmon.target_store import MAX_TARGETS, NameTakenError, TooManyTargetsError, Watched

X_CACHE: dict[str, Any] = {
    "description": "Where the answer came from: the cache, or the database, as the cache had none or is away.",
    "schema": {"enum": ["hit", "miss", "bypass"]},
}
CACHED: dict[int | str, dict[str, Any]] = {200: {"headers": {"X-Cache": X_CACHE}}}
EXAMPLES: dict[str, Any] = {
    "site": {
        "summary": "A web page, every minute",
        "value": {"name": "Example", "spec": {"kind": "http", "url": "https://example.org/"}},
    },
    "api": {
        "summary": "An API that must say that it is well, within half a second",
        "value": {
            "name": "Orders",
            "spec": {
                "kind": "http",
                "url": "https://orders.example.org/health",
                "headers": {"Authorization": "Bearer a-token"},
                "expected_status": [200],
                "body_contains": '"healthy"',
            },
            "interval_seconds": 15,
            "slow_ms": 500,
            "failures": 3,
            "window": 5,
        },
    },
    "port": {
        "summary": "A port",
        "value": {"name": "Mail", "spec": {"kind": "tcp", "host": "example.org", "port": 25}},
    },
    "name": {
        "summary": "A DNS record",
        "value": {
            "name": "MX",
            "spec": {"kind": "dns", "name": "example.org", "record": "MX"},
            "interval_seconds": 3600,
        },
    },
    "host": {"summary": "A host", "value": {"name": "Router", "spec": {"kind": "ping", "host": "192.0.2.1"}}},
}

Refuses = Callable[[Spec], str | None]
"""Why a spec is never probed here, if it is not."""

_Views = TypeAdapter(list[TargetView])


class TargetPatch(BaseModel):
    """What of a target is to change: what is not named stays, and the whole is then checked like a new target."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"enabled": False}]})

    name: str | None = None
    spec: Spec | None = None
    interval_seconds: int | None = None
    timeout_seconds: float | None = None
    retries: int | None = None
    slow_ms: float | None = None
    failures: int | None = None
    window: int | None = None
    enabled: bool | None = None

    def applied_to(self, target: Target) -> TargetSettings:
        """The settings of a target with this change.

        Raises:
            RequestValidationError: they are not valid.
        """
        before = {name: getattr(target, name) for name in TargetSettings.model_fields}
        change = {name: getattr(self, name) for name in self.model_fields_set}
        try:
            return TargetSettings.model_validate(before | change)
        except ValidationError as error:
            raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from None


def router(
    reading: Reading, watched: Watched, on_demand: OnDemand, writer: access.Writer, refuses: Refuses
) -> APIRouter:
    """`/api/targets` and what is below it."""
    routes = APIRouter(prefix="/api/targets", tags=["targets"])
    writing: dict[str, Any] = {"dependencies": [Depends(writer)]}

    @routes.get("", response_model=list[TargetView], responses=CACHED | responses(503))
    async def targets() -> Response:
        """Every target by name, with its state and its last results."""
        views, cache = await reading.targets()
        return Response(_Views.dump_json(views), media_type="application/json", headers={"X-Cache": cache})

    @routes.post(
        "",
        status_code=HTTPStatus.CREATED,
        responses=responses(401, 409, 422, 503),
        openapi_extra={"requestBody": {"content": {"application/json": {"examples": EXAMPLES}}}},
        **writing,
    )
    async def add(body: TargetSettings, response: Response) -> Target:
        """Add a target. It is probed at once, and then at its interval."""
        target = await watched.add(_complete(body, None, refuses))
        await reading.added()
        response.headers["Location"] = f"/api/targets/{target.id}"
        return target.masked()

    @routes.get("/{target_id}", responses=CACHED | responses(404, 422, 503))
    async def get(target_id: UUID, response: Response) -> TargetView:
        """A target, with its state and its last results. The values of headers are not told."""
        view, response.headers["X-Cache"] = await reading.target(target_id)
        if view is None:
            raise UnknownTargetError(target_id)
        return view

    async def change(target_id: UUID, to: Callable[[Target], TargetSettings]) -> Target:
        changed = await watched.change(target_id, lambda before: _complete(to(before), before, refuses))
        if changed is None:
            raise UnknownTargetError(target_id)
        await reading.changed(changed)
        return changed.target.masked()

    @routes.put("/{target_id}", responses=responses(401, 404, 409, 422, 503), **writing)
    async def replace(target_id: UUID, body: TargetSettings) -> Target:
        """Give a target other settings; what is not named gets its default.

        With another `spec`, or paused, its state is unknown again and its incident ends; what was counted stays. A
        header's value that is sent as it was told, masked, stays what it is.
        """
        return await change(target_id, lambda _before: body)

    @routes.patch("/{target_id}", responses=responses(401, 404, 409, 422, 503), **writing)
    async def patch(target_id: UUID, body: TargetPatch) -> Target:
        """Change some settings of a target; a `spec` is replaced as a whole. Otherwise as for PUT."""
        return await change(target_id, body.applied_to)

    @routes.delete(
        "/{target_id}",
        status_code=HTTPStatus.NO_CONTENT,
        responses=responses(401, 404, 422, 503),
        **writing,
    )
    async def delete(target_id: UUID) -> None:
        """Delete a target, its statistics and its incidents."""
        if not await watched.delete(target_id):
            raise UnknownTargetError(target_id)
        await reading.deleted(target_id)

    @routes.post(
        "/{target_id}/probes",
        status_code=HTTPStatus.ACCEPTED,
        responses=responses(401, 404, 422, 429, 503),
        tags=["probes"],
        **writing,
    )
    async def probe_at_once(target_id: UUID, response: Response) -> Probe:
        """Accept a probe of a target, paused or not, that goes before those that are due."""
        target = await watched.get(target_id)
        if target is None:
            raise UnknownTargetError(target_id)
        probe = await on_demand.request(target.plan, str(target_id))
        response.headers["Location"] = f"/api/probes/{probe.id}"
        return probe

    @routes.get("/{key}/latest", responses=CACHED | responses(404, 503))
    async def latest(key: str, response: Response) -> Probe:
        """The last finished probe of a target (its id) or of a URL that was probed once (the probe's `target`)."""
        probe, response.headers["X-Cache"] = await reading.latest(key)
        if probe is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"No finished probe of {key} is known.")
        return probe.model_copy(update={"standing": None})

    @routes.get("/{target_id}/statistics", responses=CACHED | responses(404, 422, 503))
    async def statistics(target_id: UUID, response: Response, window: Window = "24h") -> Statistics:
        """How often a target was up, and how long its answers took."""
        found, response.headers["X-Cache"] = await reading.statistics(target_id, window)
        return found

    @routes.get("/{target_id}/series", responses=responses(404, 422, 503))
    async def series(target_id: UUID, span: Span = "24h") -> Series:
        """Durations and failures over a span of time, in some 300 points at most."""
        return await reading.series(target_id, span)

    return routes


def install(app: FastAPI) -> None:
    """Let `app` answer what is wrong with a request about targets as a problem."""

    @app.exception_handler(UnknownTargetError)
    async def unknown(_request: Request, error: UnknownTargetError) -> JSONResponse:
        return problem(HTTPStatus.NOT_FOUND, f"There is no target {error}.")

    @app.exception_handler(NameTakenError)
    async def taken(_request: Request, _error: NameTakenError) -> JSONResponse:
        return problem(HTTPStatus.CONFLICT, "Another target has this name: choose another one, or change that target.")

    @app.exception_handler(TooManyTargetsError)
    async def too_many(_request: Request, _error: TooManyTargetsError) -> JSONResponse:
        return problem(HTTPStatus.CONFLICT, f"There are {MAX_TARGETS} targets, which is the most: delete one first.")


def _complete(settings: TargetSettings, before: Target | None, refuses: Refuses) -> TargetSettings:
    """Settings with the values of headers that were sent masked, as they were told.

    Raises:
        RequestValidationError: there is no such value, or the spec is one that is never probed.
    """
    spec = settings.spec
    reason = refuses(spec)
    if reason:
        raise RequestValidationError([{"loc": ("body", "spec"), "msg": reason}])
    if not isinstance(spec, HttpSpec) or MASK not in spec.headers.values():
        return settings
    headers = _unmasked(spec.headers, _kept(before.spec if before else None, spec))
    return settings.model_copy(update={"spec": spec.model_copy(update={"headers": headers})})


def _kept(before: Spec | None, spec: HttpSpec) -> dict[str, str]:
    """The values that are known of headers, by their names in lower case; another host does not get them."""
    if not isinstance(before, HttpSpec) or URL(before.url).origin() != URL(spec.url).origin():
        return {}
    return {name.lower(): value for name, value in before.headers.items()}


def _unmasked(headers: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if value == MASK and name.lower() not in known:
            message = "the value is masked, and none is known of this header for this host: send the value itself"
            raise RequestValidationError([{"loc": ("body", "spec", "http", "headers", name), "msg": message}])
    return {name: known[name.lower()] if value == MASK else value for name, value in headers.items()}
