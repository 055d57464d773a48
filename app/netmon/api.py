"""The API: accepts probes, tells results and latest states, reports health."""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg import OperationalError
from psycopg.errors import UndefinedTable
from pydantic import BaseModel, Field
from redis import RedisError
from starlette.exceptions import HTTPException

from netmon import access, alerts, health, metrics, signals, tracing, web
from netmon.database import Database
from netmon.jobs import JobQueue, Link, QueueUnavailableError
from netmon.kafka import KafkaCheck
from netmon.kafka import access as kafka_access
from netmon.latest import LatestStates
from netmon.logs import logger
from netmon.models import Probe
from netmon.problems import problem
from netmon.settings import Settings
from netmon.supervision import deadline, describe, running
from netmon.targets import MAX_URL_LENGTH, InvalidTargetError, parse_target

DRAIN_SECONDS = 1.0
"""How long a stopping API still answers while it says that it is not ready, so that a proxy turns to another."""
ACCEPT_TIMEOUT = 5.0
PATIENCE = 3.0
"""How long a starting API waits for database and queue before it listens without them."""

log = logger(__name__)


class ProbeRequest(BaseModel):
    """What to probe."""

    url: Annotated[str, Field(max_length=MAX_URL_LENGTH, examples=["https://example.org/"])]


async def run(settings: Settings) -> None:
    """Serve until told to stop."""
    database = Database(settings.database_url, application="netmon-api")
    latest = LatestStates(settings.redis_url)
    link = Link(settings.rabbitmq_url, name="netmon-api")
    kafka = KafkaCheck(kafka_access(settings))
    lifecycle = health.Lifecycle()

    app = web.create_app(settings, title="Network Monitor")
    checks = health.HealthChecks(
        {"database": database.check, "redis": latest.check, "kafka": kafka.check, "rabbitmq": link.check}
    )
    app.include_router(health.router(settings, checks, lifecycle, needed=["database"]))
    writer = access.Writer(settings)
    app.include_router(access.router(writer))
    add_routes(app, database, JobQueue(link), latest, writer)
    received = alerts.ReceivedAlerts(database)
    app.include_router(alerts.router(received))

    async def drain() -> None:
        lifecycle.draining = True
        await asyncio.sleep(0 if settings.reload else DRAIN_SECONDS)

    async def prepare() -> None:
        # Clients find a new replica by its name as soon as it listens: it must be able to serve them then.
        with suppress(TimeoutError):
            await deadline(usable(database.check, link.check), PATIENCE)

    async with running(database.prepare(), link.run(), received.run(), signals.dependencies(checks)):
        await web.serve(app, settings.port, drain, prepare)
    for close in (database.close, latest.close, kafka.close):
        await close()


async def usable(*checks: health.Check) -> None:
    """Return once every check has passed, however often it has to be asked."""
    for check in checks:
        while True:
            try:
                await check()
            except Exception as error:
                log.debug("not usable yet", reason=describe(error))
                await asyncio.sleep(0.05)
            else:
                break


def add_routes(app: FastAPI, database: Database, jobs: JobQueue, latest: LatestStates, writer: access.Writer) -> None:
    """Give `app` the routes of probes and targets, and the answers for what they need being away."""

    @app.exception_handler(QueueUnavailableError)
    @app.exception_handler(OperationalError)
    @app.exception_handler(UndefinedTable)
    @app.exception_handler(TimeoutError)
    async def unavailable(_request: Request, error: Exception) -> JSONResponse:
        log.warning("request refused", reason=describe(error))
        detail = "The database is not available."
        if isinstance(error, QueueUnavailableError):
            detail = "The job queue is not available; no probe was queued."
            if error.unsure:
                detail = "The job queue did not confirm the probe; it may be carried out even so."
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)

    app.include_router(_routes(database, jobs, latest, writer))


def _routes(database: Database, jobs: JobQueue, latest: LatestStates, writer: access.Writer) -> APIRouter:
    routes = APIRouter(prefix="/api")

    @routes.post(
        "/probes",
        status_code=HTTPStatus.ACCEPTED,
        tags=["probes"],
        dependencies=[Depends(writer)],
        responses=access.RESPONSES,
    )
    async def request_probe(body: ProbeRequest, response: Response) -> Probe:
        """Accept a probe: it is stored and queued, and will be carried out."""
        try:
            target = parse_target(body.url)
        except InvalidTargetError as error:
            raise RequestValidationError([{"loc": ("body", "url"), "msg": str(error)}]) from None
        probe = Probe.of(target, trace_id=tracing.ids().get("trace_id"))

        async def accept() -> None:
            # The row becomes visible only if RabbitMQ has confirmed the job. Should the commit fail after that, the
            # job is carried out all the same, and its worker stores the whole record.
            async with database.queueing(probe):
                await jobs.publish(probe)

        await deadline(accept(), ACCEPT_TIMEOUT)
        log.info("probe accepted", probe=str(probe.id), target=probe.target)
        response.headers["Location"] = f"/api/probes/{probe.id}"
        return probe

    @routes.get("/probes/{probe_id}", tags=["probes"])
    async def get_probe(probe_id: UUID) -> Probe:
        """A probe and, once it is finished, its result."""
        probe = await database.get(probe_id)
        if probe is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no probe {probe_id}.")
        return probe

    @routes.get("/targets/{key}/latest", tags=["targets"])
    async def get_latest(key: str, response: Response) -> Probe:
        """The last finished probe of a target: from the cache, else from the database (see `X-Cache`)."""
        try:
            probe = await latest.get(key)
            cache = "hit" if probe else "miss"
        except (RedisError, OSError) as error:
            log.debug("cache bypassed", reason=describe(error))
            probe, cache = None, "bypass"
        metrics.LATEST_LOOKUPS.labels(cache).inc()
        tracing.annotate("netmon.cache", cache)
        if probe is None:
            probe = await database.latest(key)
            if probe is None:
                raise HTTPException(HTTPStatus.NOT_FOUND, f"No finished probe of {key} is known.")
            if cache == "miss":
                await _refill(latest, probe)
        response.headers["X-Cache"] = cache
        return probe

    return routes


async def _refill(latest: LatestStates, probe: Probe) -> None:
    try:
        await latest.put(probe)
    except (RedisError, OSError) as error:
        log.debug("cache not filled", reason=describe(error))
