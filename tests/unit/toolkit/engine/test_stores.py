"""The data of each store: what its program opens, and what it would ignore or refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.toolkit.conftest import CHECKOUT
from tests.unit.toolkit.history import fill, looked
from toolkit.checkout.project import Project
from toolkit.checkout.variables import parse
from toolkit.engine import stores
from toolkit.engine.stores import STORES, Contents
from toolkit.engine.volumes import parsed

BY_SERVICE = {store.service: store for store in STORES}
VARIABLES = {"CLUSTER_ID": "abc.1", "KAFKA_NODE_ID": "1"}
META = "#\ncluster.id=abc.1\nnode.id=1\nversion=1\n"
FLAGS = "mnesia/rabbit@rabbitmq-feature_flags"

OWN: dict[str, list[dict[str, str]]] = {
    "db": [
        {"18/docker/PG_VERSION": "18\n", "18/docker/base/1": ""},
        {"18/docker/base/1": ""},  # an interrupted first start
        {"18/docker/PG_VERSION": "18\n", "17/docker/PG_VERSION": "17\n"},
    ],
    "redis": [
        {"appendonlydir/appendonly.aof.1.base.rdb": "REDIS0012\xfa", "appendonlydir/appendonly.aof.manifest": "file"},
        {
            "appendonlydir/appendonly.aof.1.incr.aof": "*2",
            "appendonlydir/appendonly.aof.manifest": "file",
            "dump.rdb": "REDIS0012",
        },
        {"appendonly.aof": "*2"},
    ],
    "kafka": [
        {"meta.properties": META, "probe.results-0/00.log": ""},
        {"bootstrap.checkpoint": ""},
        {
            "meta.properties": META,
            "probe.results-0/partition.metadata": "",
            "__cluster_metadata-0/00000000000000000000.log": "",
            "__cluster_metadata-0/partition.metadata": "",
        },
    ],
    "rabbitmq": [
        {
            FLAGS: "[feature_flags_v2,\n khepri_db,\n listener].\n",
            ".erlang.cookie": "X",
            "mnesia/rabbit@rabbitmq/x": "",
        },
        {".erlang.cookie": "X", "mnesia/": ""},
    ],
    "prometheus": [{"wal/00000000": "", "chunks_head/": "", "lock": ""}, {"01ABC/meta.json": "{}"}],
    "alertmanager": [{"nflog": "", "silences": ""}],
    "grafana": [{"grafana.db": "SQLite format 3\0"}, {"grafana.db": ""}, {"plugins/x/y": "", "png/z": ""}],
    "loki": [{"tsdb-shipper-active/uploader/name": "", "chunks/fake/1": ""}, {"rules/": "", "rules-temp/": ""}],
    "tempo": [{"wal/1": "", "blocks/2": ""}],
    "otel-collector": [{"receiver_filelog_": "", "exporter_otlp_http_logs_logs": ""}],
    "victorialogs": [{"partitions/20260101/datadb/1": "", "flock.lock": ""}],
    "proxy": [{"caddy/pki/root.crt": ""}],
    "backup": [{"state.json": "{}", "state.lock": "", "staging/1/PG_VERSION": "18\n"}, {"state.lock": ""}],
}
"""Volumes that each program opens."""

REFUSED: dict[str, list[tuple[dict[str, str], str]]] = {
    "db": [
        ({"17/docker/PG_VERSION": "17\n"}, "PostgreSQL 17 (17/docker/PG_VERSION)"),
        ({"PG_VERSION": "15\n", "base/1": ""}, "PostgreSQL 15 (PG_VERSION)"),
        ({"data/PG_VERSION": "16\n"}, "PostgreSQL 16 (data/PG_VERSION)"),
        ({"17/main/PG_VERSION": "17\n"}, "PostgreSQL 17 (17/main/PG_VERSION)"),
        ({"PG_VERSION": "18\n"}, "PostgreSQL 18 (PG_VERSION)"),
        ({"18/docker/PG_VERSION": "19\n"}, "was written by PostgreSQL 19 (18/docker/PG_VERSION)"),
        ({"18/docker/PG_VERSION": "17\n"}, "was written by PostgreSQL 17 (18/docker/PG_VERSION)"),
        ({"ibdata1": ""}, "contains ibdata1; PostgreSQL 18 would ignore this and start empty"),
    ],
    "redis": [
        ({"dump.rdb": "REDIS0009"}, "does not load if its append-only file is on (dump.rdb)"),
        ({"data/appendonlydir/x": ""}, "in another folder (data/appendonlydir)"),
        (
            {"appendonlydir/a.1.base.rdb": "VALKEY080", "appendonlydir/a.manifest": ""},
            "written by a program other than Redis",
        ),
        ({"appendonlydir/a.1.incr.aof": "*2"}, "a.1.incr.aof without appendonlydir/*.manifest; Redis would ignore"),
        ({"appendonlydir/a.1.base.rdb": "REDIS0012"}, "without appendonlydir/*.manifest"),
    ],
    "kafka": [
        ({"meta.properties": META.replace("version=1", "version=0")}, "was written by Kafka with ZooKeeper"),
        ({"meta.properties": META.replace("abc.1", "abcd1")}, "another Kafka cluster"),
        ({"meta.properties": META.replace("node.id=1", "node.id=12")}, "another Kafka node"),
        ({"data/meta.properties": META}, "Kafka, in another folder (data/meta.properties)"),
        ({"version-2/log.1": ""}, "ZooKeeper (version-2)"),
        (
            {"meta.properties": META, "probe.results-0/partition.metadata": ""},
            "probe.results-0/partition.metadata without __cluster_metadata-0/*.log; Kafka 4 would ignore this",
        ),
        ({"probe.results-0/00.log": ""}, "contains probe.results-0;"),
    ],
    "rabbitmq": [
        ({FLAGS: "[feature_flags_v2].\n"}, "was written by RabbitMQ 4.1 or older"),
        ({"mnesia/rabbit@4f2a-feature_flags": "[khepri_db].", "mnesia/rabbit@4f2a/x": ""}, "under another host name"),
        ({"mnesia/rabbit@rabbitmq/schema.DAT": ""}, "or older than 3.8"),
    ],
    "prometheus": [({"VERSION": "1\n", "heads.db": ""}, "Prometheus 1"), ({"data/wal/0": ""}, "(data/wal)")],
    "alertmanager": [({"data/nflog": ""}, "(data/nflog)")],
    "grafana": [({"data/grafana.db": "SQLite format 3"}, "(data/grafana.db)"), ({"grafana.db": "x"}, "not a SQLite")],
    "loki": [({"boltdb-shipper-active/x": ""}, "version 2.7 or older"), ({"loki/chunks/1": ""}, "(loki/chunks)")],
    "tempo": [({"tempo/wal/1": ""}, "(tempo/wal)")],
    "otel-collector": [({"storage/receiver_filelog_": ""}, "(storage/receiver_filelog_)")],
    "victorialogs": [({"data/1": "", "indexdb/1": ""}, "VictoriaMetrics (indexdb)")],
    "proxy": [({"acme.json": "{}"}, "Traefik (acme.json)")],
    "backup": [({"18/docker/PG_VERSION": "18\n"}, "PostgreSQL 18 (18/docker/PG_VERSION)")],
}
"""Volumes that each program would ignore or refuse, with the reason."""


def contents(root: Path, service: str, tree: dict[str, str]) -> Contents:
    """The result of the inspection of a folder with these files."""
    folder = root / BY_SERVICE[service].volume
    folder.mkdir()
    fill(folder, tree)
    return parsed(looked(root, BY_SERVICE[service])).get(BY_SERVICE[service].volume, Contents())


def problem(root: Path, service: str, tree: dict[str, str]) -> str:
    """The problem of a volume with these files."""
    return stores.problem(BY_SERVICE[service], contents(root, service, tree), VARIABLES)


@pytest.mark.parametrize(("service", "tree"), [(name, tree) for name, trees in OWN.items() for tree in trees])
def test_own_data_is_opened(tmp_path: Path, service: str, tree: dict[str, str]) -> None:
    assert problem(tmp_path, service, tree) == ""


@pytest.mark.parametrize(
    ("service", "tree", "message"), [(name, *case) for name, cases in REFUSED.items() for case in cases]
)
def test_other_data_is_refused(tmp_path: Path, service: str, tree: dict[str, str], message: str) -> None:
    assert message in problem(tmp_path, service, tree)


@pytest.mark.parametrize("service", sorted(BY_SERVICE))
def test_no_program_starts_empty_beside_unknown_files(tmp_path: Path, service: str) -> None:
    found = problem(tmp_path, service, {"something": "", "lost+found/": "", ".hidden": "", "empty/": ""})
    assert found.startswith("contains something; "), found
    assert "start empty" in found


@pytest.mark.parametrize("service", sorted(BY_SERVICE))
def test_empty_volume_is_fine(tmp_path: Path, service: str) -> None:
    assert problem(tmp_path, service, {"lost+found/x": "", ".cache": "", "empty/": ""}) == ""


def test_every_store_has_cases() -> None:
    assert OWN.keys() == REFUSED.keys() == BY_SERVICE.keys()


def test_unused_data_of_another_version_is_listed(tmp_path: Path) -> None:
    found = contents(tmp_path, "db", {"18/docker/PG_VERSION": "18", "17/docker/PG_VERSION": "17"})
    assert stores.unused(BY_SERVICE["db"], found) == ["PostgreSQL 17 (17/docker/PG_VERSION)"]


@pytest.mark.parametrize(
    ("service", "tree"),
    [
        ("redis", {"appendonlydir/appendonly.aof.manifest": "file", "dump.rdb": "REDIS0012"}),
        ("tempo", {"wal/1": "", "generator/wal/1": ""}),
        ("rabbitmq", {FLAGS: "[khepri_db].", "mnesia/rabbit@rabbitmq/schema.DAT": ""}),
        *((name, trees[0]) for name, trees in OWN.items()),
    ],
)
def test_other_files_of_the_program_are_not_unused(tmp_path: Path, service: str, tree: dict[str, str]) -> None:
    assert stores.unused(BY_SERVICE[service], contents(tmp_path, service, tree)) == []


def test_link_of_the_image_is_no_data(tmp_path: Path) -> None:
    """The published image of PostgreSQL 18 has a link ``data`` to the same folder."""
    folder = tmp_path / "postgres_data"
    folder.mkdir()
    (folder / "data").symlink_to(".")
    fill(folder, {"18/docker/PG_VERSION": "18\n"})
    found = parsed(looked(tmp_path, BY_SERVICE["db"]))["postgres_data"]
    assert stores.problem(BY_SERVICE["db"], found, {}) == ""
    assert stores.others(BY_SERVICE["db"], found) == []
    assert "data" not in found.entries


def test_one_look_is_at_all_volumes(tmp_path: Path) -> None:
    for store in STORES:
        (tmp_path / store.volume).mkdir()
        fill(tmp_path / store.volume, OWN[store.service][0])
    assert parsed(looked(tmp_path, *STORES)).keys() == {store.volume for store in STORES}


def test_folder_that_cannot_be_read_hides_its_version() -> None:
    hidden = parsed("unreadable\tpostgres_data\t18\t\nentry\tpostgres_data\tother\t\n")["postgres_data"]
    assert hidden.unreadable == ("18",)
    assert stores.problem(BY_SERVICE["db"], hidden, {}) == ""


def test_missing_volume_is_unreadable(tmp_path: Path) -> None:
    assert parsed(looked(tmp_path, BY_SERVICE["db"]))["postgres_data"].unreadable == (".",)


def test_variables_are_those_that_the_data_has_to_match() -> None:
    assert BY_SERVICE["kafka"].variables == {"CLUSTER_ID", "KAFKA_NODE_ID"}
    assert BY_SERVICE["db"].variables == frozenset()


EMPTY = "disk_watch"
"""A volume that stays empty."""


def test_every_volume_of_the_compose_files_is_that_of_a_store() -> None:
    project = Project.load(CHECKOUT)
    mounted = {}
    for name in project.shipped_files:
        layer = parse(CHECKOUT / name)
        assert layer.get("volumes", {}).keys() <= {*(store.volume for store in STORES), EMPTY}, name
        for service, spec in layer["services"].items():
            for mount in (spec or {}).get("volumes") or []:
                if isinstance(mount, str) and mount.partition(":")[0].endswith("_data"):
                    volume, target = mount.split(":")
                    mounted[service] = (volume, target)
    assert mounted == {store.service: (store.volume, store.target) for store in STORES}


def test_versions_are_those_of_the_compose_files() -> None:
    services = parse(CHECKOUT / "docker-compose.yml")["services"]
    db = BY_SERVICE["db"]
    assert services["db"]["environment"]["PGDATA"] == f"{db.target}/{stores.PGDATA}"
    assert f"postgres:{stores.PGDATA.partition('/')[0]}." in services["db"]["image"]
    assert f"mnesia/rabbit@{services['rabbitmq']['hostname']}" == stores.NODE
    assert {"CLUSTER_ID", "KAFKA_NODE_ID"} <= services["kafka"]["environment"].keys()
    assert services["kafka"]["environment"]["KAFKA_LOG_DIRS"] == BY_SERVICE["kafka"].target
    assert "appendonly yes" in (CHECKOUT / "config/redis/redis.conf").read_text()
    assert yaml.safe_load((CHECKOUT / "images/postgres/contract.yml").read_text())["config"]["volumes"] == [db.target]


def test_look_uses_programs_of_the_contract_of_its_image() -> None:
    contract = yaml.safe_load((CHECKOUT / "images/postgres/contract.yml").read_text())
    assert {"sh", "head", "base64"} <= {*contract["programs"], *contract["tasks"]}


def test_kafka_without_its_variables_accepts_any_cluster(tmp_path: Path) -> None:
    found = contents(tmp_path, "kafka", {"meta.properties": META})
    assert stores.problem(BY_SERVICE["kafka"], found, {}) == ""
