"""Up and down: the order of the steps, what they refuse, and how they end."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker, configuration
from tests.unit.toolkit.containers import container
from toolkit import images
from toolkit.checkout.project import Project
from toolkit.checks import doctor
from toolkit.core import envfile
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome, Report
from toolkit.engine.compose import Docker, Result
from toolkit.images import unavailable
from toolkit.operate import deploy, lifecycle
from toolkit.operate.lifecycle import Options, Resources, choose_groups, down, project_name, up

QUICK = Options(timeout=2)
PORTS = {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "23000"}]}


class Steps(list[str]):
    """The steps of `up` in the order in which they ran."""

    def note(self, name: str, result: Any = None) -> Callable[..., Any]:
        """A function that notes itself and returns ``result``, or raises it."""

        def step(*_arguments: object, **_options: object) -> Any:
            self.append(name)
            if isinstance(result, BaseException):
                raise result
            return result

        return step


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Every step of `up` replaced by a note of it."""
    steps = Steps()
    monkeypatch.setattr(doctor, "require_engine", steps.note("engine"))
    monkeypatch.setattr(doctor, "require_free_ports", steps.note("ports"))
    monkeypatch.setattr(doctor, "require_engine_folder", steps.note("folder"))
    monkeypatch.setattr(Docker, "data_root", lambda _docker: "/var/lib/docker")
    monkeypatch.setattr(unavailable, "show", steps.note("absent"))
    monkeypatch.setattr(lifecycle, "setup", steps.note("setup", ["created secrets/redis_password.txt"]))
    monkeypatch.setattr(images, "choose", steps.note("choose", "local"))
    monkeypatch.setattr(images, "provide", steps.note("provide"))
    monkeypatch.setattr(deploy, "recover", steps.note("recover"))
    monkeypatch.setattr(lifecycle, "remove_switched_off", steps.note("switch off"))
    monkeypatch.setattr(lifecycle, "end_restarts", steps.note("end restarts"))
    monkeypatch.setattr(lifecycle, "start", steps.note("start"))
    report = Report("smoke checks", [Finding("db", Outcome.OK, "done")])
    monkeypatch.setattr(lifecycle, "smoke", steps.note("smoke", report))
    monkeypatch.setattr(lifecycle, "show_addresses", steps.note("addresses"))
    return steps


ALL_STEPS = [
    "engine",
    "setup",
    "folder",
    "ports",
    "choose",
    "provide",
    "recover",
    "switch off",
    "end restarts",
    "start",
    "smoke",
    "addresses",
    "absent",
]


class TestUp:
    """`up` as a whole."""

    def test_every_step_in_its_order(
        self, project: Project, docker: FakeDocker, steps: Steps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        up(project, docker.cli, QUICK)
        assert steps == ALL_STEPS
        assert "  created secrets/redis_password.txt\n" in capsys.readouterr().out

    def test_without_smoke(self, project: Project, docker: FakeDocker, steps: Steps) -> None:
        up(project, docker.cli, Options(2, smoke=False))
        assert steps == [step for step in ALL_STEPS if step != "smoke"]

    @pytest.mark.parametrize("step", ["engine", "ports", "provide", "start"])
    def test_nothing_follows_a_failed_step(
        self, project: Project, docker: FakeDocker, steps: Steps, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        owner = {"engine": (doctor, "require_engine"), "ports": (doctor, "require_free_ports"),
                 "provide": (images, "provide"), "start": (lifecycle, "start")}[step]  # fmt: skip
        monkeypatch.setattr(*owner, steps.note(step, ToolkitError("no")))
        with pytest.raises(ToolkitError, match="no"):
            up(project, docker.cli, QUICK)
        assert steps == ALL_STEPS[: ALL_STEPS.index(step) + 1]

    def test_failed_smoke_checks_fail_it_after_the_addresses(
        self, project: Project, docker: FakeDocker, steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        report = Report("smoke checks", [Finding("db", Outcome.FAILED, "no")])
        monkeypatch.setattr(lifecycle, "smoke", steps.note("smoke", report))
        with pytest.raises(ToolkitError, match="smoke checks failed"):
            up(project, docker.cli, QUICK)
        assert steps == ALL_STEPS

    def test_ctrl_c_ends_with_a_line_and_130(
        self, project: Project, docker: FakeDocker, steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lifecycle, "start", steps.note("start", KeyboardInterrupt()))
        with pytest.raises(ToolkitError, match="stopped: what is up stays up") as raised:
            up(project, docker.cli, QUICK)
        assert raised.value.code == 130

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (Options(2, profile="staging"), "unknown profile 'staging': known: dev, prod"),
            (Options(2, images="both"), "unknown image set 'both': known: auto, pull, local"),
            (Options(2, with_=("jaguar",)), "unknown group 'jaguar': known: monitoring"),
            (Options(2, without=("db",)), "db cannot be left out: only monitoring can"),
            (Options(2, with_=("monitoring",), without=("monitoring",)), "both name monitoring"),
        ],
    )
    def test_wrong_words_change_nothing(
        self, project: Project, docker: FakeDocker, steps: Steps, options: Options, said: str
    ) -> None:
        with pytest.raises(ToolkitError, match=said) as raised:
            up(project, docker.cli, options)
        assert raised.value.code == 2
        assert steps == []

    def test_one_run_at_a_time(self, project: Project, docker: FakeDocker, steps: Steps) -> None:

        project.lock_file.parent.mkdir()
        with project.lock_file.open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(ToolkitError, match="another run of the toolkit"):
                up(project, docker.cli, QUICK)
        assert steps == []


def test_groups_are_those_of_env_with_the_changes(project: Project) -> None:
    assert choose_groups(project, (), ()) == ["monitoring"], "on by default"
    assert choose_groups(project, (), ("monitoring",)) == []
    envfile.update(project.env_file, {"COMPOSE_PROFILES": "mine"})
    assert choose_groups(project, (), ()) == [], "switched off once, off until it is switched on"
    assert choose_groups(project, ("monitoring",), ()) == ["monitoring"]


def containers(docker: FakeDocker, *found: dict[str, Any]) -> None:
    docker.on("ps", stdout=" ".join(each["Id"] for each in found))
    docker.on("container", "inspect", stdout=list(found))


class TestStart:
    """From the images to healthy services."""

    def test_compose_up_and_waiting(self, docker: FakeDocker) -> None:
        docker.on("config", stdout=configuration(db={}))
        docker.on("up", "--detach")
        containers(docker, container())
        lifecycle.start(docker.cli, 5)
        [argv] = docker.ran("up")
        assert {"--no-build", "never"} <= set(argv)

    def test_a_failed_wait_calls_compose_off(self, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
        handed: list[Any] = []

        def compose(*_arguments: str, stop: Any) -> Result:
            handed.append(stop)
            assert stop.wait(5)
            return Result(130, "", "")

        monkeypatch.setattr(type(docker.cli), "compose", staticmethod(compose))
        monkeypatch.setattr(lifecycle, "wait", Steps().note("wait", ToolkitError("db cannot become healthy")))
        with pytest.raises(ToolkitError, match="db cannot become healthy"):
            lifecycle.start(docker.cli, 5)
        assert handed[0].is_set()

    def test_what_is_switched_off_is_removed_without_its_volumes(
        self, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        docker.on("config", stdout=configuration(db={}))
        docker.on("--profile", "*", "config", stdout=configuration(db={}, prometheus={}, smoke={}))
        docker.on("rm")
        containers(docker, container("db"), container("prometheus"))
        lifecycle.remove_switched_off(docker.cli)
        [argv] = docker.ran("rm")
        assert argv == ["docker", "compose", "--profile", "*", "rm", "--stop", "--force", "prometheus"]
        assert "prometheus: switched off" in capsys.readouterr().out

    def test_nothing_is_removed_where_nothing_is_off(self, docker: FakeDocker) -> None:
        docker.on("config", stdout=configuration(db={}))
        containers(docker, container("db"), container("theirs"))
        lifecycle.remove_switched_off(docker.cli)
        assert docker.ran("rm") == []

    def test_only_containers_that_keep_restarting_are_stopped(self, docker: FakeDocker) -> None:
        docker.on("config", stdout=configuration(db={}))
        docker.on("stop")
        containers(docker, container("db", "restarting", None, restarts=5), container("app", health="unhealthy"))
        lifecycle.end_restarts(docker.cli)
        assert docker.ran("stop") == [["docker", "stop", "id-db-1"]]
        containers(docker, container("db"))
        lifecycle.end_restarts(docker.cli)
        assert len(docker.ran("stop")) == 1

    def test_addresses_are_those_that_are_really_published(
        self, project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        docker.on("config", stdout=configuration(app={}))
        containers(docker, container("app", ports=PORTS), container("prometheus", ports={"9090/tcp": None}))
        lifecycle.show_addresses(project, docker.cli)
        shown = capsys.readouterr().out
        assert "http://127.0.0.1:23000" in shown
        assert "9090" not in shown

    def test_addresses_of_production_are_the_proxys(
        self, project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = {"environment": {"PUBLIC_URL": "https://netmon.example", "DOMAIN": "netmon.example"}}
        docker.on("config", stdout=configuration(proxy=told, app={}, grafana={}))
        docker.on("exec", "proxy", "cat", code=1)
        ports = {
            "8080/tcp": [{"HostIp": "192.0.2.1", "HostPort": "80"}],
            "8443/tcp": [{"HostIp": "192.0.2.1", "HostPort": "443"}],
        }
        containers(docker, container("proxy", ports=ports), container("app"), container("grafana"))
        lifecycle.show_addresses(project, docker.cli)
        shown = capsys.readouterr().out
        assert "https://netmon.example " in shown
        assert "https://netmon.example/grafana/ " in shown
        assert "http://" not in shown


class TestDown:
    """`down`, with an engine that holds what the test says."""

    @pytest.fixture(autouse=True)
    def _engine(self, docker: FakeDocker) -> None:
        self.docker = docker
        self.held = {"ps": ["db-1", "app-1"], "network": ["app-network"], "volume": ["postgres_data"]}
        docker.on("config", stdout=configuration(db={}))
        for listing in self.held:
            docker.answer(listing, "--filter", by=self._listed)
        docker.answer("compose", "down", by=self._removed)

    def _listed(self, argv: list[str]) -> Result:
        return Result(0, "\n".join(self.held[argv[1]]), "")

    def _removed(self, argv: list[str]) -> Result:
        self.held |= {"ps": [], "network": []} | ({"volume": []} if "--volumes" in argv else {})
        return Result(0, "", "")

    def test_removes_and_keeps_the_volumes(self, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
        down(project, self.docker.cli)
        assert "removed: 2 containers, 1 network; kept: 1 volume" in capsys.readouterr().out
        [argv] = self.docker.ran("compose", "down")
        assert argv[-3:] == ["--project-name", "network-monitor", "down"]

    def test_says_that_there_is_nothing_to_do(self, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
        self.held |= {"ps": [], "network": []}
        down(project, self.docker.cli)
        assert "nothing to do" in capsys.readouterr().out
        assert self.docker.ran("compose", "down") == []

    def test_volumes_without_consent_change_nothing(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
        with pytest.raises(ToolkitError, match="postgres_data") as raised:
            down(project, self.docker.cli, volumes=True)
        assert raised.value.code == 1
        assert self.docker.ran("compose", "down") == []

    def test_volumes_with_consent(self, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
        down(project, self.docker.cli, volumes=True, yes=True)
        shown = capsys.readouterr().out
        assert "removed: 2 containers, 1 network, 1 volume" in shown
        assert "kept" not in shown

    def test_what_is_left_is_an_error(self, project: Project) -> None:
        self.docker.on("compose", "down")
        with pytest.raises(ToolkitError, match="network-monitor is not gone: left: 2 containers, 1 network"):
            down(project, self.docker.cli)

    def test_what_compose_says_is_an_error(self, project: Project) -> None:
        self.docker.on("compose", "down", code=1, stderr="network has active endpoints")
        with pytest.raises(ToolkitError, match="active endpoints"):
            down(project, self.docker.cli)


class TestProjectName:
    """Which project is this checkout's."""

    def test_of_the_configuration(self, docker: FakeDocker) -> None:
        docker.on("config", stdout=configuration(db={}))
        assert project_name(docker.cli) == "network-monitor"

    @pytest.mark.parametrize(("found", "name"), [("mine\nmine\n", "mine"), ("", None), ("mine\nother\n", None)])
    def test_of_the_containers_where_the_files_are_broken(
        self, docker: FakeDocker, found: str, name: str | None
    ) -> None:
        docker.on("config", code=15, stderr="yaml: line 3")
        docker.on("ps", f"label=com.docker.compose.project.working_dir={docker.cli.root}", stdout=found)
        if name:
            assert project_name(docker.cli) == name
        else:
            with pytest.raises(ToolkitError, match="yaml: line 3"):
                project_name(docker.cli)


def test_resources_in_words() -> None:
    assert not Resources((), (), ())
    assert str(Resources(("a",), (), ("b", "c"))) == "1 container, 2 volumes"
