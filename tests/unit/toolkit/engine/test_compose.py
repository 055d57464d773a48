"""Running commands: output, environment, timeout, cancellation, and known failures of docker."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.toolkit.conftest import FakeDocker, configuration
from toolkit.core.errors import ToolkitError
from toolkit.engine import compose
from toolkit.engine.compose import Docker, Result, explain, run


def shell(script: str, **options: object) -> Result:
    return run(["sh", "-c", script], cwd=Path("/"), capture=True, **options)  # type: ignore[arg-type]


def test_a_command_returns_output_and_exit_code() -> None:
    assert shell("echo out; echo err >&2; exit 3") == Result(3, "out\n", "err\n")


def test_environment_is_changed_and_standard_input_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOVED", "before")
    environment = {"ADDED": "here", "REMOVED": None}
    assert shell('cat; echo "$ADDED-${REMOVED-gone}"', env=environment).stdout == "here-gone\n"


def test_output_that_is_not_utf8_is_replaced() -> None:
    assert "\N{REPLACEMENT CHARACTER}" in shell(r"printf '\377'").stdout


def test_a_missing_program_is_an_error_with_a_fix() -> None:
    with pytest.raises(ToolkitError, match="cannot run no-such-docker: the program is not installed") as raised:
        run(["no-such-docker"], cwd=Path("/"), capture=True)
    assert raised.value.fix


@pytest.mark.parametrize("stop", [None, threading.Event()])
def test_a_timeout_kills_the_command(stop: threading.Event | None) -> None:
    started = time.monotonic()
    with pytest.raises(ToolkitError, match=r"did not finish within 0\.2 s"):
        shell("exec sleep 60", timeout=0.2, stop=stop)
    assert time.monotonic() - started < 60


def test_a_cancelled_command_returns_its_output(tmp_path: Path) -> None:
    stop, started = threading.Event(), tmp_path / "started"

    def cancel() -> None:
        while not started.exists():
            time.sleep(0.01)
        stop.set()

    with ThreadPoolExecutor() as pool:
        pool.submit(cancel)
        script = f"trap 'echo ended; exit 130' TERM; echo started; >'{started}'; while :; do sleep 0.05; done"
        result = shell(script, stop=stop)
    assert result == Result(130, "started\nended\n", "")


def test_a_watched_command_prints_to_a_terminal_line_by_line() -> None:
    lines: list[str] = []
    result = shell(r"test -t 1 && printf 'one\rtwo\n'; echo err >&2; printf 'last'; exit 3", watch=lines.append)
    assert result == Result(3, "", "err\n")
    assert lines == ["one", "two", "last"]


def test_a_watched_command_can_be_cancelled_by_its_output() -> None:
    stop, started = threading.Event(), time.monotonic()
    result = shell("echo begun; exec sleep 60", stop=stop, watch=lambda _: stop.set())
    assert result.code == -15
    assert time.monotonic() - started < 30


def test_watching_closes_its_terminal() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        shell("echo x", watch=lambda _: None)
        with pytest.raises(ToolkitError):
            run(["no-such-docker"], cwd=Path("/"), watch=lambda _: None)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_echo_prints_the_command(capsys: pytest.CaptureFixture[str], docker: FakeDocker) -> None:
    docker.on("compose", "ps")
    Docker(Path("/"), echo=True).compose("ps", "a b")
    assert capsys.readouterr().err == "$ docker compose ps 'a b'\n"


@pytest.mark.parametrize(
    ("stderr", "fix"),
    [
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "start Docker"),
        ("permission denied while trying to connect to the docker API", "group docker"),
        ("docker: 'compose' is not a docker command.", "Compose plugin"),
        ("Bind for 127.0.0.1:3000 failed: port is already allocated", "invoke doctor"),
        ("write /x: no space left on device", "disk space"),
        ('required variable X is missing a value: run "invoke setup" first', "invoke setup"),
        ("networks.egress-network.enable_ipv6: failed to cast to expected type: invalid boolean: x", "ENABLE_IPV6"),
        ("something else", ""),
    ],
)
def test_a_known_failure_has_a_fix(stderr: str, fix: str) -> None:
    error = explain("do it", Result(1, "", f"first\n\n{stderr}\n"))
    assert error.what == "cannot do it"
    assert stderr in error.why
    assert fix in error.fix if fix else not error.fix


def test_a_failure_without_output_reports_the_exit_code() -> None:
    assert explain("do it", Result(7, "", "")).why == "docker exited with code 7"


def test_effective_configuration_is_cached_per_selection(docker: FakeDocker) -> None:
    docker.on("compose", "config", stdout=configuration(db={}))
    assert list(docker.cli.effective()["services"]) == ["db"]
    assert docker.cli.project_name() == "network-monitor"
    assert len(docker.ran("compose", "config")) == 1, "the configuration is cached"
    docker.cli.effective(every_group=True)
    assert docker.ran("--profile", "*", "config")
    docker.on("compose", "config", code=15, stderr="yaml: line 3")
    with pytest.raises(ToolkitError, match="cannot read the compose files: yaml: line 3"):
        docker.cli.effective()


def test_effective_configuration_is_read_again_after_a_change_of_env(docker: FakeDocker) -> None:
    docker.on("compose", "config", stdout=configuration(db={}))
    docker.cli.effective()
    (docker.cli.root / ".env").write_text("APP_PORT=1\n")
    docker.cli.effective()
    assert len(docker.ran("compose", "config")) == 2


def test_inspect_without_containers_runs_no_command(docker: FakeDocker) -> None:
    assert docker.cli.inspect() == []
    assert docker.calls == []


def test_variables_of_using_take_precedence_over_env(docker: FakeDocker) -> None:
    docker.answer("config", by=lambda _: docker.result({"name": str(docker.environments[-1].get("X", "of .env"))}))
    candidate = docker.cli.using(X="1").using(Y="2")
    assert candidate.project_name() == "1"
    assert docker.environments[-1] == {"X": "1", "Y": "2"}
    assert docker.cli.project_name() == "of .env"
    docker.on("info")
    candidate("info", env={"X": "3"})
    assert docker.environments[-1] == {"X": "3", "Y": "2"}


def test_image_id_of_a_local_and_of_a_missing_image(docker: FakeDocker) -> None:
    docker.on("image", "inspect", stdout="sha256:1\n")
    assert docker.cli.image_id("app:1") == "sha256:1"
    docker.on("image", "inspect", code=1, stderr="No such image")
    assert docker.cli.image_id("app:1") is None


def test_data_root_is_none_without_an_engine(docker: FakeDocker) -> None:
    docker.on("info", stdout={"ServerVersion": "28.5.2", "DockerRootDir": "/srv/docker"})
    assert docker.cli.data_root() == "/srv/docker"
    docker.on("info", code=1, stderr="Cannot connect to the Docker daemon")
    assert docker.cli.data_root() is None
    docker.answer("info", by=ToolkitError("cannot run docker"))
    assert docker.cli.data_root() is None


def test_a_command_runs_in_a_running_container_of_the_service(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = {"ps": Result(0, "first\nsecond\n", ""), "exec": Result(3, "out", "")}
    calls: list[list[str]] = []

    def run(argv: list[str], **_: object) -> Result:
        calls.append(argv)
        return results[argv[1]] if argv[1] in results else FakeDocker.result(configuration())

    monkeypatch.setattr(compose, "run", run)
    assert docker.cli.exec("db", "psql", stdin="SELECT 1") == results["exec"]
    assert calls[-1] == ["docker", "exec", "--interactive", "first", "psql"]
    assert {"label=com.docker.compose.project=network-monitor", "label=com.docker.compose.service=db",
            "label=com.docker.compose.oneoff=False", "status=running"} <= set(calls[-2])  # fmt: skip
    results["ps"] = Result(0, "", "")
    assert docker.cli.exec("db", "psql") == Result(1, "", "the service db is not running")
    results["ps"] = Result(1, "", "permission denied")
    assert docker.cli.exec("db", "psql") == results["ps"]
