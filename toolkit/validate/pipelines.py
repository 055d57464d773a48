"""Logs and traces: nothing is lost on the way without a word, and nothing is kept for ever."""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import BrokenFileError, Finding

COLLECTOR = "monitoring/otel-collector/collector.yml"
LOKI = "monitoring/loki/loki.yml"
TEMPO = "monitoring/tempo/tempo.yml"
GRAFANA = "monitoring/grafana/grafana.ini"
KINDS = ("receivers", "processors", "exporters", "connectors")


def collector(checkout: Checkout) -> Iterator[Finding]:
    """The collector guards its memory, keeps undelivered logs on disk, metrics in their order, and nothing unused."""
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
            problem = "" if fine else f"{name} does not keep on disk how far it has read"
            yield source.finding("receivers", name, "storage", problem=problem)
    for name, pipeline in pipelines.items():
        for exporter in pipeline["exporters"] if name.partition("/")[0] == "logs" else ():
            queue = data["exporters"][exporter].get("sending_queue", {})
            problem = (
                "" if queue.get("storage") in storage else f"{exporter} does not keep on disk what it cannot deliver"
            )
            yield source.finding("exporters", exporter, "sending_queue", "storage", problem=problem)
    for name, pipeline in pipelines.items():
        for exporter in pipeline["exporters"] if name.partition("/")[0] == "metrics" else ():
            ordered = data["exporters"][exporter].get("sending_queue", {}).get("num_consumers") == 1
            problem = "" if ordered else f"samples of {exporter} overtake each other: num_consumers is not 1"
            yield source.finding("exporters", exporter, "sending_queue", "num_consumers", problem=problem)
    for name, config in data["exporters"].items():
        for key, what in (("sending_queue", "has no queue"), ("retry_on_failure", "does not try again")):
            off = (config or {}).get(key, {}).get("enabled", True) is False
            yield source.finding("exporters", name, key, problem=f"{name} {what}" if off else "")


def _internal(pipeline: Mapping[str, list[str]], data: Mapping[str, Any]) -> bool:
    """Whether all that a pipeline receives comes from another one, which is guarded."""
    return set(pipeline.get("receivers", [])) <= set(data.get("connectors") or {})


def loki(checkout: Checkout) -> Iterator[Finding]:
    """Loki stores in its present format, deletes what is too old, and refuses what is too much."""
    source = checkout.source(LOKI)
    for number, schema in enumerate(source.data["schema_config"]["configs"]):
        for key, wanted in (("store", "tsdb"), ("schema", "v13")):
            problem = "" if schema.get(key) == wanted else f"the {key} is {schema.get(key)}, not {wanted}"
            yield source.finding("schema_config", "configs", number, key, problem=problem)
    compactor, limits = source.data.get("compactor", {}), source.data.get("limits_config", {})
    kept = (
        "" if compactor.get("retention_enabled") is True else "nothing deletes old lines: retention_enabled is not true"
    )
    yield source.finding("compactor", "retention_enabled", problem=kept)
    for section, given, keys in (
        ("compactor", compactor, ("delete_request_store",)),
        ("limits_config", limits, ("retention_period", "reject_old_samples_max_age", "ingestion_rate_mb")),
    ):
        for key in keys:
            yield source.finding(section, key, problem="" if given.get(key) else f"{key} is not set")
    yield source.finding("ruler", problem="" if source.data.get("ruler") else "no ruler is configured")


def tempo(checkout: Checkout) -> Iterator[Finding]:
    """Tempo deletes what is too old, and listens to other containers."""
    source = checkout.source(TEMPO)
    retention = source.data.get("backend_worker", {}).get("compaction", {}).get("block_retention")
    yield source.finding(
        "backend_worker", "compaction", "block_retention",
        problem="" if retention else "nothing deletes old traces: block_retention is not set",
    )  # fmt: skip
    protocols = source.data["distributor"]["receivers"]["otlp"]["protocols"]
    for name, config in protocols.items():
        endpoint = (config or {}).get("endpoint", "")
        problem = "" if endpoint.startswith("0.0.0.0:") else f"{name} listens to its own container alone"
        yield source.finding("distributor", "receivers", "otlp", "protocols", name, "endpoint", problem=problem)


def grafana(checkout: Checkout) -> Iterator[Finding]:
    """Grafana lets nobody in without a password, and nobody makes an account."""
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
