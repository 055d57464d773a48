"""The API of maintenance windows."""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from netmon import access
from netmon.api import paging
from netmon.maintenance import WindowSettings, WindowView
from netmon.maintenance_store import (
    MAX_WINDOWS,
    MaintenanceStore,
    TooManyWindowsError,
    WindowChange,
    WindowNameTakenError,
    WindowTargetError,
)
from netmon.problems import problem, responses
from netmon.target_reader import TargetReader

PAGE: dict[int | str, dict[str, Any]] = {200: {"headers": {"Link": paging.LINK}}}

_Views = TypeAdapter(list[WindowView])


class UnknownWindowError(LookupError):
    """There is no maintenance window with this id."""


class WindowQuery(BaseModel):
    """The query parameters of a page."""

    model_config = ConfigDict(frozen=True)

    limit: Annotated[int, Field(ge=1, le=paging.MAX_PAGE_SIZE, description="Windows on the page.")] = 100
    cursor: paging.Cursor = ""
    target: Annotated[
        UUID | None, Field(description="Only windows that apply to this target, by its id or one of its tags.")
    ] = None

    def link(self, last: str) -> dict[str, str]:
        """The header with the link to the page that follows a name."""
        following = self.model_dump(mode="json", exclude_defaults=True) | {"cursor": paging.cursor_after(last)}
        return {"Link": f'</api/maintenance?{urlencode(following)}>; rel="next"'}


def router(reader: TargetReader, store: MaintenanceStore, auth: access.TokenAuth) -> APIRouter:
    """The routes below `/api/maintenance`.

    Args:
        reader: is notified of changes, to invalidate the cache.
        store: reads and writes windows in the database.
        auth: the dependency of the routes that change something.
    """
    routes = APIRouter(prefix="/api/maintenance", tags=["maintenance"])
    writing: dict[str, Any] = {"dependencies": [Depends(auth)]}

    async def shown(changed: WindowChange | None, window: UUID | None = None) -> WindowView:
        """The window after a change, which all requests from now on see."""
        if changed is None:
            raise UnknownWindowError(window)
        await reader.maintenance_changed(changed.targets)
        return WindowView.of(changed.window, changed.at)

    async def accepted(settings: WindowSettings) -> WindowSettings:
        reason = settings.refused(await store.now())
        if reason:
            raise RequestValidationError([{"loc": ("body", "once"), "msg": reason}])
        return settings

    @routes.get("", response_model=list[WindowView], responses=PAGE | responses(422, 503))
    async def windows(query: Annotated[WindowQuery, Query()]) -> Response:
        """List maintenance windows by name, page by page, including those that ended in the last 30 days."""
        found, now = await store.by_name(query.target, paging.name_in(query.cursor), query.limit + 1)
        page = [WindowView.of(window, now) for window in found[: query.limit]]
        headers = query.link(page[-1].name) if len(found) > query.limit else {}
        return Response(_Views.dump_json(page), media_type="application/json", headers=headers)

    @routes.post("", status_code=HTTPStatus.CREATED, responses=responses(401, 409, 422, 503), **writing)
    async def add(body: WindowSettings, response: Response) -> WindowView:
        """Add a maintenance window of a target or of all targets with a tag, once or weekly.

        While it is in effect, its targets have the state `maintenance`: they are probed, but have no alerts, and the
        time is not part of their uptime. Windows may overlap.
        """
        window = await shown(await store.add(await accepted(body)))
        response.headers["Location"] = f"/api/maintenance/{window.id}"
        return window

    @routes.get("/{window_id}", responses=responses(404, 422, 503))
    async def get(window_id: UUID) -> WindowView:
        """Get a maintenance window."""
        found = await store.get(window_id)
        if found is None:
            raise UnknownWindowError(window_id)
        return WindowView.of(*found)

    @routes.put("/{window_id}", responses=responses(401, 404, 409, 422, 503), **writing)
    async def replace(window_id: UUID, body: WindowSettings) -> WindowView:
        """Replace the settings of a maintenance window. If it no longer is in effect, alerts are sent at once."""
        return await shown(await store.replace(window_id, await accepted(body)), window_id)

    @routes.delete(
        "/{window_id}", status_code=HTTPStatus.NO_CONTENT, responses=responses(401, 404, 422, 503), **writing
    )
    async def delete(window_id: UUID) -> None:
        """Delete a maintenance window, which ends it at once."""
        await shown(await store.delete(window_id), window_id)

    return routes


def install(app: FastAPI) -> None:
    """Install the handlers that turn errors of the store into problem responses."""

    @app.exception_handler(UnknownWindowError)
    async def unknown(_request: Request, error: UnknownWindowError) -> JSONResponse:
        return problem(HTTPStatus.NOT_FOUND, f"There is no maintenance window {error}.")

    @app.exception_handler(WindowNameTakenError)
    async def taken(_request: Request, _error: WindowNameTakenError) -> JSONResponse:
        detail = "Another maintenance window has this name. Choose another name, or change that window."
        return problem(HTTPStatus.CONFLICT, detail)

    @app.exception_handler(TooManyWindowsError)
    async def too_many(_request: Request, _error: TooManyWindowsError) -> JSONResponse:
        detail = f"The limit of {MAX_WINDOWS} maintenance windows is reached. Delete a window first."
        return problem(HTTPStatus.CONFLICT, detail)

    @app.exception_handler(WindowTargetError)
    async def no_target(_request: Request, error: WindowTargetError) -> JSONResponse:
        errors = [{"at": "body/target", "message": f"there is no target {error}"}]
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is invalid.", errors=errors)
