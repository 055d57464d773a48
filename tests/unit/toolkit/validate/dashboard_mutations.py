"""Mutations of Grafana's files."""

from __future__ import annotations

from tests.unit.toolkit.validate.mutations import Mutation

FOLDER = "monitoring/grafana/dashboards"
REDIS, APP = f"{FOLDER}/Services/netmon-redis.json", f"{FOLDER}/Services/netmon-app.json"
OVERVIEW = f"{FOLDER}/Status/netmon-overview.json"
LOGS, TRACES = f"{FOLDER}/Signals/netmon-logs.json", f"{FOLDER}/Signals/netmon-traces.json"
MONITORING = f"{FOLDER}/Platform/netmon-monitoring.json"
SETTINGS = "monitoring/grafana/grafana.ini"
SOURCES = "monitoring/grafana/provisioning/datasources/netmon.yml"
JAEGER = "monitoring/grafana/groups/jaeger/jaeger.yml"
EXCUSES = "monitoring/grafana/empty-by-design.yml"
DEFAULTS = "monitoring/grafana/defaults.yml"
EXPECTED = "monitoring/prometheus/expected-absent.yml"

# fmt: off
DASHBOARD_MUTATIONS = (
    # The dashboard as a whole.
    Mutation("uid of another dashboard", "dashboards.models", REDIS, '"uid": "netmon-redis"', '"uid": "netmon-postgres"', "duplicate uid netmon-postgres", '"uid": "netmon-postgres"'),
    Mutation("uid other than the file name", "dashboards.models", REDIS, '"uid": "netmon-redis"', '"uid": "netmon-cache"', "is not the name of the file", "netmon-cache"),
    Mutation("dashboard without a description", "dashboards.models", REDIS, '"description": "The cache', '"about": "The cache', "the dashboard has no description"),
    Mutation("refresh that is too frequent", "dashboards.models", REDIS, '"refresh": "10s"', '"refresh": "1s"', "too frequent", '"refresh"'),
    Mutation("refresh that is not a duration", "dashboards.models", REDIS, '"refresh": "10s"', '"refresh": "often"', "is not a duration", '"refresh"'),
    Mutation("schema of another version", "dashboards.models", REDIS, '"schemaVersion": 41', '"schemaVersion": 16', "schema version 16", '"schemaVersion"'),
    Mutation("dashboard named after a folder", "dashboards.titles", REDIS, '"title": "Redis"', '"title": "Services"', "the title Services is the name of a folder", '"title": "Services"'),
    Mutation("title of another dashboard of the folder", "dashboards.titles", REDIS, '"title": "Redis"', '"title": "PostgreSQL"', "duplicate title PostgreSQL", '"title": "PostgreSQL"'),
    Mutation("broken JSON", "dashboards.models", REDIS, '"tags": ["netmon", "service"]', '"tags": ["netmon", "service",]', "is not valid JSON", '"tags"'),
    Mutation("duplicate key", "dashboards.models", REDIS, '"refresh": "10s"', '"refresh": "10s", "refresh": "1m"', "duplicate key refresh"),
    # Panels.
    Mutation("panel without a unit", "dashboards.panels", REDIS, '"unit": "percentunit",', "", "Memory used has no unit", '"defaults"'),
    Mutation("misspelt unit", "dashboards.panels", REDIS, '"unit": "percentunit"', '"unit": "percentunits"', "the unknown unit percentunits", "percentunits"),
    Mutation("column with a misspelt unit", "dashboards.panels", TRACES, '{"id": "unit", "value": "ops"}', '{"id": "unit", "value": "op"}', "the unknown unit op", "{"),
    Mutation("heat map without a unit", "dashboards.panels", APP, '"yAxis": {"unit": "s", ', '"yAxis": {', "has no unit", '"yAxis"'),
    Mutation("panel without a title", "dashboards.panels", REDIS, '"title": "Hit ratio"', '"title": ""', "has no title", '"title": ""'),
    Mutation("panel without a description", "dashboards.panels", REDIS, '"description": "Whether', '"about": "Whether', "Redis has no description"),
    Mutation("panel without a query", "dashboards.panels", REDIS, '"targets": [', '"queries": [', "Redis has no query"),
    Mutation("duplicate id", "dashboards.panels", REDIS, '"id": 3,', '"id": 2,', "Hit ratio has a duplicate id", '"id": 2'),
    Mutation("overlapping panels", "dashboards.panels", REDIS, '"w": 4, "x": 4, "y": 0', '"w": 4, "x": 3, "y": 0', "Memory used overlaps Redis", '"x": 3'),
    Mutation("panel beyond the grid", "dashboards.panels", REDIS, '"w": 4, "x": 20, "y": 0', '"w": 4, "x": 22, "y": 0', "Rejected (1 h) exceeds the width of the grid", '"x": 22'),
    # Data sources.
    Mutation("unknown data source", "datasources.references", REDIS, '"uid": "prometheus"', '"uid": "prom"', "unknown data source prom ", '"prom"'),
    Mutation("data source of another type", "datasources.references", REDIS, '"type": "prometheus"', '"type": "loki"', "unknown data source prometheus of type loki", '"loki"'),
    Mutation("data source by its name", "datasources.references", REDIS, '{"type": "prometheus", "uid": "prometheus"}', '"Prometheus"', "Prometheus is referred to by name", '"Prometheus"'),
    Mutation("data source of a group", "datasources.references", TRACES, '{"type": "tempo", "uid": "tempo"}', '{"type": "jaeger", "uid": "jaeger"}', "unknown data source jaeger", '"jaeger"'),
    Mutation("uid of another data source", "datasources.provisioning", SOURCES, "uid: loki\n", "uid: prometheus\n", "has a duplicate uid", "uid: prometheus"),
    Mutation("editable data source", "datasources.provisioning", SOURCES, "editable: false", "editable: true", "is editable", "editable"),
    Mutation("data source at an unknown address", "datasources.provisioning", JAEGER, "http://jaeger:16686", "http://jager:16686", "points to jager", "jager"),
    Mutation("exemplars with an unknown data source", "datasources.provisioning", SOURCES, "datasourceUid: tempo", "datasourceUid: traces", "unknown data source traces", "traces"),
    # Queries.
    Mutation("PromQL that does not parse", "queries.syntax", REDIS, "sum by (db) (redis_db_keys)", "sum by (db (redis_db_keys)", "not PromQL", "redis_db_keys"),
    Mutation("sum of an optional metric", "queries.sums", MONITORING, "(sum(increase(otelcol_exporter_send_failed_spans_total[1h])) or 0 * sum(otelcol_exporter_queue_size))", "sum(increase(otelcol_exporter_send_failed_spans_total[1h]))", "the sum is empty if sum(increase(otelcol_exporter_send_failed_spans_total", "otelcol_exporter_send_failed_spans_total"),
    Mutation("constant instead of no data", "queries.defaults", OVERVIEW, "1 - slo:api_errors:ratio_rate1h", "1 - (slo:api_errors:ratio_rate1h or vector(0))", '"or vector(0)" hides that nothing was measured', "vector(0)"),
    Mutation("constant in a query of log lines", "queries.defaults", DEFAULTS, "  dashboard: netmon-logs\n", "  dashboard: netmon-log\n", '"or vector" hides that nothing was measured', "detected_level"),
    Mutation("number instead of no data", "queries.defaults", REDIS, '"unit": "percentunit",', '"unit": "percentunit", "noValue": "100 %",', "the panel shows 100 % if there is no data", "noValue"),
    Mutation("constant in a recorded series", "queries.defaults", "monitoring/prometheus/rules/slo.yml", "or 0 * slo:api_requests:rate5m", "or vector(0)", 'slo:api_errors:rate5m: "or vector(0)" hides', "expr:"),
    Mutation("default of an unknown panel", "queries.defaults", DEFAULTS, "panel: Watchdog", "panel: Guard", "no dashboard has a panel Guard with such a query", "Guard"),
    Mutation("default without a reason", "queries.defaults", DEFAULTS, "reason: If the alert", "why: If the alert", "the reason is missing", "Watchdog"),
    Mutation("unused optional metric", "queries.optional_metrics", EXPECTED, "metric: loki_discarded", "metric: loki_refused", "no rule and no panel uses loki_refused_samples_total", "loki_refused"),
    Mutation("unused metrics of an image", "queries.optional_metrics", "images/kafka-exporter/contract.yml", "metrics: kafka_", "metrics: broker_", "no rule and no panel uses broker_", "metrics:"),
    Mutation("optional metric without a reason", "queries.optional_metrics", EXPECTED, "    reason: ", "    reason: \"\" # ", "the reason is missing", "reason"),
    Mutation("LogQL without a selector", "queries.syntax", LOGS, '{service_name=~\\"$service\\"} [5m]', '{service_name} [5m]', "LogQL without a stream selector", "service_name"),
    Mutation("LogQL that selects every stream", "queries.syntax", LOGS, '{service_name=~\\"$service\\"} [5m]', '{service_name!~\\"loki|tempo\\"} [5m]', "requires a label", "service_name"),
    Mutation("a log rule that Loki rejects", "queries.syntax", "monitoring/loki/rules/fake/logs.yml", '{service_name=~".+", service_name!~"loki|tempo"}', '{service_name!~"loki|tempo"}', "requires a label", "expr"),
    Mutation("a log rule with an open bracket", "queries.syntax", "monitoring/loki/rules/fake/logs.yml", '[1m])\n          ) > 20\n          or sum', '[1m]\n          ) > 20\n          or sum', "unclosed (", "expr"),
    Mutation("LogQL with an open bracket", "queries.syntax", LOGS, '{service_name=~\\"$service\\"} [5m]))', '{service_name=~\\"$service\\"} [5m])', "unclosed (", "service_name"),
    Mutation("TraceQL with an open bracket", "queries.syntax", TRACES, "status = error }", "status = error", "unclosed {", "status = error"),
    Mutation("exemplars by another label", "queries.links", SOURCES, "- name: trace_id", "- name: traceid", "the trace is not found by traceid", "traceid"),
    Mutation("log lines by another label", "queries.links", SOURCES, "matcherRegex: trace_id", "matcherRegex: traceid", "the trace is not found by traceid", "traceid"),
    Mutation("metric of a span renamed", "queries.links", SOURCES, "traces_span_metrics_calls_total", "traces_spanmetrics_calls_total", "no panel reads traces_spanmetrics_calls_total", "traces_spanmetrics"),
    Mutation("log lines of every trace", "queries.links", SOURCES, '| trace_id="', '| trace="', "no matcher of trace_id", "trace="),
    Mutation("unknown variable", "queries.variables", APP, '$route\\"', '$routes\\"', "unknown variable routes", "$routes"),
    Mutation("metric of the app renamed", "queries.metrics", OVERVIEW, "netmon_probes_total", "netmon_probe_total", "exposes netmon_probe_total", "netmon_probe_total"),
    Mutation("metric of the containers renamed", "queries.metrics", OVERVIEW, "container_running", "container_run", "exposes container_run", "container_run"),
    Mutation("recorded metric renamed", "queries.metrics", OVERVIEW, "slo:api_errors:ratio_rate1h", "slo:api_errors:ratio_rate1w", "no rule records", "ratio_rate1w"),
    Mutation("exception for an unknown panel", "queries.empty_panels", EXCUSES, "panel: Failed traces", "panel: Failing traces", "a panel Failing traces", "Failing traces"),
    Mutation("exception without a reason", "queries.empty_panels", EXCUSES, "reason: No trace has failed.", 'reason: ""', "the reason is missing", "reason"),
    Mutation("exception for an unknown service", "queries.empty_panels", EXCUSES, "needs: tempo", "needs: temp", "unknown service temp", "needs: temp"),
    # Links.
    Mutation("link to an unknown dashboard", "dashboards.links", OVERVIEW, "/d/netmon-rabbitmq", "/d/netmon-rabbit", "unknown dashboard netmon-rabbit", "netmon-rabbit"),
    Mutation("alert on log lines with a link to an unknown dashboard", "dashboards.links", "monitoring/loki/rules/fake/logs.yml", "/d/netmon-logs", "/d/netmon-log", "unknown dashboard netmon-log", "netmon-log"),
    Mutation("link that presets an unknown variable", "dashboards.links", OVERVIEW, "var-service=", "var-services=", "has no variable services", "var-services"),
    Mutation("links by an unknown tag", "dashboards.links", REDIS, '"tags": ["netmon"]', '"tags": ["network"]', "no dashboard has the tag network", "network"),
    Mutation("unknown home dashboard", "dashboards.home", SETTINGS, "netmon-overview.json", "netmon-home.json", "unknown dashboard", "netmon-home"),
)
# fmt: on
