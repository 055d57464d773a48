"""The HTTP server: request context, limits, metrics, access log, error responses, graceful shutdown."""

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from uuid import uuid4

import uvicorn
from fastapi import FastAPI, Request, Response
from opentelemetry.trace import SpanKind
from prometheus_client import REGISTRY, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars, get_contextvars

from netmon import metrics, problems, tracing
from netmon.client_address import ClientAddresses
from netmon.client_limits import ClientLimits
from netmon.heartbeats import without_token
from netmon.logs import logger
from netmon.settings import Settings

MAX_BODY = 64 * 1024
"""Maximum size of a request body in bytes."""
LARGE_BODIES = {
    # Alertmanager sends all alerts of a group in one request.
    ("POST", "/api/alerts"): 1024 * 1024,
    # Read after the token was checked, see `netmon.api.bulk`.
    ("PUT", "/api/targets"): 8 * 1024 * 1024,
    ("POST", "/api/targets/bulk"): 8 * 1024 * 1024,
    ("PUT", "/api/configuration"): 8 * 1024 * 1024,
    # So that a setting that is too long, such as a body to send, is reported with its field.
    ("POST", "/api/targets"): 2 * 1024 * 1024,
    ("PUT", "/api/targets/"): 2 * 1024 * 1024,
    ("PATCH", "/api/targets/"): 2 * 1024 * 1024,
}
"""Exceptions from MAX_BODY by method and path; a path that ends in a slash is a prefix."""
QUIET_ROUTES = ("/api/health", "/api/metrics", "/static")
"""Prefixes of routes that are logged at the debug level and traced only on failure."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CLOSE_DELAY_SECONDS = 0.5
"""How long existing connections may still send requests after the server stopped accepting new ones: a proxy may just
have opened one."""

TAGS = {
    "targets": "Monitored targets and their states. Read access is open, write access requires a token.",
    "configuration": "Targets and maintenance windows as a whole.",
    "probes": "Single probes on demand.",
    "heartbeats": "Heartbeats: the reports of jobs, and the URLs to which they report.",
    "status": "The public status page: chosen targets, without addresses and causes of failures.",
    "incidents": "Periods in which a target was degraded or down.",
    "alerts": "Alerts received from Alertmanager.",
    "access": "Verification of a token.",
    "health": "Health of the service and its dependencies.",
}
"""The tags of the OpenAPI document."""

log = logger(__name__)


def create_app(settings: Settings, title: str) -> FastAPI:
    """Create an application with problem responses and `/api/metrics`; the caller adds its routes."""
    app = FastAPI(
        title=title,
        version=settings.version,
        openapi_tags=[{"name": name, "description": description} for name, description in TAGS.items()],
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        # `RequestContext` does this at half the cost, with the names that metrics and log lines use.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.draining = False
    app.add_middleware(RequestContext)
    # Outside of it: what exceeds the limit is neither logged nor traced.
    addresses = ClientAddresses(settings.trusted_proxies)
    app.add_middleware(ClientLimits, rate=settings.client_requests_per_second, addresses=addresses)
    problems.install(app)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics.BUILD.info({"version": settings.version})

    if settings.enable_metrics:

        @app.get("/api/metrics", include_in_schema=False)
        def scrape(request: Request) -> Response:
            # Not async, so that it runs in a thread: rendering takes about 10 ms, during which requests are answered.
            # Prometheus requests the OpenMetrics format, which has exemplars.
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
            return Response(encode(REGISTRY), media_type=content_type)

    return app


class RequestContext:
    """Middleware: request id, span, body limit, metrics and access log of each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(Headers(scope=scope))
        headers[tracing.REQUEST_ID] = tracing.request_id(headers) or uuid4().hex
        receive = _bounded(receive, _max_body(scope["method"], scope["path"]))
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        request = _Request(method, without_token(scope["path"]))
        if request.path.startswith(QUIET_ROUTES):
            # A health check, a scrape or a static file.
            with bound_contextvars(request_id=headers[tracing.REQUEST_ID]), tracing.untraced():
                await self._answer(request, scope, receive, send)
            if request.failed:
                tracing.record_failure(request.name, request.seconds, request.attributes)
            return
        with tracing.span(request.method, SpanKind.SERVER, carrier=headers) as span:
            await self._answer(request, scope, receive, send)
            span.update_name(request.name)
            span.set_attributes(request.attributes)
            if request.failed:
                tracing.mark_failed(span, str(request.status))

    async def _answer(self, request: "_Request", scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = get_contextvars()["request_id"]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                if scope["app"].state.draining:
                    # A proxy that reused the connection might send its next request just as it is closed.
                    headers["Connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception:
            log.exception("request failed", method=scope["method"], path=request.path)
            if request.status:
                raise
            await problems.problem(HTTPStatus.INTERNAL_SERVER_ERROR)(scope, receive, answer)

        request.seconds = time.perf_counter() - started
        request.route = getattr(scope.get("route"), "path", "unmatched")
        metrics.HTTP_REQUESTS.labels(request.method, request.route, request.status).inc()
        metrics.HTTP_DURATION.labels(request.method, request.route).observe(request.seconds, tracing.exemplar())
        write = log.debug if request.route.startswith(QUIET_ROUTES) else log.info
        milliseconds = round(request.seconds * 1000, 2)
        write("request", method=request.method, path=request.path, status=request.status, ms=milliseconds)


@dataclass(slots=True)
class _Request:
    """A request, and its response once that is sent."""

    method: str
    path: str
    """The path without a token, for logs and traces."""
    route: str = "unmatched"
    status: int = 0
    seconds: float = 0

    @property
    def name(self) -> str:
        """The name of its span."""
        return f"{self.method} {self.route}"

    @property
    def failed(self) -> bool:
        """Whether it failed because of the server."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def attributes(self) -> dict[str, str | int]:
        """Attributes by the semantic conventions for HTTP servers."""
        return {
            "http.request.method": self.method,
            "http.route": self.route,
            "http.response.status_code": self.status,
            "url.path": self.path,
            "url.scheme": "http",
        }


def _max_body(method: str, path: str) -> int:
    """The maximum size of a request body in bytes."""
    folder = path[: path.rfind("/") + 1]
    return LARGE_BODIES.get((method, path)) or LARGE_BODIES.get((method, folder)) or MAX_BODY


def _bounded(receive: Receive, limit: int) -> Receive:
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body exceeds {limit} bytes.")
        return message

    return bounded


def initialise_counters(app: FastAPI) -> None:
    """Initialise the request counters of each route to 0 for its documented statuses, 500 and 503, which alerts use."""
    for route, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            for status in {*map(int, operation["responses"]), 500, 503}:
                metrics.HTTP_REQUESTS.labels(method.upper(), route, status)


async def serve(
    app: FastAPI, port: int, drain: Callable[[], Awaitable[None]], prepare: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Serve `app` until SIGTERM or SIGINT.

    Args:
        app: the application.
        port: the port on all interfaces.
        drain: awaited after the signal, while requests are still served; then the server stops accepting connections,
            finishes open requests and shuts down. A second signal skips the rest of it.
        prepare: awaited before the server listens.
    """
    initialise_counters(app)
    config = uvicorn.Config(
        app,
        host="0.0.0.0",  # noqa: S104 - a container's own network namespace
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,  # `netmon.client_address` knows whose headers are to be trusted
        timeout_graceful_shutdown=5,
        timeout_keep_alive=65,
    )
    server = _Server(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True) if stop.is_set() else stop.set())

    async def stopping() -> None:
        await stop.wait()
        log.info("stopping")
        app.state.draining = True
        try:
            await drain()
        finally:
            server.should_exit = True

    waiting = asyncio.create_task(stopping())
    try:
        if prepare:
            await prepare()
        await server.serve()
    finally:
        waiting.cancel()
    log.info("stopped")


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signal handling to `serve`."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting connections, and close existing ones later: requests may be in transit."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(CLOSE_DELAY_SECONDS)
        await super().shutdown(sockets)
