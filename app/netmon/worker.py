"""The worker: schedules and executes probes, stores results, publishes and consumes events."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from opentelemetry.trace import SpanKind

from netmon import alert_sync, events, gauges, health, incident_metrics, metrics, tracing, web
from netmon.abandoned import AbandonedProbes
from netmon.database import UNAVAILABLE_ERRORS, Database
from netmon.heartbeat_watch import HeartbeatWatch
from netmon.job_consumer import Delivery, JobConsumer
from netmon.jobs import JobQueue, Link
from netmon.kafka import RESULTS, STATES, KafkaCheck, access
from netmon.latest_states import LatestStates
from netmon.logs import logger
from netmon.maintenance_store import Upkeep
from netmon.models import Job, Outcome
from netmon.outbox import Relay
from netmon.probing import OUTCOMES, Prober
from netmon.result_store import ResultStore
from netmon.retention import Retention
from netmon.scheduler import Scheduler
from netmon.settings import Settings
from netmon.slots import Slots
from netmon.supervision import Backoff, describe, running
from netmon.target_models import StateChange

STOP_TIMEOUT_SECONDS = 20.0
"""How long a stopping worker may finish its jobs; unfinished jobs are requeued."""

PREFETCH_SURPLUS = 60
"""Jobs that are prefetched beyond the concurrent probes: while results are stored, other targets are probed."""

T = TypeVar("T")

log = logger(__name__)


async def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    database = Database(settings.database_url, application="netmon-worker")
    latest = LatestStates(settings.redis_url)
    link = Link(settings.rabbitmq_url, name="netmon-worker", batches=True)
    jobs = JobQueue(link)
    kafka = KafkaCheck(access(settings))
    lifecycle = health.Lifecycle()

    app = web.create_app(settings, title="Network Monitor worker")
    dependencies = {"database": database.check, "redis": latest.check, "kafka": kafka.check, "rabbitmq": link.check}
    checks = health.HealthChecks(dependencies)
    app.include_router(health.router(settings, checks, lifecycle, needed=["database", "rabbitmq"]))

    projection = events.Projection(latest)
    subscriptions = (
        events.Subscription(access(settings), RESULTS, events.PROJECTION, projection.decode, projection.apply),
        events.Subscription(
            access(settings), STATES, events.STATE_LOG, StateChange.model_validate_json, events.log_changes
        ),
    )
    relay = Relay(database, access(settings))
    scheduler = Scheduler(database, jobs)
    retention = Retention(database, settings.results_retention_days)
    upkeep, heartbeats = Upkeep(database), HeartbeatWatch(database)
    abandoned = AbandonedProbes(database, link)

    async with Prober(settings.guard, settings.version) as prober:
        slots = Slots(settings.worker_concurrency)
        runner = JobRunner(ResultStore(database), database, prober, slots)
        consumer = JobConsumer(link, jobs, runner, slots.limit + PREFETCH_SURPLUS)

        async def after_migration() -> None:
            await database.prepare()
            await asyncio.gather(
                consumer.run(),
                scheduler.run(),
                relay.run(),
                retention.run(),
                upkeep.run(),
                heartbeats.run(),
                abandoned.run(),
            )

        async def drain() -> None:
            lifecycle.draining = True
            await scheduler.stop()
            await consumer.stop(STOP_TIMEOUT_SECONDS)

        measuring = (
            gauges.dependencies(checks, *dependencies),
            gauges.queues(link),
            gauges.backlog(database),
            gauges.collations(database),
        )
        following = incident_metrics.export(database), alert_sync.run(database, settings.alertmanager_url)
        async with running(after_migration(), *(each.run() for each in subscriptions), *measuring, *following):
            await web.serve(app, settings.port, drain)
    for close in (database.close, latest.close, kafka.close):
        await close()


class JobRunner:
    """Executes jobs: probes the target and stores the result.

    Args:
        results: stores the results.
        database: has the results of redelivered jobs.
        prober: probes the targets.
        slots: limit the number of concurrent probes.
    """

    def __init__(self, results: ResultStore, database: Database, prober: Prober, slots: Slots) -> None:
        for outcome in OUTCOMES:
            metrics.PROBES.labels(outcome)  # starts at 0
        self._results = results
        self._database = database
        self._prober = prober
        self._slots = slots

    async def run(self, delivery: Delivery) -> None:
        """Execute a job; returns once its result is stored.

        A job that was delivered before and has a result is not probed again.
        """
        job, urgent = delivery.job, delivery.urgent
        if delivery.repeated and await self.finished([job.id]):
            log.info("redelivered job has a result already", probe=str(job.id), target=job.target)
            return
        async with self._slots.slot(urgent=urgent):
            if not delivery.repeated:
                metrics.JOB_WAIT.observe(max((datetime.now(UTC) - job.requested_at).total_seconds(), 0))
            outcome = await self._probe(job)
        finished = job.probe.finished(outcome)
        probe = await _with_retries(lambda: self._results.store(finished, job.generation, urgent=urgent))
        # Most probes succeed, and each line would cost as much as a tenth of one.
        write = log.info if urgent or probe.verdict != "good" else log.debug
        write(
            "probe finished",
            probe=str(probe.id),
            target=probe.target,
            status=probe.status,
            http_status=probe.http_status,
            error=probe.error,
            ms=probe.duration_ms,
        )

    async def finished(self, probes: Collection[UUID]) -> set[UUID]:
        """Those of these probes that have a result."""
        return await _with_retries(lambda: self._database.finished(probes))

    async def abandon(self, probe: UUID, reason: str) -> None:
        """End a probe as failed, because its job was dead-lettered; `netmon.abandoned` does so later if this fails."""
        try:
            await self._database.abandon(probe, reason)
        except Exception as error:
            log.warning("dead-lettered probe not ended", probe=str(probe), reason=describe(error))

    async def _probe(self, job: Job) -> Outcome:
        with tracing.span("probe", SpanKind.CLIENT, {"netmon.target": job.target}) as span:
            outcome = await self._prober.probe(job.plan)
            if outcome.http_status is not None:
                span.set_attribute("http.response.status_code", outcome.http_status)
            if outcome.error:
                # A failure of the target, not of this program: the span is not an error.
                span.set_attribute("netmon.outcome", outcome.error)
            metrics.PROBES.labels(outcome.error or outcome.status).inc()
            metrics.PROBE_DURATION.observe(outcome.duration_ms / 1000, tracing.exemplar())
            for phase, milliseconds in outcome.phases.items():
                metrics.PROBE_PHASES.labels(phase).observe(milliseconds / 1000)
        return outcome


async def _with_retries(query: Callable[[], Awaitable[T]]) -> T:
    """The result of a query, which is retried for as long as the database is unavailable."""
    backoff = Backoff("database")
    while True:
        try:
            return await query()
        except UNAVAILABLE_ERRORS as error:
            await backoff.failed(describe(error))
