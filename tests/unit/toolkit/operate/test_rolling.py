"""Replacing containers one at a time: never fewer than there should be, and nothing lost where a new one fails."""

from __future__ import annotations

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.operate.fake_engine import Engine
from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.engine import wait
from toolkit.engine.compose import Result
from toolkit.operate import rolling

PORT = [{"host_ip": "127.0.0.1", "published": "3000", "target": 3000, "protocol": "tcp"}]


@pytest.fixture
def engine(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, project: Project) -> Engine:
    """An engine with one service; nothing waits."""
    monkeypatch.setattr(rolling, "SETTLE", 0)
    monkeypatch.setattr(wait, "PAUSE", 0)
    project.lock_file.parent.mkdir()
    return Engine(docker, {"app": {}})


def replace(project: Project, engine: Engine, **options: object) -> None:
    rolling.replace(project, engine.docker.cli, "app", timeout=1, **options)  # type: ignore[arg-type]


def test_a_new_one_serves_before_the_old_one_goes(project: Project, engine: Engine) -> None:
    engine.start("app")
    replace(project, engine)
    assert engine.log == ["made app-2", "stopped app-1", "removed app-1"]
    assert engine.serving == [1]


def test_replicas_are_replaced_one_by_one(project: Project, engine: Engine) -> None:
    engine.services["app"] = {"deploy": {"replicas": 3}}
    for _ in range(3):
        engine.start("app")
    replace(project, engine)
    assert list(engine.containers) == ["app-4", "app-5", "app-6"]
    assert engine.serving == [3, 3, 3]


@pytest.mark.parametrize(("present", "wanted"), [(1, 3), (3, 1), (2, 0)])
def test_the_number_becomes_that_of_the_configuration(
    project: Project, engine: Engine, present: int, wanted: int
) -> None:
    engine.services |= {"app": {"deploy": {"replicas": wanted}}, "db": {}}
    old = {engine.start("app") for _ in range(present)}
    replace(project, engine)
    assert len(engine.containers) == wanted
    assert not old & engine.containers.keys()


def test_what_was_replaced_already_stays(project: Project, engine: Engine) -> None:
    engine.services["app"] = {"deploy": {"replicas": 2}}
    old, new, more = (engine.start("app") for _ in range(3))
    replace(project, engine, keep={new, more})
    assert engine.log == [f"stopped {old}", f"removed {old}"]
    replace(project, engine, keep={new, more})
    assert len(engine.log) == 2


def test_one_too_many_of_the_kept_goes(project: Project, engine: Engine) -> None:
    kept = {engine.start("app"), engine.start("app")}
    replace(project, engine, keep=kept)
    assert list(engine.containers) == ["app-1"]


def test_a_dead_one_is_removed_and_not_started_again(project: Project, engine: Engine) -> None:
    engine.start("app", status="exited", code=1)
    replace(project, engine)
    assert engine.log == ["removed app-1", "made app-2"]


@pytest.mark.parametrize("status", ["created", "exited", "dead"])
def test_a_kept_one_that_is_stopped_is_replaced(project: Project, engine: Engine, status: str) -> None:
    """As after a run that was killed while the old one was stopping, when the new one is undone."""
    kept = engine.start("app", status=status)
    engine.start("app")
    replace(project, engine, keep={kept})
    assert engine.log == ["removed app-1", "made app-3", "stopped app-2", "removed app-2"]


def test_a_kept_one_that_is_stopping_is_replaced(project: Project, engine: Engine) -> None:
    """It looks healthy until it has ended."""
    kept, other = engine.start("app"), engine.start("app")
    engine.docker.answer("docker", "stop", by=ToolkitError("stopped", code=130))
    with pytest.raises(ToolkitError, match="stopped"):
        replace(project, engine, keep={other})
    engine.docker.answer("docker", "stop", by=engine._stop)
    replace(project, engine, keep={kept})
    assert engine.log == [f"stopped {kept}", f"removed {kept}", "made app-3", f"stopped {other}", f"removed {other}"]


def test_one_that_is_being_removed_is_left_alone(project: Project, engine: Engine) -> None:
    engine.start("app", status="removing")
    replace(project, engine, keep={engine.start("app")})
    assert engine.log == []


def test_a_new_one_that_does_not_become_healthy_is_removed(project: Project, engine: Engine) -> None:
    engine.start("app")
    engine.sick = lambda _service, _image: True
    with pytest.raises(ToolkitError, match="app cannot become healthy") as raised:
        replace(project, engine)
    assert engine.log == ["made app-2", "removed app-2"]
    log = project.root / ".netmon" / "app.log"
    assert str(log) in raised.value.fix
    assert "log of app-2" in log.read_text()


def test_a_kept_one_that_is_not_healthy_holds_up_the_rest(project: Project, engine: Engine) -> None:
    engine.start("app")
    engine.sick = lambda _service, _image: True
    kept = engine.start("app")
    with pytest.raises(ToolkitError, match="app cannot become healthy"):
        replace(project, engine, keep={kept})
    assert engine.log == []


def test_where_nothing_is_to_be_replaced_nobody_asks_for_health(project: Project, engine: Engine) -> None:
    """As after a deploy that has come to nothing, while the database is away."""
    engine.sick = lambda _service, _image: True
    replace(project, engine, keep={engine.start("app")})
    assert engine.log == []


def test_what_compose_says_is_an_error(project: Project, engine: Engine) -> None:
    engine.start("app")
    engine.docker.on("compose", "up", code=1, stderr="no such network")
    with pytest.raises(ToolkitError, match="cannot start another app: no such network"):
        replace(project, engine)
    assert list(engine.containers) == ["app-1"]


def test_a_container_that_compose_could_not_start_goes(project: Project, engine: Engine) -> None:
    engine.start("app")

    def half(argv: list[str]) -> Result:
        engine._up(argv)
        return Result(1, "", "cannot start")

    engine.docker.answer("compose", "up", by=half)
    with pytest.raises(ToolkitError, match="cannot start"):
        replace(project, engine)
    assert list(engine.containers) == ["app-1"]


class TestFixedPort:
    """A published port that only one container can have."""

    def test_it_is_recreated_with_a_note(
        self, project: Project, engine: Engine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        engine.services["app"] = {"ports": PORT}
        engine.start("app")
        engine.docker.answer("compose", "up", by=lambda argv: engine._up([*argv[:-1], "--scale", "app=1", argv[-1]]))
        replace(project, engine)
        assert engine.log == ["removed app-1", "made app-2"]
        assert "requests may fail" in capsys.readouterr().out
        replace(project, engine, keep={"app-2"})
        assert len(engine.log) == 2

    def test_one_that_does_not_become_healthy_stays_to_be_looked_at(self, project: Project, engine: Engine) -> None:
        engine.services["app"] = {"ports": PORT}
        engine.start("app")
        engine.sick = lambda _service, _image: True
        engine.docker.answer("compose", "up", by=lambda argv: engine._up([*argv[:-1], "--scale", "app=1", argv[-1]]))
        with pytest.raises(ToolkitError, match="app cannot become healthy"):
            replace(project, engine)
        assert list(engine.containers) == ["app-2"]

    @pytest.mark.parametrize("port", [{"target": 1}, {"target": 1, "published": "4000-4005"}])
    def test_others_leave_room_for_a_second_one(self, port: dict[str, object]) -> None:
        assert not rolling.publishes_fixed_port({"ports": [port]})
