"""The API service: targets, probes, heartbeats, incidents, alerts, health and the status page."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from psycopg import OperationalError
from psycopg.errors import UndefinedTable

from netmon import access, alerts, gauges, health, page, web
from netmon.api import bulk, configuration, heartbeats, incidents, maintenance, probes, status, targets, uptime
from netmon.api.on_demand import OnDemandProbes, RateLimiter
from netmon.bulk_store import BulkStore
from netmon.cache import SharedCache
from netmon.database import Database
from netmon.guard import Guard
from netmon.heartbeat_store import HeartbeatStore, ReceptionBeat
from netmon.jobs import JobQueue, Link, QueueUnavailableError
from netmon.kafka import KafkaCheck
from netmon.kafka import access as kafka_access
from netmon.latest_states import LatestStates
from netmon.logs import logger
from netmon.maintenance_store import MaintenanceStore
from netmon.problems import problem
from netmon.settings import Settings
from netmon.supervision import deadline, describe, running
from netmon.target_reader import TargetReader
from netmon.target_store import TargetStore

DRAIN_SECONDS = 1.0
"""How long a stopping API continues to answer while it reports that it is not ready, so that the proxy fails over."""
STARTUP_WAIT_SECONDS = 3.0
"""How long a starting API waits for the database and the queue before it listens without them."""

log = logger(__name__)


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    database = Database(settings.database_url, application="netmon-api")
    latest, cache = LatestStates(settings.redis_url), SharedCache(settings.redis_url)
    link = Link(settings.rabbitmq_url, name="netmon-api")
    kafka = KafkaCheck(kafka_access(settings))
    lifecycle = health.Lifecycle()

    app = web.create_app(settings, title="Network Monitor")
    dependencies = {"database": database.check, "redis": latest.check, "kafka": kafka.check, "rabbitmq": link.check}
    checks = health.HealthChecks({**dependencies, "probing": database.check_probing})
    app.include_router(health.router(settings, checks, lifecycle, needed=["database"]))
    auth = access.TokenAuth(settings)
    app.include_router(access.router(auth))
    reader = TargetReader(database, latest, cache)
    on_demand = OnDemandProbes(database, JobQueue(link), RateLimiter(settings.on_demand_probes_per_second))
    windows = MaintenanceStore(database)
    add_routes(
        app,
        Services(
            database,
            TargetStore(database),
            windows,
            reader,
            on_demand,
            auth,
            settings.guard,
            settings.probe_timeout_seconds,
            BulkStore(database),
            HeartbeatStore(database),
        ),
    )
    received = alerts.ReceivedAlerts(database)
    app.include_router(alerts.router(received))
    app.include_router(
        page.router(reader, windows, received if settings.status_page_alerts else None, settings.version)
    )

    async def drain() -> None:
        lifecycle.draining = True
        await asyncio.sleep(0 if settings.reload else DRAIN_SECONDS)

    async def prepare() -> None:
        # Clients are routed to a new replica as soon as it listens, so it must be able to serve them then.
        with suppress(TimeoutError):
            await deadline(until_healthy(database.check, link.check), STARTUP_WAIT_SECONDS)

    measuring = gauges.dependencies(checks, *dependencies), gauges.targets(database)
    receiving = ReceptionBeat(database, lifecycle)
    async with running(database.prepare(), link.run(), received.run(), receiving.run(), *measuring):
        await web.serve(app, settings.port, drain, prepare)
    for close in (database.close, latest.close, cache.close, kafka.close):
        await close()


async def until_healthy(*checks: health.Check) -> None:
    """Retry each check until it passes."""
    for check in checks:
        while True:
            try:
                await check()
            except Exception as error:
                log.debug("dependency not available yet", reason=describe(error))
                await asyncio.sleep(0.05)
            else:
                break


@dataclass(frozen=True, slots=True)
class Services:
    """The collaborators of the routes."""

    database: Database
    targets: TargetStore
    maintenance: MaintenanceStore
    reader: TargetReader
    on_demand: OnDemandProbes
    auth: access.TokenAuth
    guard: Guard
    probe_timeout_seconds: float
    """Timeout of a probe of a URL that is not a monitored target."""
    bulk: BulkStore
    heartbeats: HeartbeatStore


def add_routes(app: FastAPI, services: Services) -> None:
    """Add the routes to `app`, and the 503 responses for unavailable dependencies."""

    @app.exception_handler(QueueUnavailableError)
    @app.exception_handler(OperationalError)
    @app.exception_handler(UndefinedTable)
    @app.exception_handler(TimeoutError)
    async def unavailable(_request: Request, error: Exception) -> JSONResponse:
        log.warning("request rejected, dependency unavailable", reason=describe(error))
        detail = "The database is unavailable."
        if isinstance(error, QueueUnavailableError):
            detail = "The job queue is unavailable; no probe was queued."
            if error.unsure:
                detail = "The job queue did not confirm the probe, which may be executed nevertheless."
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)

    targets.install(app)
    bulk.install(app)
    maintenance.install(app)
    heartbeats.install(app)
    reader, on_demand, auth = services.reader, services.on_demand, services.auth
    app.include_router(
        probes.router(services.database, on_demand, auth, services.guard, services.probe_timeout_seconds)
    )
    app.include_router(targets.router(reader, services.targets, on_demand, auth, services.guard.refuses))
    app.include_router(bulk.router(reader, services.bulk, auth, services.guard.refuses))
    app.include_router(configuration.router(reader, services.bulk, auth, services.guard.refuses))
    app.include_router(heartbeats.urls(services.heartbeats, services.targets, auth))
    app.include_router(heartbeats.router(services.heartbeats))
    app.include_router(maintenance.router(reader, services.maintenance, auth))
    app.include_router(incidents.router(reader))
    app.include_router(uptime.router(reader))
    app.include_router(status.router(reader))
