"""The tasks: options, help, exit codes, and cheap listing."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from invoke.program import Program

import tasks
from toolkit.checkout import setup
from toolkit.checkout.project import Project
from toolkit.checks import doctor, masking, preflight, smoke, status
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome, Report
from toolkit.engine import logs, wait
from toolkit.images import image_lock
from toolkit.images import tags as image_tags
from toolkit.images.contracts import check as contract_check
from toolkit.images.contracts import contract, inspection
from toolkit.images.tags import PinnedTag
from toolkit.observe import check as observation
from toolkit.operate import demo, deploy, lifecycle, reload
from toolkit.operate.rotation import rotate as rotation
from toolkit.tasks import seconds, whole_number

NAMES = {
    "setup", "up", "down", "repair", "wait", "smoke", "status", "logs", "config",
    "dead-letters", "doctor",
    "images.list", "images.build", "images.pull", "images.lock", "images.check-contract", "images.outdated",
    "images.prune",
    "observe.check", "demo", "reload", "deploy", "preflight", "secrets.check", "secrets.rotate",
    "targets.apply", "targets.diff", "targets.export", "targets.heartbeat-url", "targets.import",
}  # fmt: skip

# Copies, also below: Invoke removes the help of a task's options when it parses a command line.
TASKS = {name: copy.deepcopy(tasks.namespace[name]) for name in tasks.namespace.task_names}


def invoke(*argv: str) -> int:
    """Run `invoke ARGV` in this process and return its exit code."""
    try:
        Program(namespace=copy.deepcopy(tasks.namespace)).run(["invoke", *argv])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture
def calls(project: Project, monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """The recorded calls of the functions behind the tasks."""
    calls: list[SimpleNamespace] = []

    def record(module: Any, name: str, result: Any = None) -> None:
        def called(*args: Any, **kwargs: Any) -> Any:
            calls.append(SimpleNamespace(name=name, args=args, kwargs=kwargs))
            return result

        monkeypatch.setattr(module, name, called)

    monkeypatch.setattr(Project, "load", staticmethod(lambda: project))
    record(lifecycle, "up")
    record(lifecycle, "down")
    record(deploy, "deploy")
    record(rotation, "rotate")
    record(wait, "wait")
    record(logs, "logs")
    record(status, "read", status.Status((), ()))
    record(setup, "setup", [])
    record(masking, "masked_config", "name: x\n")
    record(smoke, "smoke", Report("smoke checks", [Finding("db", Outcome.OK, "done")]))
    return calls


def test_no_task_has_the_decorator_of_invoke_which_does_not_catch_errors_of_the_host() -> None:
    assert [name for name, task in TASKS.items() if not hasattr(task.body, "__wrapped__")] == []


def test_every_task_and_option_has_help() -> None:
    assert TASKS.keys() >= NAMES
    for name, task in TASKS.items():
        assert (task.__doc__ or "").strip().splitlines()[0].endswith("."), name
        assert all(argument.help for argument in task.get_arguments()), name


def test_trailing_underscore_is_not_part_of_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke("--help", "up") == 0
    assert "  --with  " in capsys.readouterr().out


def test_up_passes_every_option(calls: list[SimpleNamespace]) -> None:
    assert invoke("up", "--profile=prod", "--images=local", "--with=a", "--with=b", "--without=c", "--no-smoke",
                  "--timeout=7.5", "--yes") == 0  # fmt: skip
    assert calls[0].args[2] == lifecycle.Options(7.5, "prod", "local", ("a", "b"), ("c",), smoke=False, yes=True)


def test_up_has_defaults(calls: list[SimpleNamespace]) -> None:
    assert invoke("up") == 0
    assert calls[0].args[2] == lifecycle.Options(300)


def test_other_tasks_pass_their_options(calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke("wait", "--service=db", "--service=app", "--timeout=5") == 0
    assert calls[-1].args[1:] == (5.0, ["db", "app"])
    assert invoke("down", "--volumes", "--yes") == 0
    assert calls[-1].kwargs == {"volumes": True, "yes": True}
    assert invoke("deploy") == 0
    assert calls[-1].kwargs == {"timeout": 90.0, "name": None, "image": None}
    assert invoke("deploy", "--release=r1", "--image=theirs:2", "--timeout=5") == 0
    assert calls[-1].kwargs == {"timeout": 5.0, "name": "r1", "image": "theirs:2"}
    assert invoke("logs", "--service=db", "--follow", "--tail=5", "--since=1h") == 0
    assert calls[-1].args[1:] == (["db"],)
    assert calls[-1].kwargs == {"follow": True, "tail": 5, "since": "1h"}
    assert invoke("setup", "--profile=dev") == 0
    assert calls[-1].args[1] == "dev"
    assert "already set up" in capsys.readouterr().out
    assert invoke("config") == 0
    assert capsys.readouterr().out == "name: x\n"
    assert invoke("smoke") == 0
    assert calls[-1].args[2] == 60
    assert invoke("--echo", "status") == 0
    assert calls[-1].args[1].echo


@pytest.mark.parametrize("argv", [
    ("up", "--timeout=soon"), ("up", "--timeout=-5"), ("up", "--timeout=0"), ("up", "--timeout=nan"),
    ("up", "--timeout=inf"), ("wait", "--timeout=soon"), ("smoke", "--timeout="), ("logs", "--tail=-1"),
    ("logs", "--tail=all"), ("demo", "--seconds=ever"), ("demo", "--rate=0"),
    ("deploy", "--timeout=soon"),
    ("secrets.rotate", "--timeout=soon"),
])  # fmt: skip
def test_invalid_number_is_refused(
    calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str], argv: tuple[str, str]
) -> None:
    assert invoke(*argv) == 2
    assert f"error: invalid {argv[1]}" in capsys.readouterr().err
    assert calls == []


def test_rotation_accepts_one_account_or_all(calls: list[SimpleNamespace]) -> None:
    assert invoke("secrets.rotate", "--name=postgres_app", "--yes") == 0
    assert invoke("secrets.rotate", "--timeout=5") == 0
    assert [(call.args[2], call.kwargs["yes"]) for call in calls] == [("postgres_app", True), ("", False)]
    assert calls[1].kwargs["timeout"] == 5


def test_numbers_are_parsed() -> None:
    assert seconds("timeout", None, 300) == 300
    assert seconds("timeout", "0.5", 300) == 0.5
    assert whole_number("tail", "0") == 0
    with pytest.raises(ToolkitError):
        whole_number("tail", "٣")


def test_failed_smoke_check_fails_the_task(calls: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report("smoke checks", [Finding("db", Outcome.FAILED, "no")])
    monkeypatch.setattr(smoke, "smoke", lambda *_arguments: report)
    assert invoke("smoke") == 1


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.OK, 0), (Outcome.WARNING, 0), (Outcome.FAILED, 1)])
def test_preflight_fails_with_a_blocker(
    calls: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch, outcome: Outcome, code: int
) -> None:
    profiles: list[str] = []

    def found(_project: object, _docker: object, profile: str) -> Report:
        profiles.append(profile)
        return Report("checks", [Finding("domain", outcome, "localhost")])

    monkeypatch.setattr(preflight, "preflight", found)
    assert invoke("preflight") == code
    assert invoke("preflight", "--profile=dev") == code
    assert profiles == ["prod", "dev"]


@pytest.mark.parametrize(("problem", "code"), [("", 0), ("it is missing", 1)])
def test_observe_fails_with_a_failed_finding(
    calls: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch, problem: str, code: int
) -> None:
    monkeypatch.setattr(
        observation, "check", lambda *_arguments: Report("checks", [Finding.of("metrics", "up", problem)])
    )
    assert invoke("observe.check") == code


def test_demo_and_reload_pass_their_options(calls: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[float, float]] = []

    def send(_project: object, _docker: object, seconds: float, rate: float) -> demo.Summary:
        given.append((seconds, rate))
        return demo.Summary()

    monkeypatch.setattr(demo, "demo", send)
    monkeypatch.setattr(reload, "reload", lambda *_arguments: None)
    assert invoke("demo", "--seconds=2", "--rate=0.5") == 0
    assert given == [(2.0, 0.5)]
    assert invoke("reload") == 0


@pytest.mark.parametrize(("changes", "code"), [([], 0), (["redis: changed"], 1)])
def test_check_of_the_locks_fails_with_a_change_and_locking_does_not(
    calls: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    changes: list[str], code: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(image_lock, "check", lambda *_arguments: changes)
    monkeypatch.setattr(image_lock, "lock", lambda *_arguments: changes)
    assert invoke("images.lock", "--check") == code
    assert all(change in capsys.readouterr().out for change in changes)
    assert invoke("images.lock") == 0


@pytest.mark.parametrize(("problem", "code"), [("", 0), ("curl is missing", 1)])
def test_check_of_contracts_fails_with_a_difference(
    calls: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    problem: str, code: int,
) -> None:  # fmt: skip
    redis = next(each for each in contract.load(Path(tasks.__file__).parent) if each.name == "redis")
    present, missing = (inspection.Image(name, "1:1", redis) for name in ("redis:8", "redis:9"))
    verdicts = (inspection.Verdict("user"), inspection.Verdict("program", problem))
    checked = (contract_check.Result(present, verdicts), contract_check.Result(missing, None))
    monkeypatch.setattr(contract_check, "images", lambda *_arguments: [present, missing])
    monkeypatch.setattr(contract_check, "check", lambda *_arguments: checked)
    assert invoke("images.check-contract") == code
    printed = capsys.readouterr()
    rows = [" ".join(line.split()) for line in printed.out.splitlines()]
    assert "skipped redis:9 not on this host" in rows
    assert ("failed redis:8 program curl is missing" if problem else "ok redis:8 conforms in all 2 clauses") in rows
    assert ("images/redis/contract.yml" in printed.err) is bool(problem)


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.WARNING, 0), (Outcome.FAILED, 1)])
def test_doctor_fails_with_a_failed_finding(
    calls: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch, outcome: Outcome, code: int
) -> None:
    monkeypatch.setattr(doctor, "doctor", lambda *_arguments: Report("checks", [Finding("engine", outcome)]))
    assert invoke("doctor") == code


def test_listing_the_tasks_imports_no_heavy_modules() -> None:
    heavy = "{'rich', 'requests', 'kafka', 'dotenv', 'toolkit.checkout.project', 'toolkit.engine.compose'}"
    root = Path(tasks.__file__).parent
    loaded = subprocess.run([sys.executable, "-c", f"import sys, tasks; print(sorted({heavy} & sys.modules.keys()))"],
                            cwd=root, capture_output=True, text=True, check=True)  # fmt: skip
    assert loaded.stdout == "[]\n"


@pytest.mark.parametrize(
    ("found", "code", "message"),
    [
        ([PinnedTag("redis:8.1", ("docker-compose.yml",), True, "8.2", "9.0")], 0, ""),
        ([PinnedTag("redis:8.1", ("docker-compose.yml",), False)], 1, "do not exist: redis:8.1 (docker-compose.yml)"),
        ([PinnedTag("redis:8.1", (), None, problem="429 slow down")], 1, "could be checked: redis:8.1: 429 slow down"),
    ],
)
def test_missing_or_unknown_pinned_tag_fails(
    calls: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    found: list[PinnedTag], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(image_tags, "pinned_tags", lambda _project: found)
    assert invoke("images.outdated") == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out.splitlines()[1].split() == ["redis:8.1", "exists", "8.2", "9.0"] or code
