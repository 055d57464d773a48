"""What every endpoint has in common: context, limits, metrics, a log line, errors, a server that ends gracefully."""

import asyncio
import re
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from uuid import uuid4

import uvicorn
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from netmon import metrics, problems, tracing
from netmon.logs import logger
from netmon.settings import Settings

MAX_BODY = 64 * 1024
QUIET_ROUTES = ("/api/health", "/api/metrics")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)

log = logger(__name__)


def create_app(settings: Settings, title: str) -> FastAPI:
    """An application with errors as problems and `/api/metrics`; what it serves beyond that is its caller's."""
    app = FastAPI(title=title, version=settings.version, openapi_url="/api/openapi.json", docs_url=None, redoc_url=None)
    app.add_middleware(RequestContext)
    problems.install(app)
    metrics.BUILD.info({"version": settings.version})

    if settings.enable_metrics:

        @app.get("/api/metrics", include_in_schema=False)
        async def scrape() -> Response:
            return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


class RequestContext:
    """Gives each request its trace and id, bounds its body, counts it, and logs it once it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = headers.get("x-request-id", "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = uuid4().hex
        with tracing.step(headers.get(tracing.HEADER)), bound_contextvars(request_id=request_id):
            await self._observed(scope, _bounded(receive), send, request_id)

    async def _observed(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception:
            log.exception("request failed", method=scope["method"], path=scope["path"])
            if status:
                raise
            await problems.problem(HTTPStatus.INTERNAL_SERVER_ERROR)(scope, receive, answer)

        seconds = time.perf_counter() - started
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        route = getattr(scope.get("route"), "path", "unmatched")
        metrics.HTTP_REQUESTS.labels(method, route, status).inc()
        metrics.HTTP_DURATION.labels(method, route).observe(seconds)
        write = log.debug if route.startswith(QUIET_ROUTES) else log.info
        write("request", method=method, path=scope["path"], status=status, ms=round(seconds * 1000, 2))


def _bounded(receive: Receive) -> Receive:
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {MAX_BODY} bytes.")
        return message

    return bounded


async def serve(app: ASGIApp, port: int, drain: Callable[[], Awaitable[None]]) -> None:
    """Serve `app` until SIGTERM or SIGINT.

    Then `drain` runs while requests are still answered, and once it has ended the server finishes what is open and
    closes. A second signal cuts the draining short.
    """
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
        try:
            await drain()
        finally:
            server.should_exit = True

    waiting = asyncio.create_task(stopping())
    try:
        await server.serve()
    finally:
        waiting.cancel()
    log.info("stopped")


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `serve`."""
        yield
