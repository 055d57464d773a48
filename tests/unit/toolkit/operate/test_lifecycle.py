"""Up and down: order of the steps, refusals, and exit codes."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.toolkit.alertmanager import Alertmanager
from tests.unit.toolkit.conftest import FakeDocker, configuration
from tests.unit.toolkit.containers import container
from toolkit import images
from toolkit.checkout.project import Project
from toolkit.checks import doctor, smoke
from toolkit.core import envfile
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome, Report
from toolkit.engine import health, shapes
from toolkit.engine.compose import Docker, Result
from toolkit.engine.existing import Existing, Listed
from toolkit.engine.health import ServiceState, parse_container
from toolkit.engine.outdated import CONFIGURATION, SERVICE
from toolkit.engine.volumes import Inspection
from toolkit.images import unavailable
from toolkit.operate import deploy, lifecycle, live_revision, previous, silences
from toolkit.operate.lifecycle import Options, Resources, choose_groups, down, project_name, up

QUICK = Options(timeout=2)
PORTS = {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "23000"}]}


class Steps(list[str]):
    """The executed steps of `up`, in order."""

    def recorder(self, name: str, result: Any = None) -> Callable[..., Any]:
        """A function that records its name and returns ``result``, or raises it."""

        def step(*_arguments: object, **_options: object) -> Any:
            self.append(name)
            if isinstance(result, BaseException):
                raise result
            return result

        return step


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Every step of `up`, replaced by a recorder."""
    steps = Steps()
    monkeypatch.setattr(doctor, "require_engine", steps.recorder("engine"))
    monkeypatch.setattr(doctor, "require_free_ports", steps.recorder("ports"))
    monkeypatch.setattr(doctor, "require_supported_host", steps.recorder("host"))
    monkeypatch.setattr(doctor, "require_engine_folder", steps.recorder("folder"))
    monkeypatch.setattr(doctor, "require_readable_mounts", steps.recorder("mounts"))
    monkeypatch.setattr(Docker, "data_root", lambda _docker: "/var/lib/docker")
    monkeypatch.setattr(unavailable, "show", steps.recorder("absent"))
    monkeypatch.setattr(lifecycle, "setup", steps.recorder("setup", ["created secrets/redis_password.txt"]))
    monkeypatch.setattr(images, "choose", steps.recorder("choose", "local"))
    monkeypatch.setattr(images, "provide", steps.recorder("provide"))
    monkeypatch.setattr(deploy, "recover", steps.recorder("recover"))
    monkeypatch.setattr(Existing, "read", staticmethod(lambda project, *_: Existing(project, "network-monitor", ())))
    monkeypatch.setattr(Inspection, "begin", lambda *_: SimpleNamespace(require=steps.recorder("data")))
    monkeypatch.setattr(previous, "remove", steps.recorder("left over", set()))
    monkeypatch.setattr(lifecycle, "remove_switched_off", steps.recorder("switch off"))
    monkeypatch.setattr(lifecycle, "end_restarts", steps.recorder("end restarts"))
    monkeypatch.setattr(health, "container_states", lambda *_: [])
    monkeypatch.setattr(Docker, "project_name", lambda _docker: "network-monitor")
    monkeypatch.setattr(lifecycle, "start", steps.recorder("start", []))
    monkeypatch.setattr(live_revision, "started", steps.recorder("record"))
    report = Report("smoke checks", [Finding("db", Outcome.OK, "done")])
    monkeypatch.setattr(smoke, "smoke", steps.recorder("smoke", report))
    monkeypatch.setattr(lifecycle, "show_addresses", steps.recorder("addresses"))
    return steps


class Running:
    """A running stack with the monitoring that `up` finds."""

    def __init__(self, project: Project, docker: FakeDocker) -> None:
        self.project, self.docker, self.alertmanager = project, docker, Alertmanager(docker)
        names = ("db", "app", "worker", "alertmanager", "grafana")
        services: dict[str, Any] = {name: {"image": f"{name}:1"} for name in names}
        for client in ("app", "worker"):
            services[client]["depends_on"] = {"db": {"condition": "service_healthy"}}
        config = configuration(**services)
        docker.on("compose", "config", stdout=config)
        docker.on("compose", "config", "--hash", stdout="".join(f"{name} 1\n" for name in names))
        docker.on("image", "inspect", code=1)
        docker.on("ps", stdout="\n".join(names))
        self.containers = {name: container(name) for name in names}
        for name, each in self.containers.items():
            each["Config"]["Labels"] |= {SERVICE: name, CONFIGURATION: "1"}
        docker.on("container", "inspect", stdout=list(self.containers.values()))

    def outdate(self, service: str) -> None:
        """Change the configuration of a service."""
        self.containers[service]["Config"]["Labels"][CONFIGURATION] = "0"
        self.docker.on("container", "inspect", stdout=list(self.containers.values()))


@pytest.fixture
def running(project: Project, docker: FakeDocker, steps: Steps, monkeypatch: pytest.MonkeyPatch) -> Running:
    found = Running(project, docker)
    states = [parse_container(cast(shapes.Container, each)) for each in found.containers.values()]
    monkeypatch.setattr(health, "container_states", lambda *_: states)
    return found


ALL_STEPS = [
    "engine",
    "setup",
    "host",
    "folder",
    "mounts",
    "ports",
    "choose",
    "provide",
    "data",
    "recover",
    "left over",
    "switch off",
    "end restarts",
    "start",
    "record",
    "smoke",
    "addresses",
    "absent",
]


class TestUp:
    """The steps of `up`."""

    def test_up_runs_every_step_in_order(
        self, project: Project, docker: FakeDocker, steps: Steps, capsys: pytest.CaptureFixture[str]
    ) -> None:
        up(project, docker.cli, QUICK)
        assert steps == ALL_STEPS
        assert "  created secrets/redis_password.txt\n" in capsys.readouterr().out

    def test_another_major_version_of_a_store_is_refused_before_anything_changes(
        self, running: Running, steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = Listed("1", "network-monitor-db-1", "running", "db:2", "", "db", str(running.project.root))
        stack = Existing(running.project, "network-monitor", (old,), frozenset({"db"}))
        monkeypatch.setattr(Existing, "read", staticmethod(lambda *_: stack))
        with pytest.raises(ToolkitError, match="a store would change its major version") as error:
            up(running.project, running.docker.cli, QUICK)
        assert "db from 2 to 1" in error.value.why
        assert steps == ALL_STEPS[: ALL_STEPS.index("ports")]

    def test_no_smoke_skips_only_the_smoke_checks(self, project: Project, docker: FakeDocker, steps: Steps) -> None:
        up(project, docker.cli, Options(2, smoke=False))
        assert steps == [step for step in ALL_STEPS if step != "smoke"]

    def test_alerts_of_recreated_services_and_their_clients_are_silenced(self, running: Running, steps: Steps) -> None:
        running.outdate("db")
        up(running.project, running.docker.cli, QUICK)
        [silence] = running.alertmanager.silenced()
        assert silence == {"alertname": list(silences.RESTARTING), "service": ["app", "db", "worker"]}
        assert running.alertmanager.silences[0]["comment"] == "invoke up"
        assert running.alertmanager.ending() == [True]
        assert steps == ALL_STEPS

    def test_failed_start_ends_the_silence(
        self, running: Running, steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running.outdate("db")
        monkeypatch.setattr(lifecycle, "start", steps.recorder("start", ToolkitError("no")))
        with pytest.raises(ToolkitError, match="no"):
            up(running.project, running.docker.cli, QUICK)
        assert running.alertmanager.ending() == [True]

    def test_unchanged_services_are_not_silenced(self, running: Running) -> None:
        up(running.project, running.docker.cli, QUICK)
        assert running.alertmanager.silences == []

    @pytest.mark.parametrize("step", ["engine", "ports", "provide", "start"])
    def test_failed_step_ends_up(
        self, project: Project, docker: FakeDocker, steps: Steps, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        owner = {"engine": (doctor, "require_engine"), "ports": (doctor, "require_free_ports"),
                 "provide": (images, "provide"), "start": (lifecycle, "start")}[step]  # fmt: skip
        monkeypatch.setattr(*owner, steps.recorder(step, ToolkitError("no")))
        with pytest.raises(ToolkitError, match="no"):
            up(project, docker.cli, QUICK)
        assert steps == ALL_STEPS[: ALL_STEPS.index(step) + 1]

    def test_failed_smoke_checks_fail_up_after_the_addresses(
        self, project: Project, docker: FakeDocker, steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        report = Report("smoke checks", [Finding("db", Outcome.FAILED, "no")])
        monkeypatch.setattr(smoke, "smoke", steps.recorder("smoke", report))
        with pytest.raises(ToolkitError, match="smoke checks failed"):
            up(project, docker.cli, QUICK)
        assert steps == ALL_STEPS

    def test_ctrl_c_exits_with_130(
        self, project: Project, docker: FakeDocker, steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lifecycle, "start", steps.recorder("start", KeyboardInterrupt()))
        with pytest.raises(ToolkitError, match="interrupted: started containers keep running") as raised:
            up(project, docker.cli, QUICK)
        assert raised.value.code == 130

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (Options(2, profile="staging"), "unknown profile 'staging': known: dev, prod"),
            (Options(2, images="both"), "unknown image set 'both': known: auto, pull, local"),
            (Options(2, with_=("jaguar",)), "unknown group 'jaguar': known: monitoring"),
            (Options(2, without=("db",)), "db cannot be disabled: only monitoring can"),
            (Options(2, with_=("monitoring",), without=("monitoring",)), "both name monitoring"),
        ],
    )
    def test_invalid_option_changes_nothing(
        self, project: Project, docker: FakeDocker, steps: Steps, options: Options, message: str
    ) -> None:
        with pytest.raises(ToolkitError, match=message) as raised:
            up(project, docker.cli, options)
        assert raised.value.code == 2
        assert steps == []

    def test_concurrent_up_is_refused(self, project: Project, docker: FakeDocker, steps: Steps) -> None:
        project.lock_file.parent.mkdir()
        with project.lock_file.open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(ToolkitError, match="another run of the toolkit"):
                up(project, docker.cli, QUICK)
        assert steps == []


def test_groups_are_those_of_env_with_the_options_applied(project: Project) -> None:
    assert choose_groups(project, (), ()) == ["monitoring"], "on by default"
    assert choose_groups(project, (), ("monitoring",)) == []
    envfile.update(project.env_file, {"COMPOSE_PROFILES": "mine"})
    assert choose_groups(project, (), ()) == [], "a disabled group stays disabled"
    assert choose_groups(project, ("monitoring",), ()) == ["monitoring"]


def containers(docker: FakeDocker, *found: dict[str, Any]) -> list[ServiceState]:
    """Script these containers, and return their states."""
    docker.on("ps", stdout=" ".join(each["Id"] for each in found))
    docker.on("container", "inspect", stdout=list(found))
    return [parse_container(cast(shapes.Container, each)) for each in found]


class TestStart:
    """Starting containers until all are healthy."""

    def test_start_runs_compose_up_and_waits(self, docker: FakeDocker) -> None:
        docker.on("config", stdout=configuration(db={}))
        docker.on("up", "--detach")
        containers(docker, container())
        lifecycle.start(docker.cli, 5)
        [argv] = docker.ran("up")
        assert {"--no-build", "never"} <= set(argv)

    def test_failed_wait_stops_compose(self, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
        events: list[Any] = []

        def compose(*_arguments: str, stop: Any) -> Result:
            events.append(stop)
            assert stop.wait(5)
            return Result(130, "", "")

        monkeypatch.setattr(type(docker.cli), "compose", staticmethod(compose))
        monkeypatch.setattr(lifecycle, "wait", Steps().recorder("wait", ToolkitError("db cannot become healthy")))
        with pytest.raises(ToolkitError, match="db cannot become healthy"):
            lifecycle.start(docker.cli, 5)
        assert events[0].is_set()

    def test_disabled_services_are_removed_without_their_volumes(
        self, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        docker.on("config", stdout=configuration(db={}))
        docker.on("--profile", "*", "config", stdout=configuration(db={}, prometheus={}, smoke={}))
        docker.on("rm")
        lifecycle.remove_switched_off(docker.cli, containers(docker, container("db"), container("prometheus")))
        [argv] = docker.ran("rm")
        assert argv == ["docker", "compose", "--profile", "*", "rm", "--stop", "--force", "prometheus"]
        assert "prometheus: disabled" in capsys.readouterr().out

    def test_no_disabled_service_removes_nothing(self, docker: FakeDocker) -> None:
        docker.on("config", stdout=configuration(db={}))
        lifecycle.remove_switched_off(docker.cli, containers(docker, container("db"), container("theirs")))
        assert docker.ran("rm") == []

    def test_only_containers_in_a_restart_loop_are_stopped(self, docker: FakeDocker) -> None:
        docker.on("config", stdout=configuration(db={}))
        docker.on("stop")
        looping, app = container("db", "restarting", None, restarts=5), container("app", health="unhealthy")
        lifecycle.end_restarts(docker.cli, containers(docker, looping, app))
        assert docker.ran("stop") == [["docker", "stop", "id-db-1"]]
        lifecycle.end_restarts(docker.cli, containers(docker, container("db")))
        assert len(docker.ran("stop")) == 1

    def test_addresses_are_those_of_published_ports(
        self, project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        docker.on("config", stdout=configuration(app={}))
        found = containers(docker, container("app", ports=PORTS), container("prometheus", ports={"9090/tcp": None}))
        lifecycle.show_addresses(project, docker.cli, found)
        output = capsys.readouterr().out
        assert "http://127.0.0.1:23000" in output
        assert "9090" not in output

    def test_addresses_in_production_are_those_of_the_proxy(
        self, project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        proxy = {"environment": {"PUBLIC_URL": "https://netmon.example", "DOMAIN": "netmon.example"}}
        docker.on("config", stdout=configuration(proxy=proxy, app={}, grafana={}))
        ports = {
            "8080/tcp": [{"HostIp": "192.0.2.1", "HostPort": "80"}],
            "8443/tcp": [{"HostIp": "192.0.2.1", "HostPort": "443"}],
        }
        found = containers(docker, container("proxy", ports=ports), container("app"), container("grafana"))
        lifecycle.show_addresses(project, docker.cli, found)
        output = capsys.readouterr().out
        assert "https://netmon.example " in output
        assert "https://netmon.example/grafana/ " in output
        assert "http://" not in output


class TestDown:
    """`down`, with a fake engine that has the given resources."""

    @pytest.fixture(autouse=True)
    def _engine(self, docker: FakeDocker) -> None:
        self.docker = docker
        self.resources = {"ps": ["db-1", "app-1"], "network": ["app-network"], "volume": ["postgres_data"]}
        docker.on("config", stdout=configuration(db={}))
        for listing in self.resources:
            docker.answer(listing, "--filter", by=self._listed)
        docker.answer("compose", "down", by=self._removed)

    def _listed(self, argv: list[str]) -> Result:
        return Result(0, "\n".join(self.resources[argv[1]]), "")

    def _removed(self, argv: list[str]) -> Result:
        self.resources |= {"ps": [], "network": []} | ({"volume": []} if "--volumes" in argv else {})
        return Result(0, "", "")

    def test_down_keeps_the_volumes(self, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
        down(project, self.docker.cli)
        assert "removed: 2 containers, 1 network; kept: 1 volume" in capsys.readouterr().out
        [argv] = self.docker.ran("compose", "down")
        assert argv[-3:] == ["--project-name", "network-monitor", "down"]

    def test_down_without_containers_does_nothing(self, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
        self.resources |= {"ps": [], "network": []}
        down(project, self.docker.cli)
        assert "nothing to do" in capsys.readouterr().out
        assert self.docker.ran("compose", "down") == []

    def test_unconfirmed_removal_of_volumes_changes_nothing(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
        with pytest.raises(ToolkitError, match="postgres_data") as raised:
            down(project, self.docker.cli, volumes=True)
        assert raised.value.code == 1
        assert self.docker.ran("compose", "down") == []

    def test_confirmed_removal_of_volumes_deletes_them(
        self, project: Project, capsys: pytest.CaptureFixture[str]
    ) -> None:
        down(project, self.docker.cli, volumes=True, yes=True)
        output = capsys.readouterr().out
        assert "removed: 2 containers, 1 network, 1 volume" in output
        assert "kept" not in output

    def test_remaining_resources_are_an_error(self, project: Project) -> None:
        self.docker.on("compose", "down")
        with pytest.raises(
            ToolkitError, match="network-monitor was not fully removed: remaining: app-1, db-1, app-network"
        ):
            down(project, self.docker.cli)

    def test_error_of_compose_is_reported(self, project: Project) -> None:
        self.docker.on("compose", "down", code=1, stderr="network has active endpoints")
        with pytest.raises(ToolkitError, match="active endpoints"):
            down(project, self.docker.cli)


class TestProjectName:
    """The name of the checkout's project."""

    def test_name_is_read_from_the_configuration(self, docker: FakeDocker) -> None:
        docker.on("config", stdout=configuration(db={}))
        assert project_name(docker.cli) == "network-monitor"

    @pytest.mark.parametrize(("found", "name"), [("mine\nmine\n", "mine"), ("", None), ("mine\nother\n", None)])
    def test_name_is_read_from_containers_if_the_files_are_broken(
        self, docker: FakeDocker, found: str, name: str | None
    ) -> None:
        docker.on("config", code=15, stderr="yaml: line 3")
        docker.on("ps", f"label=com.docker.compose.project.working_dir={docker.cli.root}", stdout=found)
        if name:
            assert project_name(docker.cli) == name
        else:
            with pytest.raises(ToolkitError, match="yaml: line 3"):
                project_name(docker.cli)


def test_resources_are_counted_by_kind() -> None:
    assert not Resources((), (), ())
    assert str(Resources(("a",), (), ("b", "c"))) == "1 container, 2 volumes"
