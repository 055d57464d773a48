"""What Prometheus scrapes. Labels are bounded: routes by their template, never by their path or target.

Labels whose values are known begin at 0, so that the first increase is one.
"""

import math

from prometheus_client import Counter, Gauge, Histogram, Info

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
CACHES = ("hit", "miss", "bypass")
WAIT_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800)


def counter(name: str, about: str, label: str, values: tuple[str, ...]) -> Counter:
    """A counter with one label, its known values at 0."""
    made = Counter(name, about, [label])
    for value in values:
        made.labels(value)
    return made


BUILD = Info("netmon_build", "The version that is running.")
HTTP_REQUESTS = Counter("http_requests_total", "HTTP requests answered.", ["method", "route", "status"])
HTTP_DURATION = Histogram(
    "http_request_duration_seconds", "Time to answer an HTTP request.", ["method", "route"], buckets=BUCKETS
)
JOBS_PUBLISHED = Counter("netmon_jobs_published_total", "Jobs that RabbitMQ confirmed.")
JOBS_UNPUBLISHED = Counter("netmon_job_publish_failures_total", "Jobs that RabbitMQ did not take.")
JOBS_IN_FLIGHT = Gauge("netmon_jobs_in_flight", "Jobs that this worker has taken and not yet finished.")
JOBS_REJECTED = Counter("netmon_jobs_rejected_total", "Jobs put aside as unreadable.")
JOBS_RETURNED = Counter("netmon_jobs_returned_total", "Jobs given back to the queue after a failure.")
JOB_WAIT = Histogram(
    "netmon_job_wait_seconds", "Time from a probe's acceptance until a worker took it.", buckets=WAIT_BUCKETS
)
PROBES_SCHEDULED = Counter("netmon_scheduled_probes_total", "Probes of watched targets that became jobs.")
PROBES_SKIPPED = Counter(
    "netmon_skipped_probes_total", "Due probes left out because the target's last one was still under way."
)
PROBES = Counter("netmon_probes_total", "Probes carried out.", ["outcome"])
PROBE_DURATION = Histogram("netmon_probe_duration_seconds", "Time a probe took.", buckets=BUCKETS)
EVENTS_PUBLISHED = Counter("netmon_events_published_total", "Events that Kafka acknowledged.")
EVENTS_UNPUBLISHED = Counter("netmon_event_publish_failures_total", "Attempts to publish an event that failed.")
PROJECTED = counter(
    "netmon_projected_events_total",
    "Events applied to the latest states.",
    "outcome",
    ("applied", "stale", "unreadable"),
)
STATE_CHANGES = counter(
    "netmon_state_changes_total",
    "Events of targets that came into another state.",
    "state",
    ("unknown", "up", "degraded", "down"),
)
LATEST_LOOKUPS = counter("netmon_latest_lookups_total", "Where latest states were read from.", "cache", CACHES)
CACHE_LOOKUPS = Counter(
    "netmon_cache_lookups_total", "Where answers about targets were read from.", ["answer", "cache"]
)
for answer in ("targets", "target", "statistics", "series"):
    for cache in CACHES:
        CACHE_LOOKUPS.labels(answer, cache)
ALERTS_RECEIVED = counter(
    "netmon_alerts_received_total", "Alerts that Alertmanager delivered.", "status", ("firing", "resolved")
)

# Of what lies outside, see `netmon.gauges`.
DEPENDENCY_UP = Gauge("netmon_dependency_up", "Whether a dependency answers (1) or not (0).", ["dependency"])
QUEUE_MESSAGES = Gauge("netmon_queue_messages", "Messages that wait in a queue of RabbitMQ.", ["queue"])
CONSUMER_LAG = Gauge(
    "netmon_consumer_lag_messages", "Events that are not consumed yet, of this consumer's share.", ["group", "topic"]
)
OLDEST_UNFINISHED = Gauge(
    "netmon_oldest_unfinished_probe_seconds",
    "Age of the oldest accepted probe that has no result, less the time that its attempts may take; 0 without one.",
)
SCHEDULE_LAG = Gauge("netmon_schedule_lag_seconds", "For how long the target has been due that waits longest.")
OUTBOX_EVENTS = Gauge("netmon_outbox_events", "Events that are committed and not published yet.")
OUTBOX_AGE = Gauge("netmon_outbox_oldest_event_seconds", "Age of the oldest event in the outbox; 0 without one.")
TARGETS = Gauge("netmon_targets", "Targets by their state; those that are not enabled are paused.", ["state"])
RECORDED = (OLDEST_UNFINISHED, SCHEDULE_LAG, OUTBOX_EVENTS, OUTBOX_AGE)
for gauge in RECORDED:
    gauge.set(math.nan)
