"""An engine that accepts connections and never answers: tasks end with a clear error."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from invoke.program import Program

import tasks
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core.errors import ToolkitError
from toolkit.engine import stack_http, timeouts
from toolkit.engine.compose import Docker
from toolkit.engine.stack_http import Request
from toolkit.engine.timeouts import HungEngineError

HUNG = """#!/bin/sh
case "$*" in
  compose*" config"*) exec {docker} "$@" ;;
  *) echo "$*" >>{log}; exec sleep 60 ;;
esac
"""
"""A client whose engine hangs; files are read by the client itself."""


@pytest.fixture
def hung(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with such a client; the result is the log of its commands."""
    setup(project, "dev", images="local", folder="/var/lib")
    log, programs = tmp_path / "commands.log", tmp_path / "bin"
    programs.mkdir()
    real = next(path for each in os.environ["PATH"].split(":") if (path := Path(each) / "docker").exists())
    (programs / "docker").write_text(HUNG.format(docker=real, log=log))
    (programs / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(timeouts, "SECONDS", 0.3)
    monkeypatch.chdir(project.root)
    monkeypatch.setattr(Project, "load", classmethod(lambda *_: project))
    return log


def invoke(task: str) -> int:
    with pytest.raises(SystemExit) as ended:
        Program(namespace=copy.deepcopy(tasks.namespace)).run(["invoke", task])
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    "task", ["status", "doctor", "down", "up", "wait", "preflight", "smoke", "images.list", "observe.check"]
)
@pytest.mark.usefixtures("hung")
def test_a_task_gives_up_and_names_cause_and_fix(task: str, capfd: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    code = invoke(task)
    assert time.monotonic() - started < 30
    output = "".join(capfd.readouterr())
    assert code == 1, output
    assert "the Docker Engine does not answer" in output
    assert "restart Docker" in output
    assert "Traceback" not in output


@pytest.mark.usefixtures("hung")
def test_a_task_that_asks_a_service_gives_up(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stack_http, "START_SECONDS", 0.3 - Request("").timeout)
    assert invoke("dead-letters") == 1
    output = "".join(capfd.readouterr())
    assert "the container or the Docker Engine does not answer" in output
    assert "invoke status shows which" in output


def test_further_looks_fail_at_once_for_a_moment(hung: Path, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = Docker(project.root)

    def look() -> int:
        with pytest.raises(HungEngineError, match="does not answer"):
            docker.containers("project")
        return len(hung.read_text().splitlines())

    assert [look() for _ in range(20)] == [1] * 20
    monkeypatch.setattr(timeouts, "REMEMBERED_SECONDS", 0)
    docker._hang.remember()
    assert look() == 2


@pytest.mark.usefixtures("hung")
def test_the_error_names_the_command(project: Project) -> None:
    with pytest.raises(ToolkitError) as raised:
        Docker(project.root)("image", "inspect", "redis:8")
    assert raised.value.why == "docker image inspect redis:8 did not finish within 0.3 s"


@pytest.mark.usefixtures("hung")
def test_a_command_that_changes_something_has_its_own_timeout(project: Project) -> None:
    with pytest.raises(ToolkitError, match=r"did not finish within 1 s") as raised:
        Docker(project.root)("stop", "app", timeout=1)
    assert not isinstance(raised.value, HungEngineError)


def test_ctrl_c_ends_a_look(hung: Path, project: Project) -> None:
    program = "import sys, pathlib, toolkit.engine.compose as c; c.Docker(pathlib.Path(sys.argv[1])).info()"
    # Background jobs of a shell ignore SIGINT, and so do their child processes.
    argv = ["env", "--default-signal=INT", sys.executable, "-c", program, str(project.root)]
    process = subprocess.Popen(argv, cwd=Path(tasks.__file__).parent, start_new_session=True)
    while not hung.exists():
        time.sleep(0.05)
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(timeout=10) != 0
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("command", "asks"),
    [
        ("info --format {{json .}}", True),
        ("ps --all --quiet", True),
        ("container inspect a", True),
        ("volume ls --quiet", True),
        ("stats --no-stream a", True),
        ("compose ps", True),
        ("compose --profile * ps", True),
        ("stats a", False),
        ("compose --profile * config --format json", False),
        ("compose --progress quiet --project-name ps down", False),
        ("compose exec app ps", False),
        ("compose up --wait", False),
        ("exec app cat /proc/1/status", False),
        ("image rm a", False),
        ("volume rm a", False),
        ("events --since 1", False),
        ("pull redis", False),
        ("logs --follow a", False),
        ("logs -f a", False),
        ("logs --timestamps a", True),
        ("system df --format {{json .}}", True),
        ("system prune", False),
        ("buildx du", True),
        ("buildx prune", False),
        ("top a", True),
        ("", False),
    ],
)
def test_read_only_commands(command: str, asks: bool) -> None:
    assert timeouts.is_query(command.split()) == asks
