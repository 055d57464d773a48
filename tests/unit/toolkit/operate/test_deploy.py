"""Deploy: order of its steps, rollback of broken releases, and recovery from a kill at any step."""

from __future__ import annotations

import ast
import fcntl
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.operate.fake_engine import Engine
from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.checks import doctor
from toolkit.core import envfile
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome, Report
from toolkit.engine import containers
from toolkit.engine.compose import Result
from toolkit.images import builds
from toolkit.operate import deploy as package
from toolkit.operate import rolling
from toolkit.operate.deploy import deploy, journal, recover, rehearsal
from toolkit.operate.silences import CLEARING

GREEN = Report("smoke checks", [Finding("db", Outcome.OK, "done")])
RED = Report("smoke checks", [Finding("probe", Outcome.FAILED, "no")])
SERVICES = ("worker", "app", "container-exporter")
OLD, NEW = "20260101-000000", "20260102-000000"


class Stack:
    """A running stack of release OLD, with every API that a deploy uses."""

    def __init__(self, project: Project, docker: FakeDocker) -> None:
        setup(project, "dev", images="local")
        envfile.update(project.env_file, {"NETMON_RELEASE": OLD})
        self.project, self.docker = project, docker
        services: dict[str, dict[str, Any]] = {name: {"depends_on": {"db": {}}} for name in SERVICES}
        self.engine = Engine(docker, services | {"db": {"image": "postgres:18"}, "alertmanager": {"image": "am:1"}})
        self.engine.services |= {"smoke": {"profiles": ["tools"]}}
        for name in (*SERVICES, "db", "alertmanager"):
            self.engine.start(name)
        self.engine.log.clear()
        self.silences: dict[str, str] = {}
        self.healthy = 200
        self.accepts = 202
        self.access = credentials.authorization(project)["Authorization"]
        docker.answer("exec", by=self._exec)
        docker.answer("git", by=ToolkitError("cannot run git", "the program is not installed"))
        docker.on("image", "ls", stdout="")

    def deploy(self, **options: Any) -> None:
        deploy(self.project, self.docker.cli, timeout=1, **options)

    @property
    def live(self) -> str:
        return self.project.env["NETMON_RELEASE"]

    def running(self) -> set[str]:
        return {image.rpartition(":")[2] for name in SERVICES for image in self.engine.of(name)}

    def consistent(self, release: str) -> bool:
        """Whether every service has one container of this release, and no trace of a deploy is left."""
        one_each = all(len(self.engine.of(name)) == 1 for name in SERVICES)
        clean = not self.engine.oneoffs and not journal.path(self.project).exists()
        end = datetime.now(UTC) + CLEARING
        silent = all(datetime.fromisoformat(json.loads(each)["endsAt"]) <= end for each in self.silences.values())
        return (self.live, self.running()) == (release, {release}) and one_each and clean and silent

    def _exec(self, _argv: list[str]) -> Result:
        literal = self.docker.inputs[-1].rpartition("main(json.loads(")[2].strip().removesuffix("))")
        answers = [self._answer(each["method"], each["url"].removeprefix("http://"), each["body"], each["headers"])
                   for each in json.loads(ast.literal_eval(literal))]  # fmt: skip
        responses = [
            {"status": status, "body": json.dumps(body), "headers": {}, "error": ""} for status, body in answers
        ]
        return FakeDocker.result(responses)

    def _answer(self, method: str, address: str, body: str | None, headers: dict[str, str]) -> tuple[int, Any]:
        host, _, path = address.partition("/")
        match method, host, path:
            case "POST", "alertmanager:9093", "api/v2/silences":
                identifier = json.loads(str(body)).get("id", f"silence-{len(self.silences) + 1}")
                self.silences[identifier] = str(body)
                return 200, {"silenceID": identifier}
            case "GET", "alertmanager:9093", "api/v2/silences":
                return 200, [self._silence(name, text) for name, text in self.silences.items()]
            case "GET", "alertmanager:9093", _:
                return 200, []
            case "GET", _, "api/health":
                name = host.partition(":")[0]
                here = {each["Name"].lstrip("/"): each for each in self.engine.containers.values()}
                image = (here | self.engine.oneoffs)[name]["Config"]["Image"]
                return self.healthy, {"version": image.rpartition(":")[2], "checks": {}}
            case "POST", _, "api/probes":
                authorized = headers.get("Authorization") == self.access
                return self.accepts if authorized else 401, {"id": "1", "target": "t"}
            case _:
                return 200, {"status": "succeeded", "http_status": 200}

    @staticmethod
    def _silence(name: str, text: str) -> dict[str, Any]:
        return {**json.loads(text), "id": name, "status": {"state": "active"}}


@pytest.fixture
def stack(project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The stack, without waits, with a supported engine and passing smoke checks."""
    monkeypatch.setattr(rolling, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(containers, "PAUSE", 0)
    monkeypatch.setattr(rehearsal, "POLL_SECONDS", 0)
    monkeypatch.setattr(rehearsal, "ANSWER_SECONDS", 0)
    monkeypatch.setattr(rehearsal, "PROBE_SECONDS", 0)
    monkeypatch.setattr(doctor, "require_engine", lambda _docker: None)
    monkeypatch.setattr(package, "smoke", lambda *_: GREEN)
    monkeypatch.setattr(builds, "_build_bases", lambda _project: None)
    monkeypatch.setattr(builds, "_package_index", lambda _project: [])
    return Stack(project, docker)


def test_first_deploy_makes_the_former_state_a_release(stack: Stack) -> None:
    """`up` no longer builds it: a failed release would become live that way."""
    envfile.update(stack.project.env_file, {"NETMON_RELEASE": ""})
    stack.docker.on("compose", "build", code=1, stderr="no such file")
    with pytest.raises(ToolkitError, match="dev is live"):
        stack.deploy()
    assert stack.live == "dev"


def test_healthy_release_becomes_live(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.deploy()
    new = stack.live
    assert stack.consistent(new)
    assert new != OLD
    assert stack.engine.log == [
        f"built network-monitor:{new}",
        f"ran worker migrate of {new}",
        "created worker-6", "stopped worker-1", "removed worker-1",
        f"ran app of {new}", "removed network-monitor-app-candidate",
        "created app-8", "stopped app-2", "removed app-2",
        "created container-exporter-9", "stopped container-exporter-3", "removed container-exporter-3",
    ]  # fmt: skip
    assert f"invoke deploy --release={OLD}" in capsys.readouterr().out


def test_former_image_is_retained(stack: Stack) -> None:
    stack.deploy()
    assert stack.engine.tags["network-monitor-former:1"] == f"id-of-network-monitor:{OLD}"


def test_alerts_triggered_by_a_deploy_are_silenced(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    silences: list[dict[str, Any]] = []

    def seen(*_arguments: Any) -> Report:
        silences.extend(json.loads(text) for text in stack.silences.values())
        return GREEN

    monkeypatch.setattr(package, "smoke", seen)
    stack.deploy()
    [silence] = silences
    assert silence["startsAt"] < silence["endsAt"]
    matchers = {each["name"]: each["value"].split("|") for each in silence["matchers"]}
    assert {"TargetDown", "EndpointDown"} <= set(matchers["alertname"])
    assert set(matchers["service"]) >= set(SERVICES)
    assert "db" not in matchers["service"]
    assert "ApiErrorBurst" not in matchers["alertname"], "errors seen by clients are not silenced"


def test_deploy_without_monitoring_skips_the_silence(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    del stack.engine.services["alertmanager"]
    stack.deploy()
    assert "skipped: alertmanager is disabled" in capsys.readouterr().out
    assert stack.silences == {}


def test_rejected_silence_does_not_stop_the_deploy(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    inner = stack._answer
    stack._answer = lambda method, address, body, headers: (  # type: ignore[method-assign]
        (500, "full") if "silences" in address else inner(method, address, body, headers)
    )
    stack.deploy()
    assert stack.consistent(stack.live)
    assert "cannot create a silence" in capsys.readouterr().out


def never_healthy(service: str) -> Callable[[Stack, pytest.MonkeyPatch], None]:
    def sick(stack: Stack, _patch: pytest.MonkeyPatch) -> None:
        stack.engine.sick = lambda name, image: name == service and not image.endswith(OLD)

    return sick


def bad_migration(stack: Stack, _patch: pytest.MonkeyPatch) -> None:
    stack.engine.migration = Result(1, "", "the column is there")


def no_dependency(stack: Stack, _patch: pytest.MonkeyPatch) -> None:
    stack.healthy = 503


def requests_fail(stack: Stack, _patch: pytest.MonkeyPatch) -> None:
    stack.accepts = 500


def no_smoke(_stack: Stack, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(package, "smoke", lambda *_: RED)


def no_build(stack: Stack, _patch: pytest.MonkeyPatch) -> None:
    stack.docker.on("compose", "build", code=1, stderr="no such file")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (never_healthy("worker"), "worker cannot become healthy"),
        (never_healthy("app"), "app cannot become healthy"),
        (never_healthy("container-exporter"), "container-exporter cannot become healthy"),
        (bad_migration, "cannot migrate the database: the column is there"),
        (no_dependency, "the new app does not work"),
        (requests_fail, "/api/probes returned status 500"),
        (no_smoke, "smoke checks failed"),
        (no_build, "cannot build"),
    ],
)
def test_broken_release_is_rolled_back(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, broken: Callable[[Stack, pytest.MonkeyPatch], None], message: str
) -> None:
    broken(stack, monkeypatch)
    with pytest.raises(ToolkitError, match=f"{OLD} is live") as raised:
        stack.deploy()
    assert message in raised.value.render()
    assert raised.value.code == 1
    assert stack.consistent(OLD)
    assert stack.engine.serving.count(0) == 0, "no service was ever without a healthy container"


def test_logs_of_a_failed_rehearsal_are_saved(stack: Stack) -> None:
    stack.accepts = 500
    with pytest.raises(ToolkitError, match="the new app does not work") as raised:
        stack.deploy()
    folder = stack.project.root / ".netmon"
    assert f"full logs: {folder / 'app.log'}, {folder / 'worker.log'}" in raised.value.fix
    assert (
        folder / "app.log"
    ).read_text() == f"2026-01-01T00:00:00Z log of {rehearsal.container_name('network-monitor')}\n"
    assert "log of worker-" in (folder / "worker.log").read_text()


def test_rollback_reverses_the_order(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application is rolled back before the worker: the producer of jobs is never newer than the consumer."""
    monkeypatch.setattr(package, "smoke", lambda *_: RED)
    with pytest.raises(ToolkitError):
        stack.deploy()
    order = [line.partition("-")[0] for line in stack.engine.log if line.startswith("created")]
    services = ["worker", "app", "container", "container", "app", "worker"]
    assert order == [f"created {service}" for service in services]


def test_failed_rollback_is_completed_by_the_next_run(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "smoke", lambda *_: RED)
    real = rolling.replace

    def fails(*arguments: Any, keep: set[str] | None = None, **options: Any) -> None:
        if keep is not None:
            raise ToolkitError("the engine is unavailable")
        real(*arguments, **options)

    monkeypatch.setattr(rolling, "replace", fails)
    with pytest.raises(ToolkitError, match=f"the rollback to {OLD} is incomplete") as raised:
        stack.deploy()
    assert "the engine is unavailable" in raised.value.why
    monkeypatch.setattr(rolling, "replace", real)
    recover(stack.project, stack.docker.cli, 1)
    assert stack.consistent(OLD)


class Killed(BaseException):
    """A kill, which the code cannot catch."""


CHANGING = {"up", "run", "build", "stop", "rm", "tag", "exec"}


@pytest.mark.slow
@pytest.mark.parametrize("resume", ["recover", "deploy"])
@pytest.mark.parametrize("broken", [False, True], ids=["good", "broken"])
def test_deploy_killed_at_any_command_is_recovered(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, resume: str, broken: bool
) -> None:
    """After a kill at each command, the next run leaves one consistent release."""
    monkeypatch.setattr(package, "smoke", lambda *_: RED if broken else GREEN)
    original = type(stack.docker).__call__
    count = 0
    for number in range(200):
        again = Stack(stack.project, stack.docker)
        journal.remove(stack.project)
        left = number

        def dies(self: FakeDocker, argv: list[str], **options: Any) -> Result:
            nonlocal left
            result = original(self, argv, **options)
            if CHANGING & set(argv):
                left -= 1
                if left < 0:
                    raise Killed
            return result

        monkeypatch.setattr(FakeDocker, "__call__", dies)
        try:
            again.deploy()
            ended = True
        except ToolkitError:
            ended = True
        except Killed:
            ended = False
        monkeypatch.setattr(FakeDocker, "__call__", original)
        if ended:
            break
        count += 1
        if resume == "deploy":
            monkeypatch.setattr(package, "smoke", lambda *_: GREEN)
            again.deploy()
            monkeypatch.setattr(package, "smoke", lambda *_: RED if broken else GREEN)
        else:
            recover(again.project, again.docker.cli, 1)
        assert again.consistent(again.live), (number, again.engine.log)
    assert count > 20, count


def test_ctrl_c_rolls_back(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Report:
        raise KeyboardInterrupt

    monkeypatch.setattr(package, "smoke", interrupted)
    with pytest.raises(ToolkitError, match=f"{OLD} is live") as raised:
        stack.deploy()
    assert raised.value.code == 130
    assert stack.consistent(OLD)


def test_concurrent_deploy_is_refused(stack: Stack) -> None:
    with stack.project.lock_file.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ToolkitError, match="another run of the toolkit"):
            stack.deploy()
    assert stack.engine.log == []


def test_deploy_without_running_containers_fails(stack: Stack) -> None:
    stack.engine.containers.clear()
    with pytest.raises(ToolkitError, match="nothing to replace") as raised:
        stack.deploy()
    assert raised.value.fix == "run: invoke up"


class TestRetained:
    """Deploying a release whose images are retained."""

    def test_retained_release_is_neither_built_nor_migrated(self, stack: Stack) -> None:
        stack.engine.tags[f"network-monitor:{NEW}"] = f"id-of-network-monitor:{NEW}"
        stack.deploy(name=NEW)
        assert stack.consistent(NEW)
        assert not [line for line in stack.engine.log if "built" in line or "migrate" in line]

    def test_missing_release_is_refused(self, stack: Stack) -> None:
        with pytest.raises(ToolkitError, match=f"release {NEW} not found"):
            stack.deploy(name=NEW)
        assert stack.consistent(OLD)

    def test_invalid_name_is_refused(self, stack: Stack) -> None:
        with pytest.raises(ToolkitError, match="unknown release") as raised:
            stack.deploy(name="../x")
        assert raised.value.code == 2

    def test_older_releases_are_removed(self, stack: Stack) -> None:
        stack.docker.on("image", "ls", stdout=f"dev\n{OLD}\n20250101-000000\n20250102-000000-abc1234-dirty\nmine\n")
        stack.docker.on("image", "rm")
        stack.deploy()
        assert [argv[-1] for argv in stack.docker.ran("image", "rm")] == [
            "network-monitor:20250101-000000", "network-monitor:20250102-000000-abc1234-dirty",
        ]  # fmt: skip


def test_release_name_contains_the_commit(stack: Stack) -> None:
    stack.docker.on("git", "describe", stdout="abc1234-dirty\n")
    stack.deploy()
    assert stack.live.endswith("-abc1234-dirty")


class TestExternalApplication:
    """An application whose image is built elsewhere."""

    @pytest.fixture(autouse=True)
    def _external(self, stack: Stack) -> None:
        envfile.update(stack.project.env_file, {"APP_IMAGE": "theirs:1"})
        self.stack, engine = stack, stack.engine
        engine.services["app"]["image"] = "theirs:1"
        engine.tags["theirs:1"] = "id-1"
        for container in engine.containers.values():
            if container["Id"].startswith("app-"):
                container["Image"], container["Config"]["Image"] = "id-1", "theirs:1"
        real = engine.configuration

        def configuration() -> dict[str, Any]:
            config = real()
            config["services"]["app"] = {**config["services"]["app"], "image": self._image()}
            return config

        engine.configuration = configuration  # type: ignore[method-assign]
        stack.docker.answer("pull", by=self._pulled)

    def _image(self) -> str:
        given = self.stack.docker.environments[-1].get("APP_IMAGE")
        return given or self.stack.project.env["APP_IMAGE"]

    def _pulled(self, argv: list[str]) -> Result:
        self.stack.engine.tags[argv[-1]] = "id-2"
        return Result(0, "", "")

    def test_verified_image_is_written_to_env(self) -> None:
        self.stack.deploy(image="theirs:2")
        assert self.stack.project.env["APP_IMAGE"] == "theirs:2"
        assert self.stack.engine.of("app") == ["id-2"]

    def test_rollback_restores_a_moved_tag(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(package, "smoke", lambda *_: RED)
        with pytest.raises(ToolkitError, match="is live"):
            self.stack.deploy()
        assert self.stack.engine.tags["theirs:1"] == "id-1"
        assert self.stack.engine.of("app") == ["id-1"]

    def test_failed_pull_uses_the_local_image(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.stack.docker.on("pull", code=1, stderr="pull access denied")
        self.stack.deploy()
        assert "theirs:1 cannot be pulled, using the local image" in capsys.readouterr().out

    def test_missing_image_fails_the_deploy(self) -> None:
        self.stack.docker.on("pull", code=1, stderr="manifest unknown")
        with pytest.raises(ToolkitError, match="manifest unknown"):
            self.stack.deploy(image="theirs:3")
        assert self.stack.engine.of("app") == ["id-1"]

    def test_build_with_a_fixed_name_is_refused(self) -> None:
        envfile.update(self.stack.project.env_file, {"APP_CONTEXT": "../mine"})
        with pytest.raises(ToolkitError, match="remove APP_IMAGE"):
            self.stack.deploy()


def test_image_option_for_a_built_application_is_refused(stack: Stack) -> None:
    with pytest.raises(ToolkitError, match="--image cannot be used") as raised:
        stack.deploy(image="theirs:1")
    assert raised.value.code == 2


class TestRecover:
    """Recovery from an interrupted deploy."""

    def test_recover_without_a_journal_does_nothing(self, stack: Stack) -> None:
        recover(stack.project, stack.docker.cli, 1)
        assert stack.engine.log == []

    def test_stopped_stack_is_left_to_up(self, stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
        journal.Journal({"NETMON_RELEASE": NEW}, {}).write(stack.project)
        stack.engine.containers = {name: each for name, each in stack.engine.containers.items() if "db" not in name}
        recover(stack.project, stack.docker.cli, 1)
        assert stack.engine.log == []
        assert "left to invoke up" in capsys.readouterr().out
        assert not journal.path(stack.project).exists()
