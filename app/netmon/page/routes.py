"""The pages, each rendered whole."""

import asyncio
from collections.abc import Awaitable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args
from uuid import UUID

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from netmon.alerts import Alert, Status
from netmon.cache import Cache
from netmon.database import AWAY
from netmon.history_store import Span, Window
from netmon.logs import logger
from netmon.models import Incident, Statistics, TargetView
from netmon.page import views
from netmon.page.assets import TEXT, WORTH_COMPRESSING, Asset, Assets
from netmon.supervision import describe

T = TypeVar("T")

SPANS: tuple[str, ...] = get_args(Span)
INCIDENTS = 20
ALERTS = 20
AT_ONCE = 16
"""Statistics that one page asks for at the same time."""

HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What the production proxy sets as well has the same value there (config/caddy/Caddyfile)."""

log = logger(__name__)


class Reading(Protocol):
    """What the pages are made from."""

    async def targets(self) -> tuple[list[TargetView], Cache]:
        """All targets."""

    async def target(self, identity: UUID, /) -> tuple[TargetView | None, Cache]:
        """One target."""

    async def statistics(self, identity: UUID, window: Window, /) -> tuple[Statistics, Cache]:
        """Of a target's results within a window."""

    async def fresh_statistics(self, targets: Sequence[UUID], window: Window, /) -> dict[UUID, Statistics]:
        """Those that are known at once."""

    async def incidents(self, target: UUID | None, limit: int) -> list[Incident]:
        """The newest first."""


class Alerts(Protocol):
    """The alerts that were received."""

    async def newest(self, limit: int, status: Status | None) -> list[Alert]:
        """The newest first."""


def router(reading: Reading, received: Alerts | None, version: str) -> APIRouter:
    """The pages and their static files.

    Args:
        reading: what the pages are made from.
        received: the alerts that are shown; None where they are nobody's business who reads the page.
        version: the release, told in the footer.
    """
    routes = APIRouter(include_in_schema=False)
    assets = Assets()
    pages = _Pages(assets, version)

    @routes.api_route("/static/{version}/{name:path}", methods=["GET", "HEAD"])
    async def static(request: Request, version: str, name: str) -> Response:
        asset = assets.files.get(name)
        if asset is None:
            return Response("There is no such file.", HTTPStatus.NOT_FOUND, HEADERS, "text/plain")
        # While a release replaces another one, either may be asked for a file of the other.
        lasting = "public, max-age=31536000, immutable" if version == assets.version else "no-store"
        return _response(request, asset, {"Cache-Control": lasting})

    @routes.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        try:
            targets, _ = await reading.targets()
        except AWAY as error:
            return pages.unavailable(request, error)
        statistics, incidents, alerts = await asyncio.gather(
            _uptimes(reading, targets),
            _known(reading.incidents(None, INCIDENTS)),
            _alerts(received),
        )
        return pages.show(
            request,
            "index.html",
            targets=views.in_order(targets),
            summary=views.Summary.of(targets),
            statistics=statistics,
            incidents=incidents,
            shows_alerts=received is not None,
            alerts=alerts,
        )

    @routes.get("/targets/new")
    async def new(request: Request) -> Response:
        return pages.show(request, "form.html", **views.form(None))

    @routes.api_route("/targets/{identity}", methods=["GET", "HEAD"])
    async def target(request: Request, identity: str, span: str = "24h") -> Response:
        found = await _target(request, identity)
        if isinstance(found, Response):
            return found
        hour, day, incidents = await asyncio.gather(
            _known(_first(reading.statistics(found.id, "1h"))),
            _known(_first(reading.statistics(found.id, "24h"))),
            _known(reading.incidents(found.id, INCIDENTS)),
        )
        return pages.show(
            request,
            "target.html",
            target=found,
            windows={"Last hour": hour, "Last 24 hours": day},
            incidents=incidents,
            spans=SPANS,
            chosen=span if span in SPANS else "24h",
        )

    @routes.get("/targets/{identity}/edit")
    async def edit(request: Request, identity: str) -> Response:
        found = await _target(request, identity)
        return found if isinstance(found, Response) else pages.show(request, "form.html", **views.form(found))

    async def _target(request: Request, identity: str) -> TargetView | Response:
        try:
            key = UUID(identity)
        except ValueError:
            return pages.unknown(request)
        try:
            found, _ = await reading.target(key)
        except AWAY as error:
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
        self._templates.globals.update(asset=assets.url, version=version, kinds=views.KINDS)
        for work in (
            views.iso, views.latency, views.percent, views.shown_state, views.since, views.span, views.sparkline,
            views.stamp, views.state_rule, views.uptime,
        ):  # fmt: skip
            self._templates.filters[work.__name__] = work

    def show(self, request: Request, name: str, status: int = HTTPStatus.OK, **known: Any) -> Response:
        """The page of a template."""
        content = self._templates.get_template(name).render(path=request.url.path, **known).encode()
        return _response(request, Asset(content, "text/html"), {"Cache-Control": "no-store"}, status)

    def message(self, request: Request, status: HTTPStatus, title: str, text: str) -> Response:
        """A page that says why there is no other one."""
        return self.show(request, "message.html", status, title=title, text=text)

    def unknown(self, request: Request) -> Response:
        """A page for an id that no target has."""
        return self.message(request, HTTPStatus.NOT_FOUND, "There is no such target", "It may have been deleted.")

    def unavailable(self, request: Request, error: Exception) -> Response:
        """A page for the time in which nothing is known."""
        log.warning("page not shown", reason=describe(error))
        text = "Neither cache nor database answers at the moment. This page tries again by itself."
        return self.message(request, HTTPStatus.SERVICE_UNAVAILABLE, "The targets cannot be read", text)


def _response(request: Request, asset: Asset, headers: dict[str, str], status: int = HTTPStatus.OK) -> Response:
    """An answer with the headers of every page, compressed for whoever understands that."""
    content, headers = asset.content, {**HEADERS, **headers}
    if asset.media_type in TEXT and len(content) > WORTH_COMPRESSING:
        headers["Vary"] = "Accept-Encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            content, headers["Content-Encoding"] = asset.compressed, "gzip"
    return Response(content, status, headers, asset.media_type)


async def _known(asked: Awaitable[T]) -> T | None:
    """The answer, or None while there is none: a page shows the rest of what it has."""
    try:
        return await asked
    except (*AWAY, LookupError) as error:  # a target may have been deleted since it was listed
        log.debug("part of a page not shown", reason=describe(error))
        return None


async def _alerts(received: Alerts | None) -> list[Alert] | None:
    """The newest alerts, firing ones first; None where they are not shown, or not known at the moment."""
    newest = await _known(received.newest(ALERTS, None)) if received else None
    return newest and sorted(newest, key=lambda alert: alert.status != "firing")


async def _first(asked: Awaitable[tuple[T, Cache]]) -> T:
    return (await asked)[0]


async def _uptimes(reading: Reading, targets: list[TargetView]) -> dict[UUID, Statistics | None]:
    turn = asyncio.Semaphore(AT_ONCE)

    async def of(target: UUID) -> Statistics | None:
        async with turn:
            return await _known(_first(reading.statistics(target, "24h")))

    known = await reading.fresh_statistics([target.id for target in targets], "24h")
    others = [target.id for target in targets if target.id not in known]
    return known | dict(zip(others, await asyncio.gather(*map(of, others)), strict=True))
