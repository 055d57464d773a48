"""Checks of the log and trace pipelines: no silent loss, and no unlimited retention."""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.core.durations import seconds
from toolkit.validate.alerts import LOG_RULES, alerts, files
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import BrokenFileError, Finding
from toolkit.validate.source import Source

COLLECTOR = "monitoring/otel-collector/collector.yml"
LOKI = "monitoring/loki/loki.yml"
LOKI_LIMITS = (
    "retention_period",
    "reject_old_samples_max_age",
    "ingestion_rate_mb",
    "ingestion_burst_size_mb",
    "per_stream_rate_limit",
    "per_stream_rate_limit_burst",
    "max_global_streams_per_user",
    "max_structured_metadata_entries_count",
    "max_line_size",
    # Without these long lines are lost, every line is rejected, and no line has a level.
    "max_line_size_truncate",
    "allow_structured_metadata",
    "discover_log_levels",
)
SERVICE = "service.name"
TENANT = "fake"
"""Loki's name of the tenant without authentication."""
LOKI_RULES = "/etc/loki/rules"
"""The mount point of monitoring/loki/rules/."""
DISK_USAGE = "loki_ingester_wal_disk_usage_percent"
JAEGER = "monitoring/jaeger/jaeger.yml"
TEMPO = "monitoring/tempo/tempo.yml"
GRAFANA = "monitoring/grafana/grafana.ini"
FLAGS = {
    "prometheus": ("--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage"),
    "loki": ("-config.expand-env=true",),
}
OTLP = "--web.enable-otlp-receiver"
KINDS = ("receivers", "processors", "exporters", "connectors")


def collector(checkout: Checkout) -> Iterator[Finding]:
    """The collector limits its memory, queues logs on disk, keeps samples in order, and has no unused components."""
    source = checkout.source(COLLECTOR)
    data = source.data
    pipelines: Mapping[str, Mapping[str, list[str]]] = data["service"]["pipelines"]
    used = {name for pipeline in pipelines.values() for names in pipeline.values() for name in names}
    for kind in KINDS:
        for name in data.get(kind) or {}:
            yield source.finding(kind, name, problem="" if name in used else f"no pipeline uses {name}")
    for name, pipeline in pipelines.items():
        first = next(iter(pipeline.get("processors", [])), "none")
        guarded = first.partition("/")[0] == "memory_limiter" or _internal(pipeline, data)
        problem = "" if guarded else f"the first processor of {name} is {first}, not memory_limiter"
        yield source.finding("service", "pipelines", name, "processors", problem=problem)
    storage = {name for name in data.get("extensions", {}) if name.partition("/")[0] == "file_storage"}
    for name, config in (data.get("receivers") or {}).items():
        if name.partition("/")[0] == "file_log":
            fine = config.get("storage") in storage
            problem = "" if fine else f"{name} does not persist its read offsets: storage is not set"
            yield source.finding("receivers", name, "storage", problem=problem)
    for name, pipeline in pipelines.items():
        for exporter in pipeline["exporters"] if name.partition("/")[0] == "logs" else ():
            queue = data["exporters"][exporter].get("sending_queue", {})
            problem = (
                ""
                if queue.get("storage") in storage
                else f"{exporter} does not persist its queue: sending_queue.storage is not set"
            )
            yield source.finding("exporters", exporter, "sending_queue", "storage", problem=problem)
    for name, pipeline in pipelines.items():
        for exporter in pipeline["exporters"] if name.partition("/")[0] == "metrics" else ():
            ordered = data["exporters"][exporter].get("sending_queue", {}).get("num_consumers") == 1
            problem = "" if ordered else f"{exporter} may send samples out of order: num_consumers is not 1"
            yield source.finding("exporters", exporter, "sending_queue", "num_consumers", problem=problem)
    for name, config in (data.get("connectors") or {}).items():
        without = name.partition("/")[0] == "span_metrics" and not (config.get("exemplars") or {}).get("enabled")
        yield source.finding("connectors", name, "exemplars", problem=f"{name} has no exemplars" if without else "")
    for name, config in data["exporters"].items():
        for key, what in (("sending_queue", "has no queue"), ("retry_on_failure", "does not retry")):
            off = (config or {}).get(key, {}).get("enabled", True) is False
            yield source.finding("exporters", name, key, problem=f"{name} {what}" if off else "")


def _internal(pipeline: Mapping[str, list[str]], data: Mapping[str, Any]) -> bool:
    """Whether a pipeline receives only from other pipelines, which have a memory limiter."""
    return set(pipeline.get("receivers", [])) <= set(data.get("connectors") or {})


def flags(checkout: Checkout) -> Iterator[Finding]:
    """Prometheus accepts what the collector and Tempo send, and Loki replaces the variables of its file."""
    absent = [checkout.project.data["absent"]]
    for each in checkout.full_configurations:
        for service, needed in FLAGS.items():
            found = each.services.get(service)
            if found is None or found.get("profiles") == absent:
                continue
            # The Prometheus that is built here has no OTLP receiver; the collector uses remote write there.
            otlp = service == "prometheus" and each.services["tempo"].get("profiles") != absent
            missing = [flag for flag in (*needed, *([OTLP] if otlp else [])) if flag not in found["command"]]
            problem = f"{service} is started without {missing[0]}" if missing else ""
            yield checkout.place(each.files, "services", service, "command", problem=problem)


def telemetry(checkout: Checkout) -> Iterator[Finding]:
    """The collector and Jaeger name their own metrics as rules and panels read them: with _total and units.

    Counters of failures appear with the first failure: without the suffix, their alerts would never fire.
    """
    for source in map(checkout.source, (COLLECTOR, JAEGER)):
        for number, reader in enumerate(source.data["service"]["telemetry"]["metrics"]["readers"]):
            options = reader["pull"]["exporter"]["prometheus"]
            for key in ("without_type_suffix", "without_units"):
                problem = "" if options.get(key) is False else f"{key} is not false: the metrics have other names"
                keys = ("service", "telemetry", "metrics", "readers", number, "pull", "exporter", "prometheus", key)
                yield source.finding(*keys, problem=problem)


def loki(checkout: Checkout) -> Iterator[Finding]:
    """Loki uses its current storage format, deletes old lines, and limits its ingestion."""
    source = checkout.source(LOKI)
    for number, schema in enumerate(source.data["schema_config"]["configs"]):
        for key, expected in (("store", "tsdb"), ("schema", "v13")):
            problem = "" if schema.get(key) == expected else f"the {key} is {schema.get(key)}, not {expected}"
            yield source.finding("schema_config", "configs", number, key, problem=problem)
    compactor, limits = source.data.get("compactor", {}), source.data.get("limits_config", {})
    retention = (
        "" if compactor.get("retention_enabled") is True else "old lines are kept: retention_enabled is not true"
    )
    yield source.finding("compactor", "retention_enabled", problem=retention)
    for section, given, keys in (
        ("compactor", compactor, ("delete_request_store",)),
        ("limits_config", limits, LOKI_LIMITS),
    ):
        for key in keys:
            yield source.finding(section, key, problem="" if given.get(key) else f"{key} is not set")
    mode = limits.get("deletion_mode")
    problem = "" if mode == "disabled" else f"the API that deletes lines is open: deletion_mode is {mode or 'not set'}"
    yield source.finding("limits_config", "deletion_mode", problem=problem)
    yield from _backlog(source)
    threshold = source.data.get("ingester", {}).get("wal", {}).get("disk_full_threshold")
    for alert in alerts(checkout):
        if DISK_USAGE in alert.data["expr"]:
            fine = threshold is not None and alert.data["expr"] == f"{DISK_USAGE} >= {threshold}"
            problem = "" if fine else f"it does not fire from disk_full_threshold of {LOKI} on, which is {threshold}"
            yield alert.at("expr", problem=problem)
    ruler = source.data.get("ruler", {})
    folder = ruler.get("storage", {}).get("local", {}).get("directory")
    problem = "" if folder == LOKI_RULES else f"the ruler reads its rules in {folder}, not in {LOKI_RULES}"
    yield source.finding("ruler", "storage", "local", "directory", problem=problem)
    tenant = f"monitoring/loki/rules/{TENANT}/"
    for rules in files(checkout, LOG_RULES):
        problem = "" if rules.file.startswith(tenant) else f"the ruler reads the rules of its tenant only, in {tenant}"
        yield Finding(rules.file, 1, problem)
    resource = limits.get("otlp_config", {}).get("resource_attributes", {})
    labels = [
        name
        for each in resource.get("attributes_config", [])
        if each["action"] == "index_label"
        for name in each["attributes"]
    ]
    alone = labels == [SERVICE] and resource.get("ignore_defaults") is True
    problem = "" if alone else f"{SERVICE} is not the only label of a stream: rules and panels select by it"
    yield source.finding("limits_config", "otlp_config", problem=problem)
    period, oldest = limits.get("retention_period", "0s"), limits.get("reject_old_samples_max_age", "0s")
    problem = "" if seconds(period) == seconds(oldest) else f"lines are accepted up to {oldest}, but kept for {period}"
    yield source.finding("limits_config", "reject_old_samples_max_age", problem=problem)


def _backlog(source: Source) -> Iterator[Finding]:
    """Lines of a backlog are stored in any order, and queries find them at once."""
    ingester, limits = source.data.get("ingester", {}), source.data.get("limits_config", {})
    sharding = limits.get("shard_streams", {})
    recent = seconds(sharding.get("time_sharding_ignore_recent", "40m"))
    window = seconds(ingester.get("max_chunk_age", "2h")) / 2
    if sharding.get("time_sharding_enabled") is not True:
        problem = f"lines {window / 60:.0f} min older than the newest of their service are lost (time_sharding_enabled)"
    elif recent >= window:
        problem = f"time_sharding_ignore_recent is not below half of max_chunk_age, {window / 60:.0f} min"
    else:
        problem = ""
    yield source.finding("limits_config", "shard_streams", problem=problem)
    found = ingester.get("query_store_max_look_back_period")
    problem = (
        "" if found == "-1ns" else f"a backlog is not found: query_store_max_look_back_period is {found}, not -1ns"
    )
    yield source.finding("ingester", "query_store_max_look_back_period", problem=problem)


def tempo(checkout: Checkout) -> Iterator[Finding]:
    """Tempo deletes old traces, limits its ingestion, makes the service graph, listens on all interfaces."""
    source = checkout.source(TEMPO)
    retention = source.data.get("backend_worker", {}).get("compaction", {}).get("block_retention")
    yield source.finding(
        "backend_worker", "compaction", "block_retention",
        problem="" if retention else "old traces are kept: block_retention is not set",
    )  # fmt: skip
    limits = source.data.get("overrides", {}).get("defaults", {})
    for section, key in (("ingestion", "rate_limit_bytes"), ("global", "max_bytes_per_trace")):
        problem = "" if (limits.get(section) or {}).get(key) else f"{key} is not set"
        yield source.finding("overrides", "defaults", section, key, problem=problem)
    graph = "service-graphs" in limits.get("metrics_generator", {}).get("processors", [])
    problem = "" if graph else "no service graph is generated, which Grafana shows"
    yield source.finding("overrides", "defaults", "metrics_generator", "processors", problem=problem)
    protocols = source.data["distributor"]["receivers"]["otlp"]["protocols"]
    for name, config in protocols.items():
        endpoint = (config or {}).get("endpoint", "")
        problem = "" if endpoint.startswith("0.0.0.0:") else f"{name} listens on the loopback interface only"
        yield source.finding("distributor", "receivers", "otlp", "protocols", name, "endpoint", problem=problem)


def grafana(checkout: Checkout) -> Iterator[Finding]:
    """Grafana requires a login and allows no sign-up."""
    path = checkout.root / GRAFANA
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read_string(path.read_text(encoding="utf-8"))
    except (OSError, configparser.Error) as error:
        raise BrokenFileError(Finding(GRAFANA, 1, f"cannot be read: {error}")) from error
    lines = path.read_text(encoding="utf-8").splitlines()
    for section, key in (("auth.anonymous", "enabled"), ("users", "allow_sign_up")):
        value = settings.get(section, key, fallback="not set")
        line = next((number for number, text in enumerate(lines, 1) if text.startswith(key)), 1)
        yield Finding(GRAFANA, line, "" if value == "false" else f"{key} of {section} is {value}, not false")
