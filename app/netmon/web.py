"""What every endpoint has in common: context, limits, metrics, a log line, errors, a server that ends gracefully."""

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
from netmon.logs import logger
from netmon.settings import Settings

MAX_BODY = 64 * 1024
LARGE_BODIES = {"/api/alerts": 1024 * 1024}
"""Alertmanager puts all alerts of a group into one request."""
QUIET_ROUTES = ("/api/health", "/api/metrics", "/static")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LAST_REQUESTS = 0.5
"""Seconds in which whoever has connected before the server refuses others can send a request; a proxy does so at once,
unless it waits for the processor."""

TAGS = {
    "targets": "What is watched, and what is known of it. Reading is open, writing needs a token.",
    "probes": "Single probes that somebody asks for.",
    "incidents": "Times during which a target was not up.",
    "alerts": "Alerts that Alertmanager delivered.",
    "access": "Whether a token is right.",
    "health": "How the service itself is.",
}
"""The parts of the API, as its description has them."""

log = logger(__name__)


def create_app(settings: Settings, title: str) -> FastAPI:
    """An application with errors as problems and `/api/metrics`; what it serves beyond that is its caller's."""
    app = FastAPI(
        title=title,
        version=settings.version,
        openapi_tags=[{"name": name, "description": about} for name, about in TAGS.items()],
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        # `RequestContext` does this, at half the cost, and with the same names as metrics and log lines.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.draining = False
    app.add_middleware(RequestContext)
    problems.install(app)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics.BUILD.info({"version": settings.version})

    if settings.enable_metrics:

        @app.get("/api/metrics", include_in_schema=False)
        async def scrape(request: Request) -> Response:
            # Prometheus asks for the OpenMetrics format, which carries exemplars.
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
            return Response(encode(REGISTRY), media_type=content_type)

    return app


class RequestContext:
    """Gives each request its id and its span, bounds its body, counts it, and logs it once it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(Headers(scope=scope))
        headers[tracing.REQUEST_ID] = tracing.request_id(headers) or uuid4().hex
        receive = _bounded(receive, LARGE_BODIES.get(scope["path"], MAX_BODY))
        request = _Request(scope["method"] if scope["method"] in METHODS else "OTHER", scope["path"])
        if request.path.startswith(QUIET_ROUTES):
            # A health check or a scrape: logged for debugging, traced only if it fails.
            with bound_contextvars(request_id=headers[tracing.REQUEST_ID]), tracing.quiet():
                await self._answer(request, scope, receive, send)
            if request.failed:
                tracing.record_failure(request.name, request.seconds, request.attributes)
            return
        with tracing.span(request.method, SpanKind.SERVER, carrier=headers) as span:
            await self._answer(request, scope, receive, send)
            span.update_name(request.name)
            span.set_attributes(request.attributes)
            if request.failed:
                tracing.failed(span, str(request.status))

    async def _answer(self, request: "_Request", scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = get_contextvars()["request_id"]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                if scope["app"].state.draining:
                    # A proxy that kept the connection might send its next request just when it is closed.
                    headers["Connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception:
            log.exception("request failed", method=scope["method"], path=scope["path"])
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
    """What is known of a request once it is answered."""

    method: str
    path: str
    route: str = "unmatched"
    status: int = 0
    seconds: float = 0

    @property
    def name(self) -> str:
        """Of its span: few possible ones."""
        return f"{self.method} {self.route}"

    @property
    def failed(self) -> bool:
        """Whether the fault is on this side."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def attributes(self) -> dict[str, str | int]:
        """Of the semantic conventions for HTTP servers."""
        return {
            "http.request.method": self.method,
            "http.route": self.route,
            "http.response.status_code": self.status,
            "url.path": self.path,
            "url.scheme": "http",
        }


def _bounded(receive: Receive, limit: int) -> Receive:
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {limit} bytes.")
        return message

    return bounded


def count_from_zero(app: FastAPI) -> None:
    """Let the counts of each route begin at 0 for the answers that alerts look at."""
    for route, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            for status in {*map(int, operation["responses"]), 500, 503}:
                metrics.HTTP_REQUESTS.labels(method.upper(), route, status)


async def serve(
    app: FastAPI, port: int, drain: Callable[[], Awaitable[None]], prepare: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Listen once `prepare` has ended, and serve `app` until SIGTERM or SIGINT.

    Then `drain` runs while requests are still answered, and once it has ended the server lets nobody in any more,
    finishes what is open and closes. A second signal cuts the draining short.
    """
    count_from_zero(app)
    config = uvicorn.Config(
        app,
        host="0.0.0.0",  # noqa: S104 - a container's own network namespace
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
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
        """Leave the signals to `serve`."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new connections, and close the others only after a while: a request may be on its way on each."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(LAST_REQUESTS)
        await super().shutdown(sockets)
