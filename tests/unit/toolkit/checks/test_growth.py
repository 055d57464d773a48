"""The size of the data, for the shipped files: every store has a bound, and the documentation has the same figures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.toolkit.conftest import CHECKOUT, FakeDocker, configuration
from toolkit.checks import growth
from toolkit.checks.growth import ASSUMED, GB, Load, shares
from toolkit.core.errors import ToolkitError

FILES = ("docker-compose.yml", "docker-compose.monitoring.yml")
OWN_VOLUME = {
    "postgres_data": "database", "redis_data": "cache", "kafka_data": "events", "rabbitmq_data": "queues",
    "prometheus_data": "metrics", "loki_data": "logs", "tempo_data": "traces", "backup_data": "backup in progress",
}  # fmt: skip
SMALL = {"alertmanager_data", "grafana_data", "otel_collector_data", "proxy_data", "disk_watch"}
"""Volumes of a few megabytes: silences, accounts, read offsets, certificates, nothing."""


def shipped() -> Any:
    """The services of the shipped files with the defaults of their variables."""
    services: dict[str, Any] = {}
    for file in FILES:
        text = re.sub(r"\$\{\w+:-([^{}]*)\}", r"\1", (CHECKOUT / file).read_text())
        for name, service in yaml.safe_load(text)["services"].items():
            known = services.setdefault(name, {})
            environment = {**known.get("environment", {}), **service.get("environment", {})}
            services[name] = {**known, **service, "environment": environment}
    return configuration(**services)


def by_store(load: Load, config: Any = None, root: Path = CHECKOUT) -> dict[str, float]:
    """The gigabytes of each store."""
    return {share.store: share.size / GB for share in shares(root, config or shipped(), load)}


def test_every_volume_has_a_share() -> None:
    volumes = {name for file in FILES for name in yaml.safe_load((CHECKOUT / file).read_text())["volumes"]}
    assert volumes <= OWN_VOLUME.keys() | SMALL, "a new volume needs a share, or is a small one"
    assert {OWN_VOLUME[name] for name in volumes - SMALL} <= by_store(ASSUMED).keys()


def test_the_documentation_has_the_same_figures() -> None:
    text = (CHECKOUT / "docs" / "deployment.md").read_text().partition("## Disk space")[2].partition("\n## ")[0]
    columns = [by_store(Load(100, 100 / 60)), by_store(Load(1000, 1000 / 60)), by_store(Load(10_000, 10_000 / 60))]
    rows = dict(re.findall(r"^\| (?!store)([a-z -]+?) \|.*?\| (\d[\d., |]*) \|$", text, re.MULTILINE))
    assert rows.keys() == {*columns[0], "total"}
    for store in columns[0]:
        assert rows[store] == " | ".join(f"{column[store]:,.1f}" for column in columns), store
    assert rows["total"] == " | ".join(f"{sum(column.values()):,.0f}" for column in columns)


@given(st.integers(0, 40_000), st.floats(0, 2000), st.floats(0, 100))
def test_more_targets_and_more_probes_never_take_less(targets: int, rate: float, more: float) -> None:
    config = {"name": "x", "services": {"db": {}, "worker": {}}}
    fewer = shares(CHECKOUT, config, Load(targets, rate))  # type: ignore[arg-type]
    larger = shares(CHECKOUT, config, Load(targets + 1, rate + more))  # type: ignore[arg-type]
    assert sum(share.size for share in larger) > sum(share.size for share in fewer)


def test_settings_change_the_shares() -> None:
    config, before = shipped(), by_store(ASSUMED)
    config["services"]["worker"]["environment"]["RESULTS_RETENTION_DAYS"] = "140"
    config["services"]["kafka"]["environment"]["KAFKA_LOG_RETENTION_BYTES"] = str(1 << 30)
    options = config["services"]["prometheus"]["command"]
    config["services"]["prometheus"]["command"] = [re.sub("size=.*", "size=16GB", each) for each in options]
    after = by_store(ASSUMED, config)
    assert after["database"] > before["database"]
    assert after["events"] > 3 * before["events"]
    assert after["metrics"] == pytest.approx(2 * before["metrics"])


def test_bounds_are_those_of_the_queues_and_topics() -> None:
    script = (CHECKOUT / "scripts/container/rabbitmq-entrypoint.sh").read_text()
    jobs, dead = map(int, re.findall(r'"max-length-bytes": (\d+)', script))
    assert 2 * jobs + dead == growth.QUEUE_BYTES
    program = (CHECKOUT / "app/netmon/kafka.py").read_text()
    topics, partitions = program.partition("TOPICS = ")[2].partition("}")[0], re.search(r"PARTITIONS = (\d+)", program)
    assert partitions
    assert (topics.count(":")) * int(partitions[1]) == growth.PARTITIONS
    rollups = (CHECKOUT / "app/netmon/rollups.py").read_text()
    assert f"FINE_DAYS = {growth.FINE_DAYS}\n" in rollups
    assert f"HOURLY_DAYS = {growth.HOURLY_DAYS}\n" in rollups


@pytest.mark.parametrize(
    ("text", "size"), [("8GB", 8 << 30), ("2GiB", 2 << 30), ("320mb", 320 << 20), ("0", 0), ("1.5k", 1536)]
)
def test_sizes(text: str, size: float) -> None:
    assert growth._size(text) == size


@pytest.mark.parametrize("value", ["", "8 apples", "GB"])
def test_a_setting_that_is_no_size_is_an_error(value: str) -> None:
    config = shipped()
    config["services"]["prometheus"]["command"] = [f"--storage.tsdb.retention.size={value}"]
    with pytest.raises(ToolkitError, match="cannot compute the size of the data"):
        shares(CHECKOUT, config, ASSUMED)


@pytest.mark.parametrize(
    ("stdout", "code", "expected"),
    [
        ("240|4.00000000000000000000\n", 0, Load(240, 4.0)),
        ("0|0\n", 0, Load(0, 0.0)),
        ("", 1, ASSUMED),
        ("ERROR: no table\n", 0, ASSUMED),
    ],
)
def test_the_load_is_that_of_the_database(docker: FakeDocker, stdout: str, code: int, expected: Load) -> None:
    docker.on("exec", "db", "psql", stdout=stdout, code=code)
    assert growth.load(docker.cli, configuration(db={"image": "postgres"})) == expected
    assert growth.load(docker.cli, configuration(app={"image": "a"})) == ASSUMED


def test_a_hung_database_is_not_waited_for(docker: FakeDocker) -> None:
    docker.answer("exec", "db", by=ToolkitError("did not finish within 20 s"))
    assert growth.load(docker.cli, configuration(db={"image": "postgres"})) == ASSUMED
    assert json.dumps(docker.options[-1]["timeout"]) == "20.0"
