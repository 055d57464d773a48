"""Routes and rendering of the status page."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args
from uuid import UUID

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from netmon.alerts import Alert, Status
from netmon.cache import Cached
from netmon.database import UNAVAILABLE_ERRORS
from netmon.history import Statistics
from netmon.history_store import Span, Window
from netmon.kinds import KINDS
from netmon.logs import logger
from netmon.maintenance import DAYS, MaintenanceWindow, WindowView
from netmon.maintenance_store import MAX_WINDOWS
from netmon.page import views
from netmon.page.assets import MIN_COMPRESSED_SIZE, TEXT, Asset, Assets
from netmon.phases import PHASE_NAMES
from netmon.public_status import PublicStatus
from netmon.supervision import describe
from netmon.target_lists import TargetFilter
from netmon.target_models import Incident, Overview, TargetView
from netmon.uptime import TargetUptime

T = TypeVar("T")

SPANS: tuple[str, ...] = get_args(Span)
INCIDENTS = 20
ALERTS = 20

HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every page; keep those that the production proxy sets as well in sync (config/caddy/Caddyfile)."""

log = logger(__name__)


class TargetReader(Protocol):
    """The part of `netmon.target_reader.TargetReader` that the pages use."""

    async def overview(self, chosen: TargetFilter, page: int, /) -> Cached[Overview]:
        """A page of the targets by urgency, starting at 1."""

    async def target(self, target: UUID, /) -> Cached[TargetView | None]:
        """The target with this id."""

    async def statistics(self, target: UUID, window: Window, /) -> Cached[Statistics]:
        """Statistics of a target within a window; raises LookupError if there is no such target."""

    async def uptime(self, target: UUID, /) -> Cached[TargetUptime]:
        """The uptime of a target in spans and months; raises LookupError if there is no such target."""

    async def incidents(self, target: UUID | None, limit: int) -> list[Incident]:
        """The incidents of a target, or of all targets, newest first."""

    async def public_status(self) -> Cached[PublicStatus]:
        """The targets on the public status page."""


class Windows(Protocol):
    """The part of `netmon.maintenance_store.MaintenanceStore` that the pages use."""

    async def by_name(
        self, target: UUID | None, after: str, limit: int, /
    ) -> tuple[Sequence[MaintenanceWindow], datetime]:
        """Windows by name, those of a target or all, and the time."""

    async def get(self, window: UUID, /) -> tuple[MaintenanceWindow, datetime] | None:
        """The window with this id, and the time."""

    async def target_names(self, windows: Sequence[MaintenanceWindow], /) -> Mapping[UUID, str]:
        """The names of the targets that windows name."""


class Alerts(Protocol):
    """The part of `netmon.alerts.ReceivedAlerts` that the pages use."""

    async def newest(self, limit: int, status: Status | None) -> list[Alert]:
        """The latest alerts, newest first."""


def router(reader: TargetReader, windows: Windows, received: Alerts | None, version: str) -> APIRouter:
    """The pages and their static files.

    Args:
        reader: reads targets, statistics and incidents.
        windows: reads maintenance windows.
        received: the alerts to be shown; None if the page must not show alerts.
        version: the release in the footer.
    """
    routes = APIRouter(include_in_schema=False)
    assets = Assets()
    pages = _Pages(assets, version)

    @routes.api_route("/static/{version}/{name:path}", methods=["GET", "HEAD"])
    async def static(request: Request, version: str, name: str) -> Response:
        asset = assets.files.get(name)
        if asset is None:
            return Response("File not found.", HTTPStatus.NOT_FOUND, HEADERS, "text/plain")
        # During a deploy, each release may get requests for files of the other one.
        caching = "public, max-age=31536000, immutable" if version == assets.version else "no-store"
        return _response(request, asset, {"Cache-Control": caching})

    @routes.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request, state: str = "", q: str = "", tag: str = "", page: str = "1") -> Response:
        listing = views.Listing.requested(state, q, tag, page)
        try:
            overview = (await reader.overview(listing.chosen, listing.page)).value
        except UNAVAILABLE_ERRORS as error:
            return pages.unavailable(request, error)
        incidents, alerts = await asyncio.gather(_or_none(reader.incidents(None, INCIDENTS)), _alerts(received))
        return pages.show(
            request,
            "index.html",
            overview=overview,
            listing=listing,
            summary=views.Summary(overview.counts),
            incidents=incidents,
            shows_alerts=received is not None,
            alerts=alerts,
        )

    @routes.api_route("/status", methods=["GET", "HEAD"])
    async def public_status(request: Request) -> Response:
        try:
            found = (await reader.public_status()).value
        except UNAVAILABLE_ERRORS as error:
            return pages.unavailable(request, error)
        return pages.show(request, "status.html", published=found, summary=views.Summary(found.counts))

    @routes.get("/targets/new")
    async def new(request: Request) -> Response:
        return pages.show(request, "form.html", **views.form(None))

    @routes.api_route("/targets/{identity}", methods=["GET", "HEAD"])
    async def target(request: Request, identity: str, span: str = "24h") -> Response:
        found = await _target(request, identity)
        if isinstance(found, Response):
            return found
        hour, day, uptime, incidents, maintenance = await asyncio.gather(
            _or_none(reader.statistics(found.id, "1h")),
            _or_none(reader.statistics(found.id, "24h")),
            _or_none(reader.uptime(found.id)),
            _or_none(reader.incidents(found.id, INCIDENTS)),
            _or_none(_windows(windows, found.id)),
        )
        return pages.show(
            request,
            "target.html",
            target=found,
            windows={"Last hour": hour and hour.value, "Last 24 hours": day and day.value},
            uptimes=uptime and views.observed(uptime.value),
            incidents=incidents,
            maintenance=maintenance,
            spans=SPANS,
            chosen=span if span in SPANS else "24h",
        )

    @routes.get("/targets/{identity}/edit")
    async def edit(request: Request, identity: str) -> Response:
        found = await _target(request, identity)
        return found if isinstance(found, Response) else pages.show(request, "form.html", **views.form(found))

    @routes.api_route("/maintenance", methods=["GET", "HEAD"])
    async def maintenance(request: Request) -> Response:
        try:
            found = await _windows(windows, None)
            names = await windows.target_names(found)
        except UNAVAILABLE_ERRORS as error:
            return pages.unavailable(request, error)
        return pages.show(request, "maintenance.html", windows=found, names=names)

    @routes.get("/maintenance/new")
    async def new_window(request: Request, target: str = "") -> Response:
        found = await _target(request, target) if target else None
        if isinstance(found, Response):
            return found
        return pages.show(request, "window.html", window=None, target=found)

    @routes.get("/maintenance/{identity}/edit")
    async def edit_window(request: Request, identity: str) -> Response:
        try:
            found = await windows.get(UUID(identity))
        except ValueError:
            found = None
        except UNAVAILABLE_ERRORS as error:
            return pages.unavailable(request, error)
        if found is None:
            return pages.message(
                request, HTTPStatus.NOT_FOUND, "Maintenance window not found", "It may have been deleted."
            )
        target = await _target(request, str(found[0].target)) if found[0].target else None
        if isinstance(target, Response):
            return target
        return pages.show(request, "window.html", window=found[0], target=target)

    async def _target(request: Request, identity: str) -> TargetView | Response:
        try:
            key = UUID(identity)
        except ValueError:
            return pages.unknown(request)
        try:
            found = (await reader.target(key)).value
        except UNAVAILABLE_ERRORS as error:
            return pages.unavailable(request, error)
        return found or pages.unknown(request)

    return routes


class _Pages:
    """Renders templates."""

    def __init__(self, assets: Assets, version: str) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        self._templates.globals.update(
            asset=assets.url,
            version=version,
            kinds=KINDS,
            failing_states=views.FAILING,
            week=DAYS,
            phase_names=PHASE_NAMES,
        )
        for template_filter in (
            views.alert_rule, views.days, views.duration, views.icon, views.iso, views.latency, views.minutes,
            views.number, views.percent, views.period, views.shown_state, views.since, views.span, views.sparkline,
            views.stamp, views.state_rule, views.window_state,
        ):  # fmt: skip
            self._templates.filters[template_filter.__name__] = template_filter

    def show(self, request: Request, name: str, status: int = HTTPStatus.OK, **context: Any) -> Response:
        """Render a template."""
        content = self._templates.get_template(name).render(path=request.url.path, **context).encode()
        return _response(request, Asset(content, "text/html"), {"Cache-Control": "no-store"}, status)

    def message(self, request: Request, status: HTTPStatus, title: str, text: str) -> Response:
        """A page with an error message."""
        return self.show(request, "message.html", status, title=title, text=text)

    def unknown(self, request: Request) -> Response:
        """The page for an unknown target."""
        return self.message(request, HTTPStatus.NOT_FOUND, "Target not found", "It may have been deleted.")

    def unavailable(self, request: Request, error: Exception) -> Response:
        """The page for the time in which targets cannot be read."""
        log.warning("page unavailable", reason=describe(error))
        text = "Cache and database are unavailable. This page retries automatically."
        return self.message(request, HTTPStatus.SERVICE_UNAVAILABLE, "Targets unavailable", text)


def _response(request: Request, asset: Asset, headers: dict[str, str], status: int = HTTPStatus.OK) -> Response:
    """A response with the headers of every page, compressed if the client accepts that."""
    content, headers = asset.content, {**HEADERS, **headers}
    if asset.media_type in TEXT and len(content) > MIN_COMPRESSED_SIZE:
        headers["Vary"] = "Accept-Encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            content, headers["Content-Encoding"] = asset.compressed, "gzip"
    return Response(content, status, headers, asset.media_type)


async def _or_none(read: Awaitable[T]) -> T | None:
    """The result, or None if it is unavailable: the page then shows its other parts."""
    try:
        return await read
    except (*UNAVAILABLE_ERRORS, LookupError) as error:  # a target may have been deleted since it was listed
        log.debug("part of the page unavailable", reason=describe(error))
        return None


async def _windows(windows: Windows, target: UUID | None) -> list[WindowView]:
    """The maintenance windows of a target, or all, by time."""
    found, now = await windows.by_name(target, "", MAX_WINDOWS)
    return views.by_time([WindowView.of(window, now) for window in found])


async def _alerts(received: Alerts | None) -> list[Alert] | None:
    """The latest alerts, firing ones first; None if they are not shown or unavailable.

    Without those whose severity is none: they report no problem, such as `Watchdog`, which always fires.
    """
    newest = await _or_none(received.newest(ALERTS, None)) if received else None
    problems = newest and [alert for alert in newest if alert.severity != "none"]
    return problems and sorted(problems, key=lambda alert: alert.status != "firing")
