"""The inspection of the volumes of stores that do not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.history import listing, reported
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result
from toolkit.engine.existing import LISTED, Existing
from toolkit.engine.volumes import Inspection

POSTGRES, KAFKA = "network-monitor_postgres_data", "network-monitor_kafka_data"
OLD = {"17/docker/PG_VERSION": "17\n"}


class Volumes:
    """An engine with volumes, each of a store; ``trees`` are their files by the volume's key."""

    def __init__(self, project: Project, docker: FakeDocker) -> None:
        self.project, self.docker = project, docker
        self.created: dict[str, str] = {POSTGRES: "2026-01-01T00:00:00Z", KAFKA: "2026-01-01T00:00:00+01:00"}
        self.trees: dict[str, dict[str, str]] = {}
        self.mounts = {
            "db": [{"type": "volume", "source": "postgres_data", "target": "/var/lib/postgresql"}],
            "kafka": [
                {"type": "bind", "source": "/x", "target": "/opt/netmon"},
                {"type": "volume", "source": "kafka_data", "target": "/var/lib/kafka/data"},
            ],
        }
        self.containers = ""
        docker.answer("volume", "inspect", by=self._inspect)
        docker.answer("run", "--rm", by=self._look)

    def _inspect(self, argv: list[str]) -> Result:
        found = [name for name in argv[5:] if name in self.created]
        missing = len(found) < len(argv[5:])
        lines = "".join(f"{name}\t{self.created[name]}\n" for name in found)
        return Result(int(missing), lines, "Error response from daemon: no such volume" * missing)

    def _look(self, _argv: list[str]) -> Result:
        return Result(0, "".join(reported(name, tree) for name, tree in self.trees.items()), "")

    @property
    def config(self) -> dict[str, Any]:
        """The effective configuration."""
        services = {name: {"image": f"{name}:1", "volumes": mounts} for name, mounts in self.mounts.items()}
        volumes = {"postgres_data": {"name": POSTGRES}, "kafka_data": {"name": KAFKA}}
        return {"name": "network-monitor", "services": services, "volumes": volumes}

    def inspection(self) -> Inspection:
        """Begin an inspection."""
        self.docker.on("compose", "config", stdout=self.config)
        self.docker.on(*LISTED, stdout=self.containers)
        return Inspection.begin(self.project, self.docker.cli, Existing.read(self.project, self.docker.cli))


@pytest.fixture
def volumes(project: Project, docker: FakeDocker) -> Volumes:
    return Volumes(project, docker)


def test_running_stores_cost_no_command(volumes: Volumes) -> None:
    volumes.containers = listing(volumes.project, "db") + listing(volumes.project, "kafka")
    volumes.inspection().require()
    assert volumes.docker.ran("volume") == volumes.docker.ran("run") == []


def test_missing_volumes_cost_no_container_and_are_not_created(volumes: Volumes) -> None:
    volumes.created.clear()
    volumes.inspection().require()
    assert volumes.docker.ran("run") == []


def test_one_container_without_rights_looks_at_all_volumes_read_only(volumes: Volumes) -> None:
    volumes.inspection().require()
    [argv] = volumes.docker.ran("run")
    mounts = [argv[at + 1] for at, word in enumerate(argv) if word == "--mount"]
    assert mounts == [
        f"type=volume,source={POSTGRES},target=/volumes/postgres_data,readonly,volume-nocopy",
        f"type=volume,source={KAFKA},target=/volumes/kafka_data,readonly,volume-nocopy",
    ]
    text = " ".join(argv)
    for option in ("--rm", "--pull never", "--network none", "--read-only", "--cap-drop ALL", "--log-driver none"):
        assert option in text
    assert argv[argv.index("--tmpfs") + 1] == "/var/lib/postgresql", "else the engine creates an anonymous volume"
    assert argv[argv.index("--entrypoint") + 2] == "db:1"


def test_only_stores_that_do_not_run_in_their_image_are_looked_at(volumes: Volumes) -> None:
    volumes.containers = listing(volumes.project, "db", image="db:0") + listing(volumes.project, "kafka")
    volumes.inspection().require()
    [argv] = volumes.docker.ran("run")
    assert [word for word in argv if word.startswith("type=")] == [
        f"type=volume,source={POSTGRES},target=/volumes/postgres_data,readonly,volume-nocopy"
    ]


def test_old_data_is_refused_with_its_place_and_the_way_to_keep_it(volumes: Volumes) -> None:
    volumes.trees = {"postgres_data": OLD, "kafka_data": {"data/meta.properties": "version=1"}}
    with pytest.raises(ToolkitError) as raised:
        volumes.inspection().require()
    error = raised.value
    assert error.what == "db and kafka cannot start with the existing data"
    assert f"{POSTGRES} contains PostgreSQL 17 (17/docker/PG_VERSION); PostgreSQL 18 would ignore this" in error.why
    assert f"{KAFKA} contains Kafka, in another folder (data/meta.properties)" in error.why
    assert error.fix.startswith("docs/operations.md#data-of-another-version describes how to keep the data")
    assert error.fix.endswith(f"docker volume rm {POSTGRES} {KAFKA}")


def test_findings_are_the_same_and_list_unused_data(volumes: Volumes) -> None:
    volumes.trees = {"postgres_data": OLD, "kafka_data": {"meta.properties": "version=1\ncluster.id=a\nnode.id=1\n"}}
    [finding] = volumes.inspection().findings()
    assert (finding.check, finding.outcome) == ("data", "failed")
    assert finding.detail.startswith(f"{POSTGRES} contains PostgreSQL 17")
    volumes.trees = {"postgres_data": OLD | {"18/docker/PG_VERSION": "18\n", "18/docker": ""}}
    [finding] = volumes.inspection().findings()
    assert finding.outcome == "warning"
    assert "also contains PostgreSQL 17 (17/docker/PG_VERSION), which PostgreSQL 18 does not use" in finding.detail
    volumes.trees = {}
    [finding] = volumes.inspection().findings()
    assert (finding.outcome, finding.detail) == ("ok", "2 volumes")


def test_folder_of_the_host_in_place_of_the_volume_is_looked_at(volumes: Volumes, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    volumes.mounts["db"][0] = {"type": "bind", "source": str(folder), "target": "/var/lib/postgresql"}
    volumes.trees = {"postgres_data": OLD}
    volumes.inspection().require()
    folder.mkdir()
    with pytest.raises(ToolkitError, match=f"{folder} contains PostgreSQL 17") as raised:
        volumes.inspection().require()
    assert "volume rm" not in raised.value.fix
    assert f"type=bind,source={folder},target=/volumes/postgres_data,readonly" in volumes.docker.ran("run")[-1]


def test_external_volume_is_found_by_its_name(volumes: Volumes) -> None:
    config = volumes.config
    config["volumes"]["postgres_data"] = {"name": "old_pgdata", "external": True}
    volumes.created = {"old_pgdata": "2020-01-01T00:00:00Z"}
    volumes.trees = {"postgres_data": {"PG_VERSION": "15\n"}}
    volumes.docker.on("compose", "config", stdout=config)
    volumes.docker.on(*LISTED, stdout="")
    look = Inspection.begin(volumes.project, volumes.docker.cli, Existing.read(volumes.project, volumes.docker.cli))
    with pytest.raises(ToolkitError, match=r"old_pgdata contains PostgreSQL 15 \(PG_VERSION\)"):
        look.require()


def test_look_is_repeated_once_after_the_image_was_provided(volumes: Volumes) -> None:
    answers = [Result(125, "", "docker: No such image: db:1"), Result(0, reported("postgres_data", OLD), "")]
    volumes.docker.answer("run", "--rm", by=lambda _: answers.pop(0))
    with pytest.raises(ToolkitError, match="PostgreSQL 17"):
        volumes.inspection().require()


def test_failed_look_is_an_error_and_not_an_empty_volume(volumes: Volumes) -> None:
    volumes.docker.on("run", "--rm", code=125, stderr="docker: no space left on device")
    with pytest.raises(ToolkitError, match=f"inspect the volumes {POSTGRES}, {KAFKA}.*no space left"):
        volumes.inspection().require()


def test_engine_that_does_not_answer_is_an_error(volumes: Volumes) -> None:
    volumes.docker.on("volume", "inspect", code=1, stderr="Cannot connect to the Docker daemon")
    with pytest.raises(ToolkitError, match="Cannot connect"):
        volumes.inspection()


def test_database_that_is_older_than_its_password_is_refused(volumes: Volumes) -> None:
    setup(volumes.project, "dev")
    volumes.trees = {"postgres_data": {"18/docker": "", "18/docker/PG_VERSION": "18\n"}}
    with pytest.raises(ToolkitError, match=r"older than its password in secrets/ \(2026-01-01 00:00\)"):
        volumes.inspection().require()
    volumes.created[POSTGRES] = "2999-01-01T00:00:00Z"
    volumes.inspection().require()
    volumes.created[POSTGRES] = "2026-01-01T00:00:00Z"
    volumes.trees = {}
    volumes.inspection().require()


def test_unreadable_volume_is_a_warning(volumes: Volumes) -> None:
    volumes.docker.on("run", "--rm", stdout="unreadable\tpostgres_data\t18\t\n")
    look = volumes.inspection()
    look.require()
    [finding] = look.findings()
    assert (finding.outcome, "cannot be read" in finding.detail) == ("warning", True)


def test_stack_without_a_database_is_not_looked_at(volumes: Volumes) -> None:
    del volumes.mounts["db"]
    volumes.inspection().require()
    assert volumes.docker.ran("run") == []
