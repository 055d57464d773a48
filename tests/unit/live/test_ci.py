"""The runner of CI jobs: a job stops at the first failure, and a skipped step does not count as passed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.live.ci import Outcome, Script, run, select, show
from tests.live.workflow import Job
from toolkit.core.errors import ToolkitError

PYTHON = "3.99"


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Scripts run on this machine, with a stub of Python 3.99."""
    python = tmp_path / f"python{PYTHON}"
    python.write_text('#!/bin/sh\necho "$@" >"$HOME/arguments"\n')
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


def test_steps_run_in_order(script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = list(run(job("echo one >>file", "echo two >>file\ncat file"), script))
    assert codes(found) == [0, 0, 0]
    assert (tmp_path / "file").read_text() == "one\ntwo\n"
    assert (tmp_path / "arguments").read_text() == f"-m venv {tmp_path}/python\n"
    assert show(found)
    assert capsys.readouterr().out.count(" ok ") == 3


def test_a_failed_step_ends_its_job(script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = list(run(job("false\ntouch after-the-failure", "touch next-step"), script))
    assert codes(found) == [0, 1, None]
    assert not list(tmp_path.glob("after*")), "a script must stop at its first error, as on GitHub"
    assert not list(tmp_path.glob("next*"))
    assert not show(found)
    table = capsys.readouterr().out
    assert "failed" in table
    assert "skipped" in table


def test_a_missing_python_is_a_failure(script: Script) -> None:
    assert codes(list(run(job("true", python="3.98"), script))) == [1, None]


def test_a_job_is_killed_after_its_timeout(script: Script) -> None:
    assert codes(list(run(job("sleep 30", minutes=1 / 60), script))) == [0, 124]


def test_no_outcomes_are_no_success() -> None:
    assert not show([])


def test_jobs_are_selected_by_name() -> None:
    every = [Job(name, "3.14", 1, ()) for name in ("lint, Python 3.14", "tests, Python 3.11", "stack")]
    assert [each.name for each in select(every, ["stack", "lint*"])] == ["lint, Python 3.14", "stack"]
    with pytest.raises(ToolkitError, match=r"no job matches 'linting'.*'lint, Python 3.14'"):
        select(every, ["lint*", "linting"])
