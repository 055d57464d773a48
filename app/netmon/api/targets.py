"""The API of monitored targets."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from starlette.exceptions import HTTPException

from netmon import access
from netmon.api import paging
from netmon.api.on_demand import OnDemandProbes
from netmon.history import Series, Statistics
from netmon.history_store import Span, Window
from netmon.kinds import KINDS
from netmon.models import Probe
from netmon.problems import problem, responses
from netmon.secret_values import MASK, has_masks, unmasked_url
from netmon.specs import GrpcSpec, HttpSpec, Spec
from netmon.target_models import READ_ONLY_FIELDS, Severity, Tag, Target, TargetSettings, TargetView, settings_of
from netmon.target_reader import TargetReader, UnknownTargetError
from netmon.target_store import MAX_TARGETS, NameTakenError, TargetStore, TooManyTargetsError

CACHED: dict[int | str, dict[str, Any]] = {200: {"headers": {"X-Cache": paging.X_CACHE}}}
PAGE: dict[int | str, dict[str, Any]] = {200: {"headers": {"X-Cache": paging.X_CACHE, "Link": paging.LINK}}}
EXAMPLES: dict[str, Any] = {name: example for kind in KINDS.values() for name, example in kind.examples.items()}

Refuses = Callable[[Spec], str | None]
"""The reason why a spec is refused; None if it is not (`netmon.guard.Guard.refuses`)."""

Location = tuple[str | int, ...]
"""The location of a part of a request, as in the errors of pydantic."""

_Views = TypeAdapter(list[TargetView])


def _without_read_only(data: Any) -> Any:
    """A request body without the read-only fields of a response that is sent back."""
    if not isinstance(data, dict):
        return data
    return {name: value for name, value in data.items() if name not in READ_ONLY_FIELDS or name == "id"}


class TargetBody(TargetSettings):
    """The settings of a target in a request. A response can be sent back: its read-only fields change nothing."""

    id: Annotated[UUID | None, Field(description="The id of the target, if it has one; it cannot be changed.")] = None

    @model_validator(mode="before")
    @classmethod
    def _ignore_read_only(cls, data: Any) -> Any:
        return _without_read_only(data)


class TargetPatch(BaseModel):
    """A partial change of a target: other settings stay as they are, and the result is validated as a whole."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"enabled": False}]})

    id: Annotated[UUID | None, Field(description="The id of the target; it cannot be changed.")] = None
    name: str | None = None
    spec: Spec | None = None
    interval_seconds: int | None = None
    timeout_seconds: float | None = None
    retries: int | None = None
    slow_ms: float | None = None
    failures: int | None = None
    window: int | None = None
    enabled: bool | None = None
    severity: Severity | None = None
    degraded_severity: Severity | None = None
    tags: list[Tag] | None = None
    public: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _ignore_read_only(cls, data: Any) -> Any:
        return _without_read_only(data)

    def applied_to(self, target: Target, at: Location = ("body",)) -> TargetSettings:
        """The settings of `target` with this change applied; `at` is the location of the change in the request.

        Raises:
            RequestValidationError: the result is not valid.
        """
        change = {name: getattr(self, name) for name in self.model_fields_set - {"id"}}
        try:
            return TargetSettings.model_validate(dict(target.settings) | change)
        except ValidationError as error:
            raise RequestValidationError([{**each, "loc": (*at, *each["loc"])} for each in error.errors()]) from None


def router(
    reader: TargetReader, store: TargetStore, on_demand: OnDemandProbes, auth: access.TokenAuth, refuses: Refuses
) -> APIRouter:
    """The routes below `/api/targets`.

    Args:
        reader: answers GET requests from the cache or the database; is notified of changes, to invalidate the cache.
        store: adds, changes and deletes targets in the database.
        on_demand: queues the probe of `POST /api/targets/{id}/probes`.
        auth: the dependency of the routes that change something.
        refuses: the check of specs before they are stored.
    """
    routes = APIRouter(prefix="/api/targets", tags=["targets"])
    writing: dict[str, Any] = {"dependencies": [Depends(auth)]}

    @routes.get("", response_model=list[TargetView], responses=PAGE | responses(422, 503))
    async def targets(request: Request, query: Annotated[paging.TargetQuery, Query()]) -> Response:
        """List targets by name, with their states and last results.

        A response is a page; the header `Link` has the URL of the next one. While pages are read, a change of other
        targets neither repeats nor omits a target. The values in the queries of URLs are masked without a token.
        """
        page, cache = await reader.targets(query.chosen, query.after, query.limit, whole=auth.recognises(request))
        last = None if page.is_last else page.targets[-1].name
        headers = {"X-Cache": cache, **paging.links("/api/targets", query, last)}
        return Response(_Views.dump_json(page.targets), media_type="application/json", headers=headers)

    @routes.post(
        "",
        status_code=HTTPStatus.CREATED,
        responses=responses(401, 409, 422, 503),
        openapi_extra={"requestBody": {"content": {"application/json": {"examples": EXAMPLES}}}},
        **writing,
    )
    async def add(body: TargetBody, response: Response) -> Target:
        """Add a target. It is probed immediately, and then at its interval."""
        target = await store.add(with_stored_headers(settings_of(body), None, refuses))
        await reader.added()
        response.headers["Location"] = f"/api/targets/{target.id}"
        return target.masked()

    @routes.get("/{target_id}", responses=CACHED | responses(404, 422, 503))
    async def get(request: Request, target_id: UUID, response: Response) -> TargetView:
        """Get a target with its state and its last results.

        The values of headers and other credentials are masked; without a token, so are those in the queries of URLs.
        """
        view, response.headers["X-Cache"] = await reader.target(target_id, whole=auth.recognises(request))
        if view is None:
            raise UnknownTargetError(target_id)
        return view

    async def change(target_id: UUID, body: TargetBody | TargetPatch, to: Callable[[Target], TargetSettings]) -> Target:
        _require_same(body.id, target_id)
        changed = await store.change(target_id, lambda before: with_stored_headers(to(before), before, refuses))
        if changed is None:
            raise UnknownTargetError(target_id)
        await reader.changed(changed)
        return changed.target.masked()

    @routes.put("/{target_id}", responses=responses(401, 404, 409, 422, 503), **writing)
    async def replace(target_id: UUID, body: TargetBody) -> Target:
        """Replace the settings of a target; settings that are not given get their defaults.

        If its `spec` changes or it is paused, its state becomes unknown and its incident ends; its statistics are kept.
        A header value or a value in a query that is sent back masked is kept; a response that is sent back as it is
        changes nothing.
        """
        return await change(target_id, body, lambda _before: settings_of(body))

    @routes.patch("/{target_id}", responses=responses(401, 404, 409, 422, 503), **writing)
    async def patch(target_id: UUID, body: TargetPatch) -> Target:
        """Change some settings of a target; a `spec` is replaced as a whole. Otherwise like PUT."""
        return await change(target_id, body, body.applied_to)

    @routes.delete(
        "/{target_id}",
        status_code=HTTPStatus.NO_CONTENT,
        responses=responses(401, 404, 422, 503),
        **writing,
    )
    async def delete(target_id: UUID) -> None:
        """Delete a target with its statistics and incidents."""
        if not await store.delete(target_id):
            raise UnknownTargetError(target_id)
        await reader.deleted(target_id)

    @routes.post(
        "/{target_id}/probes",
        status_code=HTTPStatus.ACCEPTED,
        responses=responses(401, 404, 409, 422, 429, 503),
        tags=["probes"],
        **writing,
    )
    async def probe_at_once(target_id: UUID, response: Response) -> Probe:
        """Request a probe of a target, even of a paused one; it is queued before scheduled probes."""
        found = await store.planned(target_id)
        if found is None:
            raise UnknownTargetError(target_id)
        probe = await on_demand.request(found.plan, str(target_id), found.generation)
        response.headers["Location"] = f"/api/probes/{probe.id}"
        return probe

    @routes.get("/{key}/latest", responses=CACHED | responses(404, 503))
    async def latest(key: str, response: Response) -> Probe:
        """Get the last finished probe of a target (by id) or of a URL (by the `target` of its probe)."""
        probe, response.headers["X-Cache"] = await reader.latest(key)
        if probe is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no finished probe of {key}.")
        return probe.model_copy(update={"standing": None})

    @routes.get("/{target_id}/statistics", responses=CACHED | responses(404, 422, 503))
    async def statistics(target_id: UUID, response: Response, window: Window = "24h") -> Statistics:
        """Get the uptime of a target and the percentiles of its durations."""
        found, response.headers["X-Cache"] = await reader.statistics(target_id, window)
        return found

    @routes.get("/{target_id}/series", responses=responses(404, 422, 503))
    async def series(target_id: UUID, span: Span = "24h") -> Series:
        """Get durations and failures over a span of time, in about 300 points at most."""
        return await reader.series(target_id, span)

    return routes


def install(app: FastAPI) -> None:
    """Install the handlers that turn errors of the target store into problem responses."""

    @app.exception_handler(UnknownTargetError)
    async def unknown(_request: Request, error: UnknownTargetError) -> JSONResponse:
        return problem(HTTPStatus.NOT_FOUND, f"There is no target {error}.")

    @app.exception_handler(NameTakenError)
    async def taken(_request: Request, _error: NameTakenError) -> JSONResponse:
        return problem(HTTPStatus.CONFLICT, "Another target has this name. Choose another name, or change that target.")

    @app.exception_handler(TooManyTargetsError)
    async def too_many(_request: Request, _error: TooManyTargetsError) -> JSONResponse:
        return problem(HTTPStatus.CONFLICT, f"The limit of {MAX_TARGETS} targets is reached. Delete a target first.")


def _require_same(given: UUID | None, target: UUID) -> None:
    if given not in (None, target):
        message = "this is the id of another target: send the request to that target, or omit the id"
        raise RequestValidationError([{"loc": ("body", "id"), "msg": message}])


def with_stored_headers(
    settings: TargetSettings, before: Target | None, refuses: Refuses, at: Location = ("body",)
) -> TargetSettings:
    """The settings with masked header values, other credentials and values in queries replaced by the stored ones.

    Args:
        settings: the settings in a request.
        before: the target that gets them; None if it is new.
        refuses: the check of specs.
        at: the location of the settings in the request.

    Raises:
        RequestValidationError: no value is stored for a masked one, or the spec is refused.
    """
    spec = settings.spec
    reason = refuses(spec)
    if reason:
        raise RequestValidationError([{"loc": (*at, "spec"), "msg": reason}])
    at = (*at, "spec", spec.kind)
    if not isinstance(spec, HttpSpec | GrpcSpec):
        return settings
    stored = _with_same_destination(before.spec if before else None, spec)
    urls = _unmasked_urls(spec, stored, at) if isinstance(spec, HttpSpec) else {}
    if not urls and MASK not in (*spec.headers.values(), *spec.credentials.values()):
        return settings
    found: dict[str, object] = {**urls, **_unmask(spec.credentials, stored.credentials if stored else {}, at)}
    headers = {name.lower(): value for name, value in stored.headers.items()} if stored else {}
    found["headers"] = _unmask(spec.headers, headers, (*at, "headers"))
    return settings.model_copy(update={"spec": spec.model_copy(update=found)})


def _with_same_destination(before: Spec | None, spec: HttpSpec | GrpcSpec) -> HttpSpec | GrpcSpec | None:
    """The stored spec, unless its credentials would be sent elsewhere."""
    if not isinstance(before, HttpSpec | GrpcSpec) or before.kind != spec.kind:
        return None
    return before if before.destination == spec.destination else None


def _unmasked_urls(spec: HttpSpec, stored: HttpSpec | GrpcSpec | None, at: Location) -> dict[str, str]:
    """The URLs of a spec whose queries have masks, by setting, with the stored values instead."""
    found = {}
    for name in ("url", "expected_url"):
        url = getattr(spec, name)
        if url is not None and has_masks(url):
            whole = unmasked_url(url, getattr(stored, name, None) or "")
            if whole is None:
                raise _nothing_stored((*at, name))
            found[name] = whole
    return found


def _nothing_stored(at: Location) -> RequestValidationError:
    message = "the value is masked, and none is stored for it and this origin: send the actual value"
    return RequestValidationError([{"loc": at, "msg": message}])


def _unmask(values: Mapping[str, str], stored: Mapping[str, str], at: Location) -> dict[str, str]:
    for name, value in values.items():
        if value == MASK and name.lower() not in stored:
            raise _nothing_stored((*at, name))
    return {name: stored[name.lower()] if value == MASK else value for name, value in values.items()}
