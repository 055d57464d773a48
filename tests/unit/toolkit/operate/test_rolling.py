"""Rolling replacement: never fewer replicas than configured, and no loss if a new one fails."""

from __future__ import annotations

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.operate.fake_engine import Engine
from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.engine import containers
from toolkit.engine.compose import Result
from toolkit.operate import rolling

PORT = [{"host_ip": "127.0.0.1", "published": "3000", "target": 3000, "protocol": "tcp"}]


@pytest.fixture
def engine(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, project: Project) -> Engine:
    """A fake engine with one service, without waits."""
    monkeypatch.setattr(rolling, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(containers, "PAUSE", 0)
    project.lock_file.parent.mkdir()
    return Engine(docker, {"app": {}})


def replace(project: Project, engine: Engine, **options: object) -> None:
    rolling.replace(project, engine.docker.cli, "app", timeout=1, **options)  # type: ignore[arg-type]


def test_new_replica_serves_before_the_old_one_stops(project: Project, engine: Engine) -> None:
    engine.start("app")
    replace(project, engine)
    assert engine.log == ["created app-2", "stopped app-1", "removed app-1"]
    assert engine.serving == [1]


def test_replicas_are_replaced_one_by_one(project: Project, engine: Engine) -> None:
    engine.services["app"] = {"deploy": {"replicas": 3}}
    for _ in range(3):
        engine.start("app")
    replace(project, engine)
    assert list(engine.containers) == ["app-4", "app-5", "app-6"]
    assert engine.serving == [3, 3, 3]


@pytest.mark.parametrize(("present", "replicas"), [(1, 3), (3, 1), (2, 0)])
def test_number_of_replicas_becomes_the_configured_one(
    project: Project, engine: Engine, present: int, replicas: int
) -> None:
    engine.services |= {"app": {"deploy": {"replicas": replicas}}, "db": {}}
    old = {engine.start("app") for _ in range(present)}
    replace(project, engine)
    assert len(engine.containers) == replicas
    assert not old & engine.containers.keys()


def test_replaced_containers_are_kept(project: Project, engine: Engine) -> None:
    engine.services["app"] = {"deploy": {"replicas": 2}}
    old, new, more = (engine.start("app") for _ in range(3))
    replace(project, engine, keep={new, more})
    assert engine.log == [f"stopped {old}", f"removed {old}"]
    replace(project, engine, keep={new, more})
    assert len(engine.log) == 2


def test_surplus_kept_container_is_removed(project: Project, engine: Engine) -> None:
    kept = {engine.start("app"), engine.start("app")}
    replace(project, engine, keep=kept)
    assert list(engine.containers) == ["app-1"]


def test_exited_container_is_removed_and_not_restarted(project: Project, engine: Engine) -> None:
    engine.start("app", status="exited", code=1)
    replace(project, engine)
    assert engine.log == ["removed app-1", "created app-2"]


@pytest.mark.parametrize("status", ["created", "exited", "dead"])
def test_stopped_kept_container_is_replaced(project: Project, engine: Engine, status: str) -> None:
    """The state after a run that was killed while the old container was stopping, during the rollback."""
    kept = engine.start("app", status=status)
    engine.start("app")
    replace(project, engine, keep={kept})
    assert engine.log == ["removed app-1", "created app-3", "stopped app-2", "removed app-2"]


def test_draining_kept_container_is_replaced(project: Project, engine: Engine) -> None:
    """A draining container looks healthy until it exits."""
    kept, other = engine.start("app"), engine.start("app")
    engine.docker.answer("docker", "stop", by=ToolkitError("interrupted", code=130))
    with pytest.raises(ToolkitError, match="interrupted"):
        replace(project, engine, keep={other})
    engine.docker.answer("docker", "stop", by=engine._stop)
    replace(project, engine, keep={kept})
    assert engine.log == [f"stopped {kept}", f"removed {kept}", "created app-3", f"stopped {other}", f"removed {other}"]


def test_container_in_removal_is_ignored(project: Project, engine: Engine) -> None:
    engine.start("app", status="removing")
    replace(project, engine, keep={engine.start("app")})
    assert engine.log == []


def test_unhealthy_new_replica_is_removed(project: Project, engine: Engine) -> None:
    engine.start("app")
    engine.sick = lambda _service, _image: True
    with pytest.raises(ToolkitError, match="app cannot become healthy") as raised:
        replace(project, engine)
    assert engine.log == ["created app-2", "removed app-2"]
    log = project.root / ".netmon" / "app.log"
    assert str(log) in raised.value.fix
    assert "log of app-2" in log.read_text()


def test_unhealthy_kept_container_stops_the_replacement(project: Project, engine: Engine) -> None:
    engine.start("app")
    engine.sick = lambda _service, _image: True
    kept = engine.start("app")
    with pytest.raises(ToolkitError, match="app cannot become healthy"):
        replace(project, engine, keep={kept})
    assert engine.log == []


def test_nothing_to_replace_does_not_wait_for_health(project: Project, engine: Engine) -> None:
    """The state after a failed deploy while the database is unavailable."""
    engine.sick = lambda _service, _image: True
    replace(project, engine, keep={engine.start("app")})
    assert engine.log == []


def test_error_of_compose_is_reported(project: Project, engine: Engine) -> None:
    engine.start("app")
    engine.docker.on("compose", "up", code=1, stderr="no such network")
    with pytest.raises(ToolkitError, match="cannot start a replica of app: no such network"):
        replace(project, engine)
    assert list(engine.containers) == ["app-1"]


def test_container_that_compose_cannot_start_is_removed(project: Project, engine: Engine) -> None:
    engine.start("app")

    def create_only(argv: list[str]) -> Result:
        engine._up(argv)
        return Result(1, "", "cannot start")

    engine.docker.answer("compose", "up", by=create_only)
    with pytest.raises(ToolkitError, match="cannot start"):
        replace(project, engine)
    assert list(engine.containers) == ["app-1"]


class TestFixedPort:
    """Services with a published port that only one container can bind."""

    def test_service_with_a_fixed_port_is_recreated_with_a_warning(
        self, project: Project, engine: Engine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        engine.services["app"] = {"ports": PORT}
        engine.start("app")
        engine.docker.answer("compose", "up", by=lambda argv: engine._up([*argv[:-1], "--scale", "app=1", argv[-1]]))
        replace(project, engine)
        assert engine.log == ["removed app-1", "created app-2"]
        assert "requests may fail" in capsys.readouterr().out
        replace(project, engine, keep={"app-2"})
        assert len(engine.log) == 2

    def test_unhealthy_recreated_container_is_kept_for_inspection(self, project: Project, engine: Engine) -> None:
        engine.services["app"] = {"ports": PORT}
        engine.start("app")
        engine.sick = lambda _service, _image: True
        engine.docker.answer("compose", "up", by=lambda argv: engine._up([*argv[:-1], "--scale", "app=1", argv[-1]]))
        with pytest.raises(ToolkitError, match="app cannot become healthy"):
            replace(project, engine)
        assert list(engine.containers) == ["app-2"]

    @pytest.mark.parametrize("port", [{"target": 1}, {"target": 1, "published": "4000-4005"}])
    def test_port_ranges_and_random_ports_are_not_fixed(self, port: dict[str, object]) -> None:
        assert not rolling.publishes_fixed_port({"ports": [port]})
