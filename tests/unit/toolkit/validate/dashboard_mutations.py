"""Seeded mistakes in Grafana's files, in the form of ``mutations.py``."""

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
EXPECTED = "monitoring/prometheus/expected-absent.yml"

# fmt: off
DASHBOARD_MUTATIONS = (
    # The dashboard as a whole.
    Mutation("uid of another dashboard", "dashboards.models", REDIS, '"uid": "netmon-redis"', '"uid": "netmon-postgres"', "has the uid netmon-postgres as well", '"uid": "netmon-postgres"'),
    Mutation("uid that the file is not named after", "dashboards.models", REDIS, '"uid": "netmon-redis"', '"uid": "netmon-cache"', "is not the name of the file", "netmon-cache"),
    Mutation("dashboard that says not what it answers", "dashboards.models", REDIS, '"description": "The cache', '"about": "The cache', "the dashboard has no description"),
    Mutation("refresh that is too fast", "dashboards.models", REDIS, '"refresh": "10s"', '"refresh": "1s"', "too fast", '"refresh"'),
    Mutation("refresh that is no time", "dashboards.models", REDIS, '"refresh": "10s"', '"refresh": "often"', "is no time", '"refresh"'),
    Mutation("schema of another age", "dashboards.models", REDIS, '"schemaVersion": 41', '"schemaVersion": 16', "schema version 16", '"schemaVersion"'),
    Mutation("dashboard named after a folder", "dashboards.titles", REDIS, '"title": "Redis"', '"title": "Services"', "the title Services is the name of a folder", '"title": "Services"'),
    Mutation("title of another dashboard of the folder", "dashboards.titles", REDIS, '"title": "Redis"', '"title": "PostgreSQL"', "has the title PostgreSQL as well", '"title": "PostgreSQL"'),
    Mutation("broken JSON", "dashboards.models", REDIS, '"tags": ["netmon", "service"]', '"tags": ["netmon", "service",]', "is not JSON", '"tags"'),
    Mutation("key twice", "dashboards.models", REDIS, '"refresh": "10s"', '"refresh": "10s", "refresh": "1m"', "the key refresh stands twice"),
    # Panels.
    Mutation("panel without a unit", "dashboards.panels", REDIS, '"unit": "percentunit",', "", "Memory used has no unit", '"defaults"'),
    Mutation("unit that is spelt wrong", "dashboards.panels", REDIS, '"unit": "percentunit"', '"unit": "percentunits"', "the unit percentunits", "percentunits"),
    Mutation("column with a unit that is spelt wrong", "dashboards.panels", TRACES, '{"id": "unit", "value": "ops"}', '{"id": "unit", "value": "op"}', "the unit op,", "{"),
    Mutation("heat map without a unit", "dashboards.panels", APP, '"yAxis": {"unit": "s", ', '"yAxis": {', "has no unit", '"yAxis"'),
    Mutation("panel without a title", "dashboards.panels", REDIS, '"title": "Hit ratio"', '"title": ""', "has no title", '"title": ""'),
    Mutation("panel without a description", "dashboards.panels", REDIS, '"description": "Whether', '"about": "Whether', "Redis has no description"),
    Mutation("panel without a query", "dashboards.panels", REDIS, '"targets": [', '"queries": [', "Redis has no query"),
    Mutation("id twice", "dashboards.panels", REDIS, '"id": 3,', '"id": 2,', "Hit ratio has the id of another one", '"id": 2'),
    Mutation("panels on top of each other", "dashboards.panels", REDIS, '"w": 4, "x": 4, "y": 0', '"w": 4, "x": 3, "y": 0', "Memory used lies over Redis", '"x": 3'),
    Mutation("panel over the edge", "dashboards.panels", REDIS, '"w": 4, "x": 20, "y": 0', '"w": 4, "x": 22, "y": 0', "Rejected (1 h) reaches over the edge", '"x": 22'),
    # Data sources.
    Mutation("data source that is not there", "datasources.references", REDIS, '"uid": "prometheus"', '"uid": "prom"', "no data source prom ", '"prom"'),
    Mutation("data source of another type", "datasources.references", REDIS, '"type": "prometheus"', '"type": "loki"', "no data source prometheus of the type loki", '"loki"'),
    Mutation("data source by its name", "datasources.references", REDIS, '{"type": "prometheus", "uid": "prometheus"}', '"Prometheus"', "Prometheus is named", '"Prometheus"'),
    Mutation("data source of a group", "datasources.references", TRACES, '{"type": "tempo", "uid": "tempo"}', '{"type": "jaeger", "uid": "jaeger"}', "no data source jaeger", '"jaeger"'),
    Mutation("uid of another data source", "datasources.provisioned", SOURCES, "uid: loki\n", "uid: prometheus\n", "has the uid of another one", "uid: prometheus"),
    Mutation("data source that can be edited", "datasources.provisioned", SOURCES, "editable: false", "editable: true", "can be edited", "editable"),
    Mutation("data source at an unknown address", "datasources.provisioned", JAEGER, "http://jaeger:16686", "http://jager:16686", "asks jager", "jager"),
    Mutation("exemplars that lead nowhere", "datasources.provisioned", SOURCES, "datasourceUid: tempo", "datasourceUid: traces", "there is no data source traces", "traces"),
    # Queries.
    Mutation("PromQL that does not parse", "queries.parsed", REDIS, "sum by (db) (redis_db_keys)", "sum by (db (redis_db_keys)", "not PromQL", "redis_db_keys"),
    Mutation("sum of what need not be there", "queries.sums", MONITORING, "(sum(increase(otelcol_exporter_send_failed_spans_total[1h])) or vector(0))", "sum(increase(otelcol_exporter_send_failed_spans_total[1h]))", "the sum is empty where sum(increase(otelcol_exporter_send_failed_spans_total", "otelcol_exporter_send_failed_spans_total"),
    Mutation("metric that nothing reads", "queries.missed", EXPECTED, "metric: loki_discarded", "metric: loki_refused", "no rule and no panel reads loki_refused_samples_total", "loki_refused"),
    Mutation("metrics of an image that nothing reads", "queries.missed", "images/kafka-exporter/contract.yml", "metrics: kafka_", "metrics: broker_", "no rule and no panel reads broker_", "metrics:"),
    Mutation("metric that is missing without a reason", "queries.missed", EXPECTED, "    reason: ", "    reason: \"\" # ", "there is no reason", "reason"),
    Mutation("LogQL without a selector", "queries.parsed", LOGS, '{service_name=~\\"$service\\"} [5m]', '{service_name} [5m]', "LogQL without a stream selector", "service_name"),
    Mutation("LogQL with an open bracket", "queries.parsed", LOGS, '{service_name=~\\"$service\\"} [5m]))', '{service_name=~\\"$service\\"} [5m])', "( is not closed", "service_name"),
    Mutation("TraceQL with an open bracket", "queries.parsed", TRACES, "status = error }", "status = error", "{ is not closed", "status = error"),
    Mutation("variable that is not there", "queries.variables", APP, '$route\\"', '$routes\\"', "there is no variable routes", "$routes"),
    Mutation("metric of the app renamed", "queries.metrics", OVERVIEW, "netmon_probes_total", "netmon_probe_total", "exposes netmon_probe_total", "netmon_probe_total"),
    Mutation("metric of the containers renamed", "queries.metrics", OVERVIEW, "container_running", "container_run", "exposes container_run", "container_run"),
    Mutation("recorded metric renamed", "queries.metrics", OVERVIEW, "slo:api_errors:ratio_rate1h", "slo:api_errors:ratio_rate1w", "no rule records", "ratio_rate1w"),
    Mutation("excuse for a panel that is not there", "queries.excused", EXCUSES, "panel: Failed traces", "panel: Failing traces", "such a panel Failing traces", "Failing traces"),
    Mutation("excuse without a reason", "queries.excused", EXCUSES, "reason: No trace has failed.", 'reason: ""', "there is no reason", "reason"),
    Mutation("excuse for a service that is not there", "queries.excused", EXCUSES, "needs: tempo", "needs: temp", "temp is no service", "needs: temp"),
    # Links.
    Mutation("link to a dashboard that is not there", "dashboards.links", OVERVIEW, "/d/netmon-rabbitmq", "/d/netmon-rabbit", "there is no dashboard netmon-rabbit", "netmon-rabbit"),
    Mutation("alert on log lines that links to no dashboard", "dashboards.links", "monitoring/loki/rules/fake/logs.yml", "/d/netmon-logs", "/d/netmon-log", "there is no dashboard netmon-log", "netmon-log"),
    Mutation("link that presets an unknown variable", "dashboards.links", OVERVIEW, "var-service=", "var-services=", "has no variable services", "var-services"),
    Mutation("links by an unknown tag", "dashboards.links", REDIS, '"tags": ["netmon"]', '"tags": ["network"]', "no dashboard has the tag network", "network"),
    Mutation("home that is not there", "dashboards.home", SETTINGS, "netmon-overview.json", "netmon-home.json", "there is no dashboard", "netmon-home"),
)
# fmt: on
