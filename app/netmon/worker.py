"""The worker: takes jobs, probes targets, stores results, publishes events, projects them into the cache."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from opentelemetry.trace import SpanKind
from psycopg import OperationalError

from netmon import health, metrics, signals, tracing, web
from netmon.database import Database
from netmon.events import EventPublisher, Projection
from netmon.jobs import JobConsumer, Link
from netmon.kafka import KafkaCheck, access
from netmon.latest import LatestStates
from netmon.logs import logger
from netmon.models import Outcome, Probe
from netmon.probing import OUTCOMES, Prober
from netmon.settings import Settings
from netmon.supervision import Backoff, describe, running

STOP_TIMEOUT = 20.0
"""How long a stopping worker finishes its jobs (seconds); the others are given back to the queue."""

T = TypeVar("T")

log = logger(__name__)


async def run(settings: Settings) -> None:
    """Work until told to stop."""
    database = Database(settings.database_url, application="netmon-worker")
    latest = LatestStates(settings.redis_url)
    link = Link(settings.rabbitmq_url, name="netmon-worker")
    publisher = EventPublisher(access(settings))
    projection = Projection(access(settings), latest)
    kafka = KafkaCheck(access(settings))
    lifecycle = health.Lifecycle()

    app = web.create_app(settings, title="Network Monitor worker")
    checks = health.HealthChecks(
        {"database": database.check, "redis": latest.check, "kafka": kafka.check, "rabbitmq": link.check}
    )
    app.include_router(health.router(settings, checks, lifecycle, needed=["database", "rabbitmq"]))

    async with Prober(settings.probe_timeout_seconds, settings.version) as prober:
        work = Work(database, prober, publisher)
        consumer = JobConsumer(link, work.carry_out, settings.worker_concurrency)

        async def consume() -> None:
            await database.prepare()
            await consumer.run()

        async def drain() -> None:
            lifecycle.draining = True
            await consumer.stop(STOP_TIMEOUT)

        gauges = signals.dependencies(checks), signals.queues(link), signals.unfinished(database)
        async with running(consume(), publisher.run(), projection.run(), *gauges):
            await web.serve(app, settings.port, drain)
    for close in (database.close, latest.close, kafka.close):
        await close()


class Work:
    """Carries out one job: probe, record, event."""

    def __init__(self, database: Database, prober: Prober, publisher: EventPublisher) -> None:
        for outcome in OUTCOMES:
            metrics.PROBES.labels(outcome)  # begins at 0
        self._database = database
        self._prober = prober
        self._publisher = publisher

    async def carry_out(self, job: Probe, redelivered: bool) -> None:
        """Probe the target, store the result, publish the event; return when all of it is done.

        A job that was delivered before may have its result already: it is not probed again then, but its event is
        published, as nobody knows whether the worker before came to that.
        """
        probe = await self._known(job) if redelivered else None
        if probe is None:
            if not redelivered:
                metrics.JOB_WAIT.observe(max((datetime.now(UTC) - job.requested_at).total_seconds(), 0))
            probe = await self._store(job.finished(await self._probe(job)))
        await self._publisher.publish(probe)
        log.info(
            "probe finished",
            probe=str(probe.id),
            target=probe.target,
            status=probe.status,
            http_status=probe.http_status,
            error=probe.error,
            ms=probe.duration_ms,
        )

    async def _probe(self, job: Probe) -> Outcome:
        with tracing.span("probe", SpanKind.CLIENT, {"netmon.target": job.target}) as span:
            outcome = await self._prober.probe(job.url)
            if outcome.http_status is not None:
                span.set_attribute("http.response.status_code", outcome.http_status)
            if outcome.error:
                # Of the target, not of this program: the span is no failure.
                span.set_attribute("netmon.outcome", outcome.error)
            metrics.PROBES.labels(outcome.error or outcome.status).inc()
            metrics.PROBE_DURATION.observe(outcome.duration_ms / 1000, tracing.exemplar())
        return outcome

    async def _known(self, job: Probe) -> Probe | None:
        stored = await _patiently(lambda: self._database.get(job.id))
        return stored if stored and stored.status != "queued" else None

    async def _store(self, probe: Probe) -> Probe:
        return await _patiently(lambda: self._database.finish(probe))


async def _patiently(query: Callable[[], Awaitable[T]]) -> T:
    """The result of a query, however long the database is away."""
    backoff = Backoff("database")
    while True:
        try:
            return await query()
        except (OperationalError, TimeoutError) as error:
            await backoff.failed(describe(error))
