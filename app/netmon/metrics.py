"""Prometheus metrics. Label values are bounded: routes are templates, and no label is a path or a target.

Counters with known label values start at 0, so that `increase` sees the first event.
"""

import math
from typing import get_args

from prometheus_client import Counter, Gauge, Histogram, Info

from netmon.phases import Phase
from netmon.states import State

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
CACHES = ("hit", "miss", "bypass")
WAIT_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800)


def counter(name: str, help_text: str, label: str, values: tuple[str, ...]) -> Counter:
    """A counter with one label, initialised to 0 for its known values."""
    made = Counter(name, help_text, [label])
    for value in values:
        made.labels(value)
    return made


BUILD = Info("netmon_build", "The running version.")
EVENT_LOOP_BLOCKED = Counter(
    "netmon_event_loop_blocked_seconds_total",
    "Seconds by which the event loop was late, summed over checks once per second.",
)
HTTP_REQUESTS = Counter("http_requests_total", "HTTP requests.", ["method", "route", "status"])
LIMITED_REQUESTS = counter(
    "netmon_limited_requests_total",
    "Requests that were refused because their client exceeded its rate.",
    "limited",
    ("requests", "heartbeats"),
)
HTTP_DURATION = Histogram(
    "http_request_duration_seconds", "Duration of HTTP requests.", ["method", "route"], buckets=BUCKETS
)
JOBS_PUBLISHED = Counter("netmon_jobs_published_total", "Jobs that RabbitMQ confirmed.")
JOB_PUBLISH_FAILURES = Counter("netmon_job_publish_failures_total", "Jobs that RabbitMQ did not accept.")
JOBS_IN_FLIGHT = Gauge("netmon_jobs_in_flight", "Jobs that this worker has received and not yet finished.")
JOBS_REJECTED = Counter("netmon_jobs_rejected_total", "Malformed jobs that were dead-lettered.")
JOBS_RETURNED = Counter("netmon_jobs_returned_total", "Jobs that were requeued after a failure.")
JOB_WAIT = Histogram(
    "netmon_job_wait_seconds", "Time from the request of a probe until a worker starts it.", buckets=WAIT_BUCKETS
)
PROBES_SCHEDULED = Counter("netmon_scheduled_probes_total", "Scheduled probes of monitored targets.")
PROBES_SKIPPED = Counter(
    "netmon_skipped_probes_total",
    "Due probes that were skipped because the previous probe of the target was still running.",
)
PROBES = Counter("netmon_probes_total", "Executed probes.", ["outcome"])
PROBE_DURATION = Histogram(
    "netmon_probe_duration_seconds", "Duration of probes, that is of their last attempts.", buckets=BUCKETS
)
PROBE_PHASES = Histogram("netmon_probe_phase_seconds", "Duration of the phases of probes.", ["phase"], buckets=BUCKETS)
for phase in get_args(Phase):
    PROBE_PHASES.labels(phase)
HEARTBEATS = counter(
    "netmon_heartbeats_total",
    "Heartbeats received by this API, and silent periods found by this worker.",
    "outcome",
    ("stored", "repeated", "ignored", "refused", "unknown", "silent"),
)
EVENTS_PUBLISHED = Counter("netmon_events_published_total", "Events that Kafka acknowledged.")
EVENT_PUBLISH_FAILURES = Counter("netmon_event_publish_failures_total", "Failed attempts to publish events to Kafka.")
PROJECTED_EVENTS = counter(
    "netmon_projected_events_total",
    "Events consumed by the projection of latest states.",
    "outcome",
    ("applied", "stale", "unreadable"),
)
STATE_CHANGES = counter(
    "netmon_state_changes_total",
    "State changes of targets.",
    "state",
    get_args(State),
)
LATEST_LOOKUPS = counter("netmon_latest_lookups_total", "Lookups of latest states by cache status.", "cache", CACHES)
CACHE_LOOKUPS = Counter(
    "netmon_cache_lookups_total", "Lookups of responses about targets by cache status.", ["answer", "cache"]
)
for answer in ("overview", "targets", "target", "public", "statistics", "series", "uptime"):
    for cache in CACHES:
        CACHE_LOOKUPS.labels(answer, cache)
ALERTS_RECEIVED = counter(
    "netmon_alerts_received_total", "Alerts received from Alertmanager.", "status", ("firing", "resolved")
)

# Updated by `netmon.gauges`.
DEPENDENCY_UP = Gauge("netmon_dependency_up", "Whether a dependency is available (1) or not (0).", ["dependency"])
QUEUE_MESSAGES = Gauge(
    "netmon_queue_messages", "Ready messages in a RabbitMQ queue; one of probes.batches has up to 25 jobs.", ["queue"]
)
CONSUMER_LAG = Gauge(
    "netmon_consumer_lag_messages",
    "Events not yet consumed, in the partitions assigned to this consumer.",
    ["group", "topic"],
)
OLDEST_UNFINISHED = Gauge(
    "netmon_oldest_unfinished_probe_seconds",
    "Age of the oldest accepted probe without a result, less the time that its attempts may take; 0 without one.",
)
SCHEDULE_LAG = Gauge("netmon_schedule_lag_seconds", "How long the most overdue target has been due; 0 without one.")
OUTBOX_EVENTS = Gauge("netmon_outbox_events", "Committed events that are not published yet.")
OUTBOX_AGE = Gauge("netmon_outbox_oldest_event_seconds", "Age of the oldest event in the outbox; 0 without one.")
TARGETS = Gauge(
    "netmon_targets", "Targets by shown state: paused, maintenance, stale, or that of the last results.", ["state"]
)
OUTDATED_COLLATIONS = Gauge(
    "netmon_database_outdated_collations",
    "Collations in use whose version is not the one of the database server's libraries.",
)
OUTDATED_COLLATIONS.set(math.nan)
BACKLOG = (OLDEST_UNFINISHED, SCHEDULE_LAG, OUTBOX_EVENTS, OUTBOX_AGE)
for gauge in BACKLOG:
    gauge.set(math.nan)
