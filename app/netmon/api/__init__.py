"""The API: accepts probes, tells results and latest states, reports health."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from psycopg import OperationalError
from psycopg.errors import UndefinedTable

from netmon import access, alerts, gauges, health, page, web
from netmon.api import incidents, probes, targets
from netmon.api.on_demand import Allowance, OnDemand
from netmon.cache import SharedCache
from netmon.database import Database
from netmon.guard import Guard
from netmon.jobs import JobQueue, Link, QueueUnavailableError
from netmon.kafka import KafkaCheck
from netmon.kafka import access as kafka_access
from netmon.latest_states import LatestStates
from netmon.logs import logger
from netmon.problems import problem
from netmon.settings import Settings
from netmon.supervision import deadline, describe, running
from netmon.target_reader import Reading
from netmon.target_store import Watched

DRAIN_SECONDS = 1.0
"""How long a stopping API still answers while it says that it is not ready, so that a proxy turns to another."""
PATIENCE = 3.0
"""How long a starting API waits for database and queue before it listens without them."""

log = logger(__name__)


async def run(settings: Settings) -> None:
    """Serve until told to stop."""
    database = Database(settings.database_url, application="netmon-api")
    latest, cache = LatestStates(settings.redis_url), SharedCache(settings.redis_url)
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
    reading = Reading(database, latest, cache)
    on_demand = OnDemand(database, JobQueue(link), Allowance(settings.on_demand_probes_per_second))
    add_routes(
        app,
        Services(
            database,
            Watched(database),
            reading,
            on_demand,
            writer,
            settings.guard,
            settings.probe_timeout_seconds,
        ),
    )
    received = alerts.ReceivedAlerts(database)
    app.include_router(alerts.router(received))
    app.include_router(page.router(reading, received if settings.status_page_alerts else None, settings.version))

    async def drain() -> None:
        lifecycle.draining = True
        await asyncio.sleep(0 if settings.reload else DRAIN_SECONDS)

    async def prepare() -> None:
        # Clients find a new replica by its name as soon as it listens: it must be able to serve them then.
        with suppress(TimeoutError):
            await deadline(usable(database.check, link.check), PATIENCE)

    async with running(database.prepare(), link.run(), received.run(), gauges.dependencies(checks)):
        await web.serve(app, settings.port, drain, prepare)
    for close in (database.close, latest.close, cache.close, kafka.close):
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


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes work with."""

    database: Database
    watched: Watched
    reading: Reading
    on_demand: OnDemand
    writer: access.Writer
    guard: Guard
    probe_timeout_seconds: float
    """Of a probe of a URL that nobody watches."""


def add_routes(app: FastAPI, services: Services) -> None:
    """Give `app` the routes of probes, targets and incidents, and the answers for what they need being away."""

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

    targets.install(app)
    reading, on_demand, writer = services.reading, services.on_demand, services.writer
    app.include_router(
        probes.router(services.database, on_demand, writer, services.guard, services.probe_timeout_seconds)
    )
    app.include_router(targets.router(reading, services.watched, on_demand, writer, services.guard.refuses))
    app.include_router(incidents.router(reading))
