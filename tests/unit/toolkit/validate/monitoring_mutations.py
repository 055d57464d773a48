"""Mutations of the configuration of monitoring."""

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
INHIBITION = "monitoring/alertmanager/inhibition_tests.yml"
ROUTING, TEMPLATE = "monitoring/alertmanager/routing_tests.yml", "monitoring/alertmanager/templates/netmon.tmpl"
RUNBOOK, INDEX = "docs/alerts/RedisDown.md", "docs/alerts/README.md"
JAEGER, CADDYFILE = "monitoring/jaeger/jaeger.yml", "config/caddy/Caddyfile"

# fmt: off
MONITORING_MUTATIONS = (
    # Scrape jobs.
    Mutation("scrape of an unknown service", "scrapes.targets", f"{SCRAPE}/rabbitmq.yml", "rabbitmq:15692", "rabbit:15692", "rabbit is not a service", "rabbit:15692"),
    Mutation("scrape across networks", "scrapes.targets", f"{SCRAPE}/redis.yml", "redis-exporter:9121", "redis:6379", "prometheus shares no network with redis", "redis:6379"),
    Mutation("replicas of an unknown service", "scrapes.targets", f"{SCRAPE}/app.yml", "names: [worker]", "names: [workers]", "workers is not a service", "workers"),
    Mutation("probe of an unknown service", "scrapes.targets", f"{SCRAPE}/blackbox.yml", "http://app:3000", "http://api:3000", "api is not a service", "http://api"),
    Mutation("alerts to an unknown service", "scrapes.targets", PROMETHEUS, "alertmanager:9093", "alerts:9093", "alerts is not a service", "alerts:9093"),
    Mutation("rules that are not loaded", "scrapes.included_files", PROMETHEUS, "  - rules/*.yml", "  - rule/*.yml", "no rule_files"),
    Mutation("scrape jobs that are not loaded", "scrapes.included_files", PROMETHEUS, "  - scrape/*.yml", "  - scrapes/*.yml", "no scrape_config_files"),
    Mutation("Jaeger's job that is not loaded", "scrapes.included_files", PROMETHEUS, "/etc/prometheus-jaeger/scrape*.yml", "/etc/jaeger/scrape*.yml", "no scrape_config_files"),
    Mutation("the proxy's job that is not loaded", "scrapes.included_files", PROMETHEUS, "/etc/prometheus-proxy/scrape*.yml", "/etc/proxy/scrape*.yml", "no scrape_config_files"),
    Mutation("probe of a service that production lacks", "scrapes.targets", "monitoring/proxy/scrape.yml", "https://proxy:8443", "https://front:8443", "front is not a service", "https://front"),
    Mutation("probe across networks", "scrapes.targets", "monitoring/proxy/scrape.yml", "https://proxy:8443", "https://db:5432", "blackbox-exporter shares no network with db", "https://db"),
    Mutation("exporter without a scrape job", "scrapes.services", f"{SCRAPE}/redis.yml", "job_name: redis-exporter", "job_name: redis", "no job scrapes redis-exporter"),
    Mutation("job without a service", "scrapes.services", f"{SCRAPE}/kafka.yml", "job_name: kafka", "job_name: broker", "broker is not a service", "broker"),
    Mutation("rules of an unavailable service", "scrapes.replacements", MONITORING_IMAGES, "target: /etc/prometheus/rules/pulled", "target: /etc/prometheus/rules/pull", "no empty folder replaces rules/pulled"),
    Mutation("scrape job of an unavailable service", "scrapes.replacements", MONITORING_IMAGES, "target: /etc/prometheus/scrape/pulled", "target: /etc/prometheus/scrape/pull", "no empty folder replaces scrape/pulled"),
    Mutation("job that the local images would hide", "scrapes.separate_files", MONITORING_IMAGES, "  tempo:\n    profiles: !override [absent]", "  tempo:\n    image: netmon-local/tempo:2", "tempo is hidden with the local images", "job_name: tempo"),
    Mutation("exception for a scraped service", "scrapes.services", EXPECTED, "  db: Its", "  app: Its", "app is scraped", "app:"),
    Mutation("exception for an unknown service", "scrapes.services", EXPECTED, "  db: Its", "  mysql: Its", "unknown service mysql", "mysql:"),
    Mutation("job of an unavailable service in another file", "scrapes.separate_files", f"{SCRAPE}/kafka.yml", "job_name: kafka", "job_name: kafka-exporter", "belongs in pulled/kafka-exporter.yml", "kafka-exporter"),
    Mutation("alert of an unavailable service in another file", "scrapes.separate_files", REDIS, "service: redis", "service: loki", "belongs in pulled/loki.yml", "service: loki"),
    Mutation("scrape interval that is too long", "scrapes.intervals", PROMETHEUS, "scrape_interval: 3s", "scrape_interval: 15s", "the scrape interval 15s is too long", "scrape_interval"),
    Mutation("collector whose health is not probed", "services.health", f"{SCRAPE}/blackbox.yml", "http://otel-collector:13133/", "http://otel-collector:13133/health", "probes http://otel-collector:13133/"),
    # Alerts.
    Mutation("alert without a severity", "alerts.labels", REDIS, "severity: critical", "level: critical", "RedisDown: the severity is missing", "labels"),
    Mutation("unknown severity", "alerts.labels", REDIS, "severity: critical", "severity: page", "unknown severity page", "severity: page"),
    Mutation("alert without a service", "alerts.labels", f"{TESTS}/containers_test.yml", "service: db", "component: db", "ContainerStopped: the service is missing"),
    Mutation("alert of an unknown service", "alerts.labels", REDIS, "service: redis", "service: cache", "unknown service cache", "cache"),
    Mutation("alert without a summary", "alerts.texts", REDIS, "summary: Redis is down", "title: Redis is down", "RedisDown: the summary is missing", "annotations"),
    Mutation("alert without a description", "alerts.texts", PLATFORM, "description: This alert always", "details: This alert always", "Watchdog: the description is missing", "annotations"),
    Mutation("threshold without its value", "alerts.texts", REDIS, "{{ $value | humanizePercentage }} of maxmemory is", "Almost all of maxmemory is", "does not contain the value", "description"),
    Mutation("alert without a dashboard", "alerts.texts", REDIS, "/d/netmon-redis\"", "/redis\"", "does not link to a dashboard", "dashboard_url"),
    Mutation("runbook of another alert", "alerts.texts", REDIS, "/RedisDown.md", "/RedisAway.md", "RedisDown: the runbook_url is not", "runbook_url"),
    Mutation("alert without a runbook", "runbooks.shape", REDIS, "alert: RedisDown", "alert: RedisGone", "docs/alerts/RedisGone.md does not exist"),
    Mutation("runbook without an alert", "runbooks.shape", REDIS, "alert: RedisDown", "alert: RedisGone", "no alert has this name"),
    Mutation("runbook without a mitigation", "runbooks.shape", RUNBOOK, "## Mitigation", "## Fix", "the section Mitigation is missing"),
    Mutation("runbook with sections in another order", "runbooks.shape", RUNBOOK, "## Meaning", "## Impact\n\n## Meaning", "the sections are not Meaning, Impact"),
    Mutation("runbook with another title", "runbooks.shape", RUNBOOK, "# RedisDown", "# Redis is down", "the title is not RedisDown"),
    Mutation("runbook missing from the index", "runbooks.shape", INDEX, "(RedisDown.md)", "(Redis.md)", "RedisDown is missing from this index"),
    Mutation("runbook that names an unknown dashboard", "runbooks.dashboards", RUNBOOK, "Dashboard: *Redis*", "Dashboard: *Redis*, *Monitoring*", "unknown dashboard Monitoring", "Dashboard:"),
    Mutation("runbook that names another dashboard than its alert", "runbooks.dashboards", RUNBOOK, "Dashboard: *Redis*", "Dashboard: *Kafka*", "the alert links to the dashboard Redis, which is missing here", "Dashboard:"),
    Mutation("alert that links to another dashboard than its runbook", "runbooks.dashboards", REDIS, "/d/netmon-redis\"", "/d/netmon-kafka\"", "the alert links to the dashboard Kafka, which is missing here"),
    Mutation("runbook without a dashboard", "runbooks.dashboards", RUNBOOK, "Dashboard: *Redis*.", "See *Redis*.", "no line begins with “Dashboard:”"),
    Mutation("outdated pending period in the index", "documents.tables", REDIS, "for: 3s", "for: 5s", "the table redis is out of date"),
    Mutation("outdated severity in the index", "documents.tables", REDIS, "severity: critical", "severity: warning", "the table redis is out of date"),
    Mutation("outdated meaning in the index", "documents.tables", RUNBOOK, "redis-exporter cannot connect to Redis", "The exporter cannot connect to Redis", "the table redis is out of date"),
    Mutation("outdated title in the documentation", "documents.tables", "monitoring/grafana/dashboards/Platform/netmon-monitoring.json", '"title": "Monitoring stack"', '"title": "Monitoring"', "the table dashboards is out of date", "made: dashboards"),
    Mutation("alert without a test", "alerts.tests", REDIS, "alert: RedisDown", "alert: RedisAway", "RedisAway: no test covers it firing or silent", "RedisAway"),
    Mutation("rules missing from the healthy test", "alerts.tests", f"{TESTS}/healthy_test.yml", "../rules/*.yml", "../rules/slo.yml", "redis.yml is missing"),
    Mutation("for: that is too long", "alerts.timing", REDIS, "for: 3s", "for: 1m", "RedisDown: for: 1m is not between", "for: 1m"),
    Mutation("for: shorter than a scrape", "alerts.timing", REDIS, "for: 3s", "for: 1s", "RedisDown: for: 1s is not between", "for: 1s"),
    Mutation("evaluation interval that is too long", "alerts.timing", REDIS, "interval: 1s", "interval: 15s", "RedisDown: the interval of its group", "interval"),
    Mutation("alert that fires at a start", "alerts.timing", REDIS, " unless on () netmon:starting == 1", "", "RedisDown: it fires while the stack starts", "expr"),
    Mutation("alert in small letters", "alerts.names", REDIS, "alert: RedisDown", "alert: redis_down", "alerts are named LikeThis", "redis_down"),
    Mutation("recorded series without a level", "alerts.names", SLO, "record: slo:api_requests:rate5m", "record: api_requests_rate5m", "recorded series are named level:metric", "api_requests_rate5m"),
    Mutation("renamed recorded series", "alerts.names", SLO, "record: slo:api_requests:rate5m", "record: slo:requests:rate5m", "no rule records slo:api_requests:rate5m"),
    Mutation("sum of an optional metric", "alerts.sums", "monitoring/jaeger/rules.yml", "increase(jaeger_exporter_send_failed_spans_total[1m]) > 0", "increase(jaeger_exporter_send_failed_spans_total[1m]) + increase(jaeger_receiver_refused_spans_total[1m]) > 0", "JaegerSpansLost: the sum is empty if increase(jaeger_receiver_refused_spans_total", "expr"),
    Mutation("timestamp that may be 0", "alerts.timestamps", f"{RULES}/pulled/loki.yml", "operation_last_successful_run_timestamp_seconds > 0\n          or on (job, instance) process_start_time_seconds{job=\"loki\"}) > 3600", "operation_last_successful_run_timestamp_seconds) > 3600", "LokiCompactorStale: loki_boltdb_shipper_compact_tables_operation_last_successful_run_timestamp_seconds may be 0", "expr"),
    Mutation("recorded series that is read too rarely", "alerts.look_back", SLO, "- name: slo-long\n", "- name: slo-long\n    interval: 1m\n", "slo:api_errors:ratio_rate1d is recorded too rarely for the look-back: use last_over_time", "expr"),
    Mutation("panel of a series that is recorded rarely", "alerts.look_back", "monitoring/grafana/dashboards/Status/netmon-overview.json", "last_over_time(slo:api_errors:budget_left30d[3m])", "slo:api_errors:budget_left30d", "slo:api_errors:budget_left30d is recorded too rarely", "budget_left30d"),
    Mutation("rule without a case of a replaced container", "cases.replaced_containers", f"{TESTS}/redis_test.yml", "name: the container is replaced", "name: a container is replaced", "RedisDown: no test case “the container is replaced” makes redis_up stale", "expr: redis_up"),
    Mutation("replaced container that leaves its series", "cases.replaced_containers", f"{TESTS}/alertmanager_test.yml", "0x32 stale", "0x32", "makes alertmanager_config_last_reload_successful stale", "expr"),
    Mutation("replaced container without an expectation", "cases.replaced_containers", f"{TESTS}/alertmanager_test.yml", 'alertname="AlertmanagerConfigReloadFailed"', 'alertname="AlertmanagerConfigFailed"', "AlertmanagerConfigReloadFailed: no test case", "expr"),
    Mutation("rule without a case of a missed scrape", "cases.missed_scrapes", f"{TESTS}/jaeger_test.yml", "name: one scrape is missed", "name: a scrape is missed", "JaegerSpansLost: no test case “one scrape is missed” expects the alert", "expr"),
    # Routes and receivers.
    Mutation("default receiver that sends", "alerting.receivers", ALERTMANAGER, "  receiver: nobody", "  receiver: slack", "the default receiver slack sends notifications: slack_configs", "receiver: slack"),
    Mutation("receiver without a route", "alerting.receivers", ALERTMANAGER, "          receiver: pagerduty", "          receiver: slack", "no route leads to the receiver pagerduty", "pagerduty"),
    Mutation("route that swallows", "alerting.routes", ALERTMANAGER, "          receiver: webhook\n          continue: true", "          receiver: webhook", "the route to webhook stops alerts"),
    Mutation("password in the file", "alerting.secrets", ALERTMANAGER, "smtp_auth_password_file: /etc/alertmanager-secrets/smtp_password", "smtp_auth_password: letmein", "smtp_auth_password is a secret", "letmein"),
    Mutation("address of a channel in the file", "alerting.secrets", ALERTMANAGER, "url_file: /etc/alertmanager-secrets/webhook_url", "url: https://hooks.example.org/x", "is not a service of the stack", "hooks.example.org"),
    Mutation("key of a channel in the file", "alerting.secrets", ALERTMANAGER, "routing_key_file: /etc/alertmanager-secrets/pagerduty_routing_key", "routing_key: abc", "routing_key is a secret", "routing_key"),
    # Inhibition.
    Mutation("critical alert that mutes every warning", "inhibition.coverage", ALERTMANAGER, '[alertname=~"HostDiskAlmostFull|HostDiskFillingUp"]\n    equal: [instance, device, mountpoint]', '[severity="warning"]\n    equal: [service]', "HostDiskFull mutes HostClockSkewed, which no test case expects", "HostDiskFull"),
    Mutation("failed service that mutes alerts on targets", "inhibition.coverage", ALERTMANAGER, '[alertname="DependencyDown", dependency="redis"]', '[service=~"app|worker|targets"]', "which no test case expects", "RedisDown"),
    Mutation("inhibition without equal labels", "inhibition.tests", ALERTMANAGER, "    equal: [service, instance]\n", "", "TargetDown is muted", "kafka-exporter"),
    Mutation("inhibition by an unknown alert", "inhibition.tests", ALERTMANAGER, 'alertname="TargetAbsent"', 'alertname="TargetGone"', "no test case mutes an alert by this rule", "TargetGone"),
    Mutation("inhibition of nothing", "inhibition.tests", ALERTMANAGER, '[alertname="EndpointSlow"]', '[alertname="EndpointFast"]', "EndpointSlow is sent", "EndpointSlow"),
    Mutation("inhibition without a reason", "inhibition.tests", INHIBITION, "  why: Both ports", "  because: Both ports", "the reason is missing", "source"),
    Mutation("inhibition of an unknown alert", "inhibition.tests", INHIBITION, "alertname: KafkaBrokersDown", "alertname: KafkaBrokerDown", "unknown alert KafkaBrokerDown", "KafkaDown"),
    Mutation("outdated table of verdicts", "documents.tables", "tests/corpus/verdicts.json", '"blackbox_exporter": {\n   "status": 200', '"blackbox_exporter": {\n   "status": 404', "the table groups is out of date", "made: groups"),
    Mutation("outdated table of inhibitions", "documents.tables", INHIBITION, "why: Both ports are of one process.", "why: It is one process.", "the table inhibitions is out of date", "made: inhibitions"),
    # Log and trace pipelines.
    Mutation("memory limiter at the end", "pipelines.collector", COLLECTOR, "processors: [memory_limiter, resource, batch]", "processors: [resource, batch, memory_limiter]", "the first processor of traces is resource", "processors"),
    Mutation("unused processor", "pipelines.collector", COLLECTOR, "processors:\n  #", "processors:\n  batch/spare:\n  #", "no pipeline uses batch/spare", "batch/spare"),
    Mutation("read offsets in memory", "pipelines.collector", COLLECTOR, "    storage: file_storage\n    # A pipeline", "    # A pipeline", "file_log does not persist its read offsets"),
    Mutation("queue in memory", "pipelines.collector", COLLECTOR, "    sending_queue:\n      storage: file_storage\n", "    sending_queue:\n", "does not persist its queue"),
    Mutation("delivery without retries", "pipelines.collector", COLLECTOR, "    retry_on_failure:\n      # Retry forever", "    retry_on_failure:\n      enabled: false\n      # Retry forever", "otlp_http/logs does not retry", "retry_on_failure"),
    Mutation("samples out of order", "pipelines.collector", COLLECTOR, "      num_consumers: 1\n", "", "otlp_http/metrics may send samples out of order"),
    Mutation("obsolete store", "pipelines.loki", LOKI, "store: tsdb", "store: boltdb-shipper", "the store is boltdb-shipper", "boltdb-shipper"),
    Mutation("obsolete schema", "pipelines.loki", LOKI, "schema: v13", "schema: v11", "the schema is v11", "v11"),
    Mutation("log lines without retention", "pipelines.loki", LOKI, "retention_enabled: true", "retention_enabled: false", "old lines are kept", "retention_enabled"),
    Mutation("no retention period", "pipelines.loki", LOKI, "  retention_period: 7d\n", "", "retention_period is not set"),
    Mutation("no rate limit", "pipelines.loki", LOKI, "  ingestion_rate_mb: 16\n", "", "ingestion_rate_mb is not set"),
    Mutation("traces without retention", "pipelines.tempo", TEMPO, "block_retention:", "block_retentions:", "old traces are kept"),
    Mutation("Tempo on the loopback interface", "pipelines.tempo", TEMPO, "endpoint: 0.0.0.0:4317", "endpoint: localhost:4317", "grpc listens on the loopback interface only", "localhost"),
    Mutation("Grafana without a login", "pipelines.grafana", GRAFANA, "[auth.anonymous]\nenabled = false", "[auth.anonymous]\nenabled = true", "enabled of auth.anonymous is true"),
    # Groups and unavailable services.
    Mutation("group whose layer is missing", "manifest.files", MANIFEST, "layer: docker-compose.jaeger.yml", "layer: docker-compose.jager.yml", "docker-compose.jager.yml is not tracked", "jager"),
    Mutation("unused layer of a group", "manifest.files", MANIFEST, "      layer: docker-compose.jaeger.yml\n", "", "no profile and no group of invoke.yaml uses this layer"),
    Mutation("unused mark of unavailable services", "manifest.groups", MANIFEST, "absent: absent", "absent: missing", "is in the group absent", "absent"),
    Mutation("unavailable service in another group", "manifest.groups", MONITORING_IMAGES, "profiles: !override [absent]", "profiles: !override [lost]", "is in the group lost", "lost"),
    Mutation("setting missing from the example", "environment.example", EXAMPLE, "#ALERT_RECEIVERS=app\n", "", "ALERT_RECEIVERS is missing"),
)

# Found by the programs themselves, in the images of their services.
MONITORING_PROGRAM_MUTATIONS = (
    Mutation("metric that is renamed", "promtool-tests", REDIS, "expr: redis_up == 0", "expr: redis_is_up == 0", "RedisDown"),
    Mutation("label that is dropped", "promtool-tests", REDIS, "severity: critical\n          service: redis", "severity: critical", "RedisDown"),
    Mutation("inverted threshold", "promtool-tests", REDIS, "> 0.9 and", "< 0.9 and", "RedisMemoryHigh"),
    Mutation("duplicate alert", "promtool-rules", REDIS, "      - alert: RedisMemoryHigh", "      - alert: Watchdog\n        expr: vector(1)\n      - alert: Watchdog\n        expr: vector(1)\n      - alert: RedisMemoryHigh", "duplicate rule"),
    Mutation("expression that does not parse", "promtool-rules", REDIS, "redis_up == 0", "redis_up === 0", "could not parse expression"),
    Mutation("template that does not parse", "promtool-rules", REDIS, "{{ $labels.instance }} cannot", "{{ $labels.instance } cannot", "template"),
    Mutation("interval without a unit", "promtool-config", PROMETHEUS, "evaluation_interval: 15s", "evaluation_interval: 15", "duration"),
    Mutation("timeout above the interval", "promtool-config", PROMETHEUS, "scrape_timeout: 2s", "scrape_timeout: 30s", "scrape timeout greater"),
    Mutation("unknown key of a job", "promtool-config", f"{SCRAPE}/app.yml", "metrics_path:", "metric_path:", "metric_path"),
    Mutation("duplicate job name", "promtool-config", f"{SCRAPE}/app.yml", "job_name: worker", "job_name: app", "job name \"app\""),
    Mutation("route to an unknown receiver", "amtool-config", ALERTMANAGER, "receiver: deadmansswitch", "receiver: somebody", "undefined receiver"),
    Mutation("unknown key of Alertmanager", "amtool-config", ALERTMANAGER, "group_wait:", "group_waits:", "group_waits", "group_waits"),
    Mutation("warning that pages", "amtool-routes", ALERTMANAGER, "- matchers: [severity=\"critical\"]", "- matchers: [severity=~\"critical|warning\"]", "a warning does not page"),
    Mutation("watchdog that reaches no receiver", "amtool-routes", ALERTMANAGER, "alertname=\"Watchdog\"", "alertname=\"Watchdogs\"", "the watchdog reaches"),
    Mutation("inhibition of other instances", "alertmanager-inhibition", ALERTMANAGER, "    equal: [service, instance]\n", "", "1 muted, 3 sent instead of 1 muted, 4 sent"),
    Mutation("template that is not defined", "amtool-templates", ALERTMANAGER, 'template "netmon.title"', 'template "netmon.titel"', "netmon.titel"),
    Mutation("subject without its closing braces", "amtool-templates", ALERTMANAGER, "Subject: '{{ template \"netmon.title\" . }}'", "Subject: '{{ template \"netmon.title\" . '", "receiver email: email_configs.headers.Subject: FAILED"),
    Mutation("unknown field of a receiver", "amtool-templates", ALERTMANAGER, "{{ .CommonLabels.service }}", "{{ .CommonLabel.service }}", "receiver pagerduty: pagerduty_configs.component: FAILED"),
    Mutation("unknown field of notifications", "amtool-templates", TEMPLATE, ".CommonLabels.severity", ".CommonLabel.severity", "CommonLabel"),
    Mutation("unknown key of the prober", "blackbox", BLACKBOX, "prober: http", "probing: http", "probing", "probing"),
    Mutation("unknown directive of Caddy", "caddy", CADDYFILE, "request_body @other {", "request_bodies @other {", "request_bodies", "request_bodies"),
    Mutation("invalid port of Caddy", "caddy", CADDYFILE, "https_port 8443", "https_port 84430", "84430"),
    Mutation("unknown component of the collector", "otelcol", COLLECTOR, "receivers: [span_metrics]", "receivers: [spanmetric]", "spanmetric"),
    Mutation("unknown key of the collector", "otelcol-jaeger", COLLECTOR, "check_interval: 1s", "check_every: 1s", "check_every"),
    Mutation("unknown key of Jaeger", "jaeger", JAEGER, "max_traces:", "most_traces:", "most_traces"),
    Mutation("unknown key of Loki", "loki", LOKI, "retention_period:", "retention_time:", "retention_time", "retention_time"),
    Mutation("unknown key of Tempo", "tempo", TEMPO, "http_listen_port:", "http_port:", "http_port", "http_port"),
)
# fmt: on
