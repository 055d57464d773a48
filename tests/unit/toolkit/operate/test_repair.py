"""Repairs of broken data: what is asked, refused, copied, undone, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker, configuration
from tests.unit.toolkit.containers import container
from toolkit.checkout.project import Project
from toolkit.checks import doctor
from toolkit.core import console
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result
from toolkit.operate import repair as module
from toolkit.operate.repair import NO_ROOM, Options, repair

AOF = "2026-11-30T14:00:00.1Z # Bad file format reading the append only file appendonly.aof.2.incr.aof\n"
YES = Options(timeout=2, yes=True)


class Store:
    """A project with some stores, of which one has broken data."""

    def __init__(self, docker: FakeDocker, service: str, log: str, **options: Any) -> None:
        self.docker, self.service = docker, service
        services = {
            name: {"image": f"{name}:1", "user": "999:1000",
                   "volumes": [{"type": "volume", "source": volume, "target": target}]}
            for name, volume, target in (
                ("db", "postgres_data", "/var/lib/postgresql"), ("redis", "redis_data", "/data"),
                ("loki", "loki_data", "/loki"),
            )
        }  # fmt: skip
        config = configuration(**services)
        config["volumes"] = {name: {"name": f"netmon_{name}"} for name in ("postgres_data", "redis_data", "loki_data")}
        docker.on("compose", stdout="")
        docker.on("compose", "config", stdout=config)
        docker.on("ps", stdout=f"id-{service}-1")
        docker.on("container", "inspect", stdout=[container(service, **options)])
        docker.on("logs", stdout=log)
        docker.on("volume", stdout="")
        docker.on("run", stdout="")
        docker.on("rm", stdout="")
        docker.on("run", "ls -d appendonlydir", stdout="appendonlydir\n")

    def healthy_after_repair(self) -> None:
        """The container that Compose starts is healthy."""

        def started(_argv: list[str]) -> Result:
            self.docker.on("container", "inspect", stdout=[container(self.service)])
            return Result(0, "", "")

        self.docker.answer("compose", "up", by=started)

    def changes(self) -> list[str]:
        """The commands that change something, in order, in a word each."""
        kinds = {"redis-check-aof": "repair", module.COPYING: "copy", module.RESTORING: "restore"}
        found = []
        for argv in self.docker.calls:
            words = argv[1:]
            if words[0] == "run":
                script = words[words.index("-c") + 1]
                found += [kind for sign, kind in kinds.items() if sign in script]
            elif words[:2] == ["volume", "create"] or words[:2] == ["volume", "rm"]:
                found.append(" ".join(words[:2]))
            elif words[0] == "compose" and "config" not in words:
                found.append(next(word for word in words if word in {"rm", "up"}))
        return found


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "require_engine", lambda _docker: None)
    monkeypatch.setattr(module, "CREATION_SECONDS", 0)


@pytest.fixture
def store(docker: FakeDocker) -> Store:
    """Redis, which does not start because its append-only file is corrupt."""
    return Store(docker, "redis", AOF, status="restarting", health="unhealthy", restarts=5, code=1)


def test_repair_copies_repairs_and_starts_in_this_order(
    project: Project, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.healthy_after_repair()
    repair(project, store.docker.cli, "redis", YES)
    assert store.changes() == ["rm", "volume create", "copy", "repair", "up"]
    output = capsys.readouterr().out
    assert "redis-check-aof --fix" in output
    assert "loses the writes after the damaged place" in output
    assert "docker volume rm" in output
    run = store.docker.ran("run", "redis:1")[-1]
    assert "--network" in run
    assert "type=volume,source=netmon_redis_data,target=/data" in run
    assert "OWNER=999:1000" in run
    assert run[-2:] == ["repair", "appendonlydir"]


def test_nothing_changes_without_confirmation(project: Project, store: Store) -> None:
    with pytest.raises(ToolkitError, match="confirmation required to repair redis"):
        repair(project, store.docker.cli, "redis", Options(timeout=2))
    assert store.changes() == []


def test_healthy_service_is_refused(project: Project, docker: FakeDocker) -> None:
    store = Store(docker, "redis", AOF)
    for name in (None, "aof"):
        with pytest.raises(ToolkitError, match="redis is healthy"):
            repair(project, docker.cli, "redis", Options(timeout=2, damage=name, yes=True))
    assert store.changes() == []


def test_damage_without_a_safe_repair_is_refused_with_advice(project: Project, docker: FakeDocker) -> None:
    log = "2026-11-30T14:00:00.1Z PANIC:  could not locate a valid checkpoint record at 0/2288670\n"
    store = Store(docker, "db", log, status="restarting", restarts=5)
    with pytest.raises(ToolkitError, match="no safe repair of db is known") as caught:
        repair(project, docker.cli, "db", YES)
    assert "restore a backup" in caught.value.fix
    assert store.changes() == []


def test_another_cause_is_named_and_nothing_is_repaired(project: Project, docker: FakeDocker) -> None:
    store = Store(docker, "redis", "2026-11-30T14:00:00.1Z No space left on device\n", status="restarting", restarts=5)
    with pytest.raises(ToolkitError, match="disk") as caught:
        repair(project, docker.cli, "redis", YES)
    assert "free disk space" in caught.value.fix
    assert store.changes() == []


def test_containers_of_another_folder_are_not_touched(project: Project, store: Store, tmp_path: Path) -> None:
    labels = ("network-monitor", "redis", "False", str(tmp_path), "")
    row = "\t".join(("id-redis-1", "network-monitor-redis-1", "restarting", "redis:1", "", *labels))
    store.docker.on("ps", "--no-trunc", "label=com.docker.compose.project", stdout=row)
    with pytest.raises(ToolkitError, match="belongs to another folder"):
        repair(project, store.docker.cli, "redis", YES)
    assert store.changes() == []


def test_unknown_names_are_usage_errors(project: Project, docker: FakeDocker) -> None:
    with pytest.raises(ToolkitError, match="unknown service 'app'") as caught:
        repair(project, docker.cli, "app", YES)
    assert caught.value.code == 2
    with pytest.raises(ToolkitError, match="no service is named") as caught:
        repair(project, docker.cli, "", YES)
    assert caught.value.code == 2
    with pytest.raises(ToolkitError, match="unknown damage 'x'") as caught:
        repair(project, docker.cli, "redis", Options(timeout=2, damage="x", yes=True))
    assert caught.value.code == 2


def test_no_room_for_a_copy_ends_before_the_repair(project: Project, store: Store) -> None:
    store.docker.on("run", module.COPYING, stderr="900 KiB needed, 3 KiB free", code=NO_ROOM)
    with pytest.raises(ToolkitError, match="no room") as caught:
        repair(project, store.docker.cli, "redis", YES)
    assert "--no-copy" in caught.value.fix
    assert store.changes() == ["rm", "volume create", "copy", "volume rm"]


def test_repair_without_a_copy(project: Project, store: Store) -> None:
    store.healthy_after_repair()
    repair(project, store.docker.cli, "redis", Options(timeout=2, copy=False, yes=True))
    assert store.changes() == ["rm", "repair", "up"]


def test_failed_repair_is_undone(project: Project, store: Store) -> None:
    store.docker.answer("run", by=lambda argv: Result(1, "", "cannot fix") if "redis-check-aof" in argv[-3]
                        else Result(0, "appendonlydir\n", ""))  # fmt: skip
    with pytest.raises(ToolkitError, match="cannot repair redis: cannot fix"):
        repair(project, store.docker.cli, "redis", YES)
    assert store.changes() == ["rm", "volume create", "copy", "repair", "restore", "volume rm"]


def test_interrupted_repair_is_undone(project: Project, store: Store) -> None:
    def run(argv: list[str]) -> Result:
        if "redis-check-aof" in argv[-3]:
            raise KeyboardInterrupt
        return Result(0, "appendonlydir\n", "")

    store.docker.answer("run", by=run)
    with pytest.raises(ToolkitError, match="its data is unchanged") as caught:
        repair(project, store.docker.cli, "redis", YES)
    assert caught.value.code == 130
    assert store.changes() == ["rm", "volume create", "copy", "repair", "restore", "volume rm"]
    assert ["rm", "--force"] in [argv[1:3] for argv in store.docker.calls], "the container of the repair may still run"


def test_interrupted_copy_is_removed_although_the_engine_still_creates_its_container(
    project: Project, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[str] = []
    monkeypatch.setattr(module, "PAUSE", 0)
    monkeypatch.setattr(module, "CREATION_SECONDS", 5)

    def interrupt(_argv: list[str]) -> Result:
        raise KeyboardInterrupt

    def rm(argv: list[str]) -> Result:
        created.append(argv[-1])
        return Result(0, "" if len(created) < 3 else argv[-1], "No such container")

    def volume_rm(_argv: list[str]) -> Result:
        return Result(1 if len(created) < 4 else 0, "", "volume is in use")

    store.docker.answer("run", module.COPYING, by=interrupt)
    store.docker.answer("docker", "rm", "--force", by=rm)
    store.docker.on("compose", "rm")
    store.docker.answer("volume", "rm", by=volume_rm)
    with pytest.raises(ToolkitError, match="its data is unchanged"):
        repair(project, store.docker.cli, "redis", YES)
    assert store.changes()[:3] == ["rm", "volume create", "copy"]
    assert len(created) == 4
    assert set(store.changes()[3:]) == {"volume rm"}


def test_interrupted_repair_without_a_copy_may_be_incomplete(project: Project, store: Store) -> None:
    def run(argv: list[str]) -> Result:
        if "redis-check-aof" in argv[-3]:
            raise KeyboardInterrupt
        return Result(0, "appendonlydir\n", "")

    store.docker.answer("run", by=run)
    with pytest.raises(ToolkitError, match="redis is stopped, the repair may be incomplete"):
        repair(project, store.docker.cli, "redis", Options(timeout=2, copy=False, yes=True))
    assert store.changes() == ["rm", "repair"]


def test_interrupted_start_says_that_the_repair_is_done(project: Project, store: Store) -> None:
    store.docker.answer("compose", "up", by=KeyboardInterrupt())
    with pytest.raises(ToolkitError, match="redis is repaired; the original files") as caught:
        repair(project, store.docker.cli, "redis", YES)
    assert (caught.value.code, caught.value.fix) == (130, "run: invoke up")
    assert store.changes() == ["rm", "volume create", "copy", "repair", "up"]


def test_service_that_stays_broken_is_an_error_that_names_the_copy(project: Project, store: Store) -> None:
    with pytest.raises(ToolkitError, match="redis cannot become healthy") as caught:
        repair(project, store.docker.cli, "redis", YES)
    assert "redis_data-damaged-" in caught.value.fix


def test_damaged_index_is_repaired_in_the_running_service(project: Project, docker: FakeDocker) -> None:
    log = '2026-11-30T14:00:00.1Z ERROR:  index "t_pkey" contains unexpected zero page at block 10\n'
    store = Store(docker, "db", log)
    docker.on("exec", stdout="REINDEX")
    repair(project, docker.cli, "db", YES)
    assert "reindexdb" in docker.ran("exec", "id-db-1")[0][-1]
    assert store.changes() == []
    docker.on("exec", stderr="invalid page in block 3", code=1)
    with pytest.raises(ToolkitError, match="invalid page") as caught:
        repair(project, docker.cli, "db", YES)
    assert "restore a backup" in caught.value.fix


def test_volume_of_an_image_without_a_shell_is_repaired_in_another_image(project: Project, docker: FakeDocker) -> None:
    log = "2026-11-30T14:00:00.1Z building tsdb from old WAL files\n"
    store = Store(docker, "loki", log, status="restarting", restarts=5)
    docker.on("run", "ls -d tsdb-shipper-active/wal", stdout="tsdb-shipper-active/wal\n")
    store.healthy_after_repair()
    repair(project, docker.cli, "loki", YES)
    run = docker.ran("run", "type=volume,source=netmon_loki_data,target=/loki", "db:1")[-1]
    assert "/var/lib/postgresql" in run, "the volume that the image declares is not created"


def test_files_that_are_not_found_are_an_error(project: Project, store: Store) -> None:
    store.docker.on("run", "ls -d appendonlydir", stdout="")
    with pytest.raises(ToolkitError, match="no file in netmon_redis_data has this damage"):
        repair(project, store.docker.cli, "redis", YES)
    assert store.changes() == []


def test_confirmation_shows_what_is_lost_first(
    project: Project, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def confirm(action: str, _yes: bool) -> None:
        shown = capsys.readouterr().out
        assert "corrupt in the middle" in shown
        assert "netmon_redis_data: appendonlydir" in shown
        raise ToolkitError(f"{action}: declined")

    monkeypatch.setattr(console, "confirm", confirm)
    with pytest.raises(ToolkitError, match="repair redis: declined"):
        repair(project, store.docker.cli, "redis", Options(timeout=2))
    assert store.changes() == []
