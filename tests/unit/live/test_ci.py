"""The runner of the CI jobs: it stops at the first failure, and nothing that did not run counts as passed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.live.ci import Outcome, Script, chosen, run, show
from tests.live.workflow import Job
from toolkit.core.errors import ToolkitError

PYTHON = "3.99"


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """A machine that has Python 3.99: this one."""
    python = tmp_path / f"python{PYTHON}"
    python.write_text('#!/bin/sh\necho "$@" >"$HOME/asked"\n')
    python.chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def local(text: str, seconds: float) -> int:
        argv = ("timeout", f"{seconds:.0f}", "bash", "-e", "-c", text)
        return subprocess.run(argv, cwd=tmp_path, env=environment, check=False).returncode

    return local


def job(*scripts: str, python: str = PYTHON, minutes: float = 1) -> Job:
    return Job("stack", python, minutes, scripts)


def codes(outcomes: list[Outcome]) -> list[int | None]:
    return [each.code for each in outcomes]


def test_every_step_is_run_in_its_order(script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = list(run(job("echo one >>file", "echo two >>file\ncat file"), script))
    assert codes(found) == [0, 0, 0]
    assert (tmp_path / "file").read_text() == "one\ntwo\n"
    assert (tmp_path / "asked").read_text() == f"-m venv {tmp_path}/python\n"
    assert show(found)
    assert capsys.readouterr().out.count(" ok ") == 3


def test_a_step_that_fails_ends_its_job(script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = list(run(job("false\ntouch after-the-failure", "touch next-step"), script))
    assert codes(found) == [0, 1, None]
    assert not list(tmp_path.glob("after*")), "bash ends where GitHub's does"
    assert not list(tmp_path.glob("next*"))
    assert not show(found)
    table = capsys.readouterr().out
    assert "failed" in table
    assert "skipped" in table


def test_a_python_that_is_missing_is_a_failure(script: Script) -> None:
    assert codes(list(run(job("true", python="3.98"), script))) == [1, None]


def test_a_job_ends_when_its_time_is_over(script: Script) -> None:
    assert codes(list(run(job("sleep 30", minutes=1 / 60), script))) == [0, 124]


def test_nothing_that_ran_is_no_success() -> None:
    assert not show([])


def test_jobs_are_chosen_by_name() -> None:
    every = [Job(name, "3.14", 1, ()) for name in ("lint, Python 3.14", "tests, Python 3.11", "stack")]
    assert [each.name for each in chosen(every, ["stack", "lint*"])] == ["lint, Python 3.14", "stack"]
    with pytest.raises(ToolkitError, match=r"no job is called 'linting'.*'lint, Python 3.14'"):
        chosen(every, ["lint*", "linting"])
