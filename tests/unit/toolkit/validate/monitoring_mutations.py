"""Seeded mistakes in the configuration of monitoring, in the form of ``mutations.py``."""

from __future__ import annotations

from tests.unit.toolkit.validate.mutations import (
    ALERTMANAGER,
    EXAMPLE,
    MANIFEST,
    MONITORING_IMAGES,
    PROMETHEUS,
    Mutation,
)

RULES, SCRAPE, TESTS = "monitoring/prometheus/rules", "monitoring/prometheus/scrape", "monitoring/prometheus/tests"
PLATFORM, REDIS, SLO = f"{RULES}/platform.yml", f"{RULES}/redis.yml", f"{RULES}/slo.yml"
EXPECTED = "monitoring/prometheus/expected-absent.yml"
COLLECTOR, LOKI, TEMPO = (
    "monitoring/otel-collector/collector.yml",
    "monitoring/loki/loki.yml",
    "monitoring/tempo/tempo.yml",
)
GRAFANA, BLACKBOX = "monitoring/grafana/grafana.ini", "monitoring/blackbox/blackbox.yml"
ROUTING, TEMPLATE = "monitoring/alertmanager/routing_tests.yml", "monitoring/alertmanager/templates/netmon.tmpl"
RUNBOOK, INDEX = "docs/alerts/RedisDown.md", "docs/alerts/README.md"
JAEGER, CADDYFILE = "monitoring/jaeger/jaeger.yml", "config/caddy/Caddyfile"

# fmt: off
MONITORING_MUTATIONS = (
    # What is scraped.
    Mutation("scrape of an unknown service", "scrapes.targets", f"{SCRAPE}/rabbitmq.yml", "rabbitmq:15692", "rabbit:15692", "rabbit is no service", "rabbit:15692"),
    Mutation("scrape across networks", "scrapes.targets", f"{SCRAPE}/redis.yml", "redis-exporter:9121", "redis:6379", "prometheus is on no network of redis", "redis:6379"),
    Mutation("replicas of an unknown service", "scrapes.targets", f"{SCRAPE}/app.yml", "names: [worker]", "names: [workers]", "workers is no service", "workers"),
    Mutation("probe of an unknown service", "scrapes.targets", f"{SCRAPE}/blackbox.yml", "http://app:3000", "http://api:3000", "api is no service", "http://api"),
    Mutation("alerts to nobody", "scrapes.targets", PROMETHEUS, "alertmanager:9093", "alerts:9093", "alerts is no service", "alerts:9093"),
    Mutation("rules that are not loaded", "scrapes.loaded", PROMETHEUS, "  - rules/*.yml", "  - rule/*.yml", "no rule_files"),
    Mutation("scrape jobs that are not loaded", "scrapes.loaded", PROMETHEUS, "  - scrape/*.yml", "  - scrapes/*.yml", "no scrape_config_files"),
    Mutation("Jaeger's job that is not loaded", "scrapes.loaded", PROMETHEUS, "/etc/prometheus-jaeger/scrape*.yml", "/etc/jaeger/scrape*.yml", "no scrape_config_files"),
    Mutation("the proxy's job that is not loaded", "scrapes.loaded", PROMETHEUS, "/etc/prometheus-proxy/scrape*.yml", "/etc/proxy/scrape*.yml", "no scrape_config_files"),
    Mutation("probe of what production lacks", "scrapes.targets", "monitoring/proxy/scrape.yml", "https://proxy:8443", "https://front:8443", "front is no service", "https://front"),
    Mutation("probe across networks", "scrapes.targets", "monitoring/proxy/scrape.yml", "https://proxy:8443", "https://db:5432", "blackbox-exporter is on no network of db", "https://db"),
    Mutation("exporter that nobody scrapes", "scrapes.services", f"{SCRAPE}/redis.yml", "job_name: redis-exporter", "job_name: redis", "no job scrapes redis-exporter"),
    Mutation("job without a service", "scrapes.services", f"{SCRAPE}/kafka.yml", "job_name: kafka", "job_name: broker", "broker is no service", "broker"),
    Mutation("rules of an absent service", "scrapes.replaced", MONITORING_IMAGES, "target: /etc/prometheus/rules/tempo.yml", "target: /etc/prometheus/rules/tempo2.yml", "nothing replaces monitoring/prometheus/rules/tempo.yml"),
    Mutation("scrape job of an absent service", "scrapes.replaced", MONITORING_IMAGES, "target: /etc/prometheus/scrape/loki.yml", "target: /etc/prometheus/scrape/lokki.yml", "nothing replaces monitoring/prometheus/scrape/loki.yml"),
    Mutation("excuse that is not needed", "scrapes.services", EXPECTED, "  db: Its", "  app: Its", "app is scraped", "app:"),
    Mutation("excuse for nothing", "scrapes.services", EXPECTED, "  db: Its", "  mysql: Its", "mysql is no service", "mysql:"),
    Mutation("job of an absent service among others", "scrapes.apart", f"{SCRAPE}/kafka.yml", "job_name: kafka", "job_name: kafka-exporter", "belongs into kafka-exporter.yml", "kafka-exporter"),
    Mutation("alert of an absent service among others", "scrapes.apart", REDIS, "service: redis", "service: loki", "belongs into loki.yml", "service: loki"),
    Mutation("scrapes that come too rarely", "scrapes.intervals", PROMETHEUS, "scrape_interval: 3s", "scrape_interval: 15s", "every 15s is too rare", "scrape_interval"),
    Mutation("collector that nobody asks for its health", "services.health", f"{SCRAPE}/blackbox.yml", "http://otel-collector:13133/", "http://otel-collector:13133/health", "probes http://otel-collector:13133/"),
    # What alerts say.
    Mutation("alert without a severity", "alerts.labels", REDIS, "severity: critical", "level: critical", "RedisDown: it has no severity", "labels"),
    Mutation("severity that no route knows", "alerts.labels", REDIS, "severity: critical", "severity: page", "the severity page is none of", "severity: page"),
    Mutation("alert without a service", "alerts.labels", f"{TESTS}/containers_test.yml", "service: db", "component: db", "ContainerStopped: it has no service"),
    Mutation("alert of an unknown service", "alerts.labels", REDIS, "service: redis", "service: cache", "there is no service cache", "cache"),
    Mutation("alert without a summary", "alerts.texts", REDIS, "summary: Redis is down", "title: Redis is down", "RedisDown: it has no summary", "annotations"),
    Mutation("alert without a description", "alerts.texts", PLATFORM, "description: This alert always", "details: This alert always", "Watchdog: it has no description", "annotations"),
    Mutation("threshold without its value", "alerts.texts", REDIS, "{{ $value | humanizePercentage }} of maxmemory is", "Almost all of maxmemory is", "does not tell the value", "description"),
    Mutation("alert without a dashboard", "alerts.texts", REDIS, "/d/netmon-redis\"", "/redis\"", "leads to no dashboard", "dashboard_url"),
    Mutation("runbook of another alert", "alerts.texts", REDIS, "/RedisDown.md", "/RedisAway.md", "RedisDown: its runbook_url is not", "runbook_url"),
    Mutation("alert without a runbook", "runbooks.shape", REDIS, "alert: RedisDown", "alert: RedisGone", "docs/alerts/RedisGone.md does not exist"),
    Mutation("runbook without an alert", "runbooks.shape", REDIS, "alert: RedisDown", "alert: RedisGone", "no alert has this name"),
    Mutation("runbook without a mitigation", "runbooks.shape", RUNBOOK, "## Mitigation", "## Fix", "the section Mitigation is missing"),
    Mutation("runbook with sections in another order", "runbooks.shape", RUNBOOK, "## Meaning", "## Impact\n\n## Meaning", "the sections are not Meaning, Impact"),
    Mutation("runbook with another title", "runbooks.shape", RUNBOOK, "# RedisDown", "# Redis is down", "the title is not RedisDown"),
    Mutation("runbook that the index lacks", "runbooks.shape", INDEX, "(RedisDown.md)", "(Redis.md)", "RedisDown is missing in this index"),
    Mutation("runbook that names an unknown dashboard", "runbooks.dashboards", RUNBOOK, "Dashboard: *Redis*", "Dashboard: *Redis*, *Monitoring*", "there is no dashboard Monitoring", "Dashboard:"),
    Mutation("runbook that names another dashboard than its alert", "runbooks.dashboards", RUNBOOK, "Dashboard: *Redis*", "Dashboard: *Kafka*", "the alert links to the dashboard Redis, which is not named here", "Dashboard:"),
    Mutation("alert that links to another dashboard than its runbook", "runbooks.dashboards", REDIS, "/d/netmon-redis\"", "/d/netmon-kafka\"", "the alert links to the dashboard Kafka, which is not named here"),
    Mutation("runbook without a dashboard", "runbooks.dashboards", RUNBOOK, "Dashboard: *Redis*.", "See *Redis*.", "no line begins with “Dashboard:”"),
    Mutation("pending period that the index lacks", "documents.tables", REDIS, "for: 3s", "for: 5s", "the table redis is out of date"),
    Mutation("severity that the index lacks", "documents.tables", REDIS, "severity: critical", "severity: warning", "the table redis is out of date"),
    Mutation("meaning that the index lacks", "documents.tables", RUNBOOK, "redis-exporter cannot connect to Redis", "The exporter cannot connect to Redis", "the table redis is out of date"),
    Mutation("dashboard that the documentation lacks", "documents.tables", "monitoring/grafana/dashboards/Platform/netmon-monitoring.json", '"title": "Monitoring stack"', '"title": "Monitoring"', "the table dashboards is out of date", "made: dashboards"),
    Mutation("alert that no test has seen", "alerts.tests", REDIS, "alert: RedisDown", "alert: RedisAway", "RedisAway: no test has seen it firing or silent", "RedisAway"),
    Mutation("rules that no healthy system is held against", "alerts.tests", f"{TESTS}/healthy_test.yml", "../rules/*.yml", "../rules/slo.yml", "redis.yml is missing"),
    Mutation("for: that is too long", "alerts.timing", REDIS, "for: 3s", "for: 1m", "RedisDown: for: 1m is not between", "for: 1m"),
    Mutation("for: shorter than a scrape", "alerts.timing", REDIS, "for: 3s", "for: 1s", "RedisDown: for: 1s is not between", "for: 1s"),
    Mutation("availability that is looked at too rarely", "alerts.timing", REDIS, "interval: 1s", "interval: 15s", "RedisDown: the interval of its group", "interval"),
    Mutation("alert in small letters", "alerts.names", REDIS, "alert: RedisDown", "alert: redis_down", "an alert is named LikeThis", "redis_down"),
    Mutation("recorded series without a level", "alerts.names", SLO, "record: slo:api_requests:rate5m", "record: api_requests_rate5m", "a recorded series is named level:metric", "api_requests_rate5m"),
    Mutation("recorded series that is renamed", "alerts.names", SLO, "record: slo:api_requests:rate5m", "record: slo:requests:rate5m", "no rule records slo:api_requests:rate5m"),
    Mutation("sum of what need not be there", "alerts.sums", "monitoring/jaeger/rules.yml", "increase(jaeger_exporter_send_failed_spans_total[1m]) > 0", "increase(jaeger_exporter_send_failed_spans_total[1m]) + increase(jaeger_receiver_refused_spans_total[1m]) > 0", "JaegerSpansLost: the sum is empty where increase(jaeger_receiver_refused_spans_total", "expr"),
    # Who is told.
    Mutation("default receiver that sends", "alerting.receivers", ALERTMANAGER, "  receiver: nobody", "  receiver: slack", "the default receiver slack sends something: slack_configs", "receiver: slack"),
    Mutation("receiver without a route", "alerting.receivers", ALERTMANAGER, "          receiver: pagerduty", "          receiver: slack", "no route leads to the receiver pagerduty", "pagerduty"),
    Mutation("route that swallows", "alerting.routes", ALERTMANAGER, "          receiver: webhook\n          continue: true", "          receiver: webhook", "the route to webhook keeps alerts"),
    Mutation("password in the file", "alerting.secrets", ALERTMANAGER, "smtp_auth_password_file: /etc/alertmanager-secrets/smtp_password", "smtp_auth_password: letmein", "smtp_auth_password is a secret", "letmein"),
    Mutation("address of a channel in the file", "alerting.secrets", ALERTMANAGER, "url_file: /etc/alertmanager-secrets/webhook_url", "url: https://hooks.example.org/x", "of no service of the stack", "hooks.example.org"),
    Mutation("key of a channel in the file", "alerting.secrets", ALERTMANAGER, "routing_key_file: /etc/alertmanager-secrets/pagerduty_routing_key", "routing_key: abc", "routing_key is a secret", "routing_key"),
    # The ways of logs and traces.
    Mutation("memory limiter at the end", "pipelines.collector", COLLECTOR, "processors: [memory_limiter, resource, batch]", "processors: [resource, batch, memory_limiter]", "the first processor of traces is resource", "processors"),
    Mutation("processor that nothing uses", "pipelines.collector", COLLECTOR, "processors:\n  #", "processors:\n  batch/spare:\n  #", "no pipeline uses batch/spare", "batch/spare"),
    Mutation("reading that is forgotten", "pipelines.collector", COLLECTOR, "    storage: file_storage\n    # A pipeline", "    # A pipeline", "file_log does not keep on disk how far it has read"),
    Mutation("queue in memory", "pipelines.collector", COLLECTOR, "    sending_queue:\n      storage: file_storage\n", "    sending_queue:\n", "does not keep on disk what it cannot deliver"),
    Mutation("delivery that is tried once", "pipelines.collector", COLLECTOR, "    retry_on_failure:\n      # Retry forever", "    retry_on_failure:\n      enabled: false\n      # Retry forever", "otlp_http/logs does not try again", "retry_on_failure"),
    Mutation("samples that overtake each other", "pipelines.collector", COLLECTOR, "      num_consumers: 1\n", "", "samples of otlp_http/metrics overtake each other"),
    Mutation("store of the past", "pipelines.loki", LOKI, "store: tsdb", "store: boltdb-shipper", "the store is boltdb-shipper", "boltdb-shipper"),
    Mutation("schema of the past", "pipelines.loki", LOKI, "schema: v13", "schema: v11", "the schema is v11", "v11"),
    Mutation("log lines for ever", "pipelines.loki", LOKI, "retention_enabled: true", "retention_enabled: false", "nothing deletes old lines", "retention_enabled"),
    Mutation("no period of retention", "pipelines.loki", LOKI, "  retention_period: 7d\n", "", "retention_period is not set"),
    Mutation("no limit of the rate", "pipelines.loki", LOKI, "  ingestion_rate_mb: 16\n", "", "ingestion_rate_mb is not set"),
    Mutation("traces for ever", "pipelines.tempo", TEMPO, "block_retention:", "block_retentions:", "nothing deletes old traces"),
    Mutation("Tempo that listens to itself", "pipelines.tempo", TEMPO, "endpoint: 0.0.0.0:4317", "endpoint: localhost:4317", "grpc listens to its own container alone", "localhost"),
    Mutation("Grafana for everybody", "pipelines.grafana", GRAFANA, "[auth.anonymous]\nenabled = false", "[auth.anonymous]\nenabled = true", "enabled of auth.anonymous is true"),
    # What is switched on, and what is absent.
    Mutation("group whose layer is missing", "manifest.files", MANIFEST, "layer: docker-compose.jaeger.yml", "layer: docker-compose.jager.yml", "docker-compose.jager.yml is not tracked", "jager"),
    Mutation("layer that no group uses", "manifest.files", MANIFEST, "      layer: docker-compose.jaeger.yml\n", "", "no profile and no group of invoke.yaml uses this layer"),
    Mutation("absence that nothing is marked with", "manifest.groups", MANIFEST, "absent: absent", "absent: missing", "is in the group absent", "absent"),
    Mutation("absent service in a group that is on", "manifest.groups", MONITORING_IMAGES, "profiles: !override [absent]", "profiles: !override [lost]", "is in the group lost", "lost"),
    Mutation("setting that the example lacks", "environment.example", EXAMPLE, "#ALERT_RECEIVERS=app\n", "", "ALERT_RECEIVERS is missing"),
)

# Seen by the programs themselves, in the images of their services.
MONITORING_PROGRAM_MUTATIONS = (
    Mutation("metric that is renamed", "promtool-tests", REDIS, "expr: redis_up == 0", "expr: redis_is_up == 0", "RedisDown"),
    Mutation("label that is dropped", "promtool-tests", REDIS, "severity: critical\n          service: redis", "severity: critical", "RedisDown"),
    Mutation("threshold that is turned round", "promtool-tests", REDIS, "> 0.9 and", "< 0.9 and", "RedisMemoryHigh"),
    Mutation("alert twice", "promtool-rules", REDIS, "      - alert: RedisMemoryHigh", "      - alert: Watchdog\n        expr: vector(1)\n      - alert: Watchdog\n        expr: vector(1)\n      - alert: RedisMemoryHigh", "duplicate rule"),
    Mutation("expression that does not parse", "promtool-rules", REDIS, "redis_up == 0", "redis_up === 0", "could not parse expression"),
    Mutation("template that does not parse", "promtool-rules", REDIS, "{{ $labels.instance }} cannot", "{{ $labels.instance } cannot", "template"),
    Mutation("interval without a unit", "promtool-config", PROMETHEUS, "evaluation_interval: 15s", "evaluation_interval: 15", "duration"),
    Mutation("time-out above the interval", "promtool-config", PROMETHEUS, "scrape_timeout: 2s", "scrape_timeout: 30s", "scrape timeout greater"),
    Mutation("key of a job that Prometheus does not know", "promtool-config", f"{SCRAPE}/app.yml", "metrics_path:", "metric_path:", "metric_path"),
    Mutation("two jobs of one name", "promtool-config", f"{SCRAPE}/app.yml", "job_name: worker", "job_name: app", "job name \"app\""),
    Mutation("route to no receiver", "amtool-config", ALERTMANAGER, "receiver: deadmansswitch", "receiver: somebody", "undefined receiver"),
    Mutation("key that Alertmanager does not know", "amtool-config", ALERTMANAGER, "group_wait:", "group_waits:", "group_waits", "group_waits"),
    Mutation("warning that pages", "amtool-routes", ALERTMANAGER, "- matchers: [severity=\"critical\"]", "- matchers: [severity=~\"critical|warning\"]", "a warning does not page"),
    Mutation("watchdog that reaches no receiver", "amtool-routes", ALERTMANAGER, "alertname=\"Watchdog\"", "alertname=\"Watchdogs\"", "the watchdog reaches"),
    Mutation("template that is not defined", "amtool-templates", ALERTMANAGER, 'template "netmon.title"', 'template "netmon.titel"', "netmon.titel"),
    Mutation("field that notifications do not have", "amtool-templates", TEMPLATE, ".CommonLabels.severity", ".CommonLabel.severity", "CommonLabel"),
    Mutation("key that the prober does not know", "blackbox", BLACKBOX, "prober: http", "probing: http", "probing", "probing"),
    Mutation("directive that Caddy does not know", "caddy", CADDYFILE, "request_body {", "request_bodies {", "request_bodies", "request_bodies"),
    Mutation("ports that Caddy cannot tell apart", "caddy", CADDYFILE, "https_port 8443", "https_port 84430", "84430"),
    Mutation("component that the collector lacks", "otelcol", COLLECTOR, "receivers: [span_metrics]", "receivers: [spanmetric]", "spanmetric"),
    Mutation("key that the collector does not know", "otelcol-jaeger", COLLECTOR, "check_interval: 1s", "check_every: 1s", "check_every"),
    Mutation("key that Jaeger does not know", "jaeger", JAEGER, "max_traces:", "most_traces:", "most_traces"),
    Mutation("key that Loki does not know", "loki", LOKI, "retention_period:", "retention_time:", "retention_time", "retention_time"),
    Mutation("key that Tempo does not know", "tempo", TEMPO, "http_listen_port:", "http_port:", "http_port", "http_port"),
)
# fmt: on
