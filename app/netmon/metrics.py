"""What Prometheus scrapes. Labels are bounded: routes by their template, never by their path or target."""

from prometheus_client import Counter, Gauge, Histogram, Info

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

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
PROBES = Counter("netmon_probes_total", "Probes carried out.", ["outcome"])
PROBE_DURATION = Histogram("netmon_probe_duration_seconds", "Time a probe took.", buckets=BUCKETS)
EVENTS_PUBLISHED = Counter("netmon_events_published_total", "Events that Kafka acknowledged.")
EVENTS_UNPUBLISHED = Counter("netmon_event_publish_failures_total", "Attempts to publish an event that failed.")
PROJECTED = Counter("netmon_projected_events_total", "Events applied to the latest states.", ["outcome"])
LATEST_LOOKUPS = Counter("netmon_latest_lookups_total", "Where latest states were read from.", ["cache"])
