"""The option --json: one valid document on the standard output, whatever happens, and the usual exit code."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from tests.unit.toolkit.conftest import CHECKOUT, FakeDocker, configuration
from tests.unit.toolkit.containers import container
from tests.unit.toolkit.tasks.test_tasks import TASKS, invoke
from toolkit.checkout.project import Project
from toolkit.checks import doctor, preflight, secretcheck, smoke, status
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.core.presentation import VERSION
from toolkit.core.report import Finding, Outcome, Report
from toolkit.engine import compose
from toolkit.engine.compose import Docker
from toolkit.observe import check as observation

SCHEMA = json.loads((CHECKOUT / "docs/json-output.schema.json").read_text(encoding="utf-8"))
PAGE = (CHECKOUT / "docs/json-output.md").read_text(encoding="utf-8")

CHECKS = {
    "doctor": (doctor, "doctor"),
    "observe.check": (observation, "check"),
    "preflight": (preflight, "preflight"),
    "secrets.check": (secretcheck, "check"),
    "smoke": (smoke, "smoke"),
    "status": (status, "read"),
}
"""The function behind each task with --json."""

every_task = pytest.mark.parametrize("task", sorted(CHECKS))


def found(task: str, outcome: Outcome) -> Any:
    """What the function of a task returns."""
    finding = Finding("db", outcome, "two\nlines ✓", "run: invoke up" * (outcome is Outcome.FAILED), "host", 0.12345)
    match task:
        case "secrets.check":
            return [secretcheck.Row("db", "db: postgres", 130, 7, (finding,))]
        case "status":
            row = status.Row("db", problem="db: not created" * (outcome is Outcome.FAILED))
            return status.Status([row], ["loki"], [finding])
        case _:
            return Report("checks", [finding], condensed=True)


@pytest.fixture
def run(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., SimpleNamespace]:
    """Run a task whose function returns or raises something, after printing."""
    monkeypatch.setattr(Project, "load", staticmethod(lambda: project))
    monkeypatch.setattr(Docker, "prefetch", lambda *_: None)

    def run(task: str, result: Any, *options: str) -> SimpleNamespace:
        def check(*_: object) -> Any:
            print("printed")
            say("said")
            if isinstance(result, BaseException):
                raise result
            return result

        monkeypatch.setattr(*CHECKS[task], check)
        code = invoke(task, *options)
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return run


def document(output: str) -> dict[str, Any]:
    """The only document of an output, valid by the schema."""
    found: dict[str, Any] = json.loads(output)
    jsonschema.validate(found, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert output.isascii(), "an output in any encoding can be parsed"
    return found


def test_every_documented_task_has_the_option() -> None:
    with_option = {
        name for name, task in TASKS.items() if any(each.name == "json" for each in copy.deepcopy(task).get_arguments())
    }
    assert with_option == CHECKS.keys() == set(SCHEMA["properties"]["task"]["enum"])
    assert all(f"`{name}`" in PAGE for name in with_option)


@every_task
@pytest.mark.parametrize("outcome", Outcome)
def test_outcome(run: Callable[..., SimpleNamespace], task: str, outcome: Outcome) -> None:
    plain, ended = run(task, found(task, outcome)), run(task, found(task, outcome), "--json")
    assert (ended.code, ended.err.replace("printed\nsaid\n", "")) == (plain.code, plain.err)
    result = document(ended.out)
    assert (result["version"], result["task"], result["exit_code"]) == (VERSION, task, plain.code)
    assert result["ok"] is (plain.code == 0)
    assert (result["error"] is None) is result["ok"]
    if task == "status":
        assert [each["service"] for each in result["services"]] == ["db"]
        assert result["unavailable"] == ["loki"]
    [finding] = result["findings"]
    assert (finding["outcome"], finding["detail"], finding["seconds"]) == (outcome, "two\nlines ✓", 0.123)
    if task == "secrets.check":
        assert (finding["account"], finding["strength_bits"], finding["age_days"]) == ("db: postgres", 130, 7)


@every_task
@pytest.mark.parametrize(
    ("error", "code", "what"),
    [
        (ToolkitError("no engine", "it is stopped", "start it", code=1), 1, "no engine"),
        (ToolkitError("unknown profile", code=2), 2, "unknown profile"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (PermissionError(13, "Permission denied", "/x/.env"), 1, "cannot use /x/.env"),
    ],
)
def test_error_is_in_the_document(
    run: Callable[..., SimpleNamespace], task: str, error: BaseException, code: int, what: str
) -> None:
    ended = run(task, error, "--json")
    result = document(ended.out)
    assert (ended.code, result["exit_code"], result["error"]["what"]) == (code, code, what)
    assert ended.err.startswith(f"printed\nsaid\nerror: {what}")
    assert result["findings"] == []
    assert not result.get("services")


def test_containers_in_the_document(
    run: Callable[..., SimpleNamespace], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = FakeDocker(Docker(project.root))
    monkeypatch.setattr(compose, "run", docker)
    containers = [
        container("app", ports={"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "23000"}]}),
        container("db", "exited", code=137),
        container("redis", health=None),
    ]
    docker.on("compose", "config", stdout=configuration(app={}, db={}, redis={}, kafka={}))
    docker.on("ps", stdout=" ".join(each["Id"] for each in containers))
    docker.on("container", "inspect", stdout=containers)
    docker.on("stats", stdout='{"ID":"id-app-1","MemUsage":"12.5MiB / 1GiB"}\n{"ID":"id-redis-1","MemUsage":"-- / --"}')
    result = document(run("status", status.read(project, docker.cli), "--json").out)
    assert [(each["check"], each["outcome"]) for each in result["findings"]] == [("leftovers", "ok"), ("data", "ok")]
    services = result["services"]
    by_name = {each.pop("service"): each for each in services}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", by_name["app"].pop("since"))
    assert by_name["app"] == {
        "replica": 1, "container": "network-monitor-app-1", "state": "running", "exit_code": None, "health": "healthy",
        "ports": ["127.0.0.1:23000"], "memory_bytes": 13107200, "problem": "",
    }  # fmt: skip
    assert (by_name["db"]["state"], by_name["db"]["exit_code"], by_name["db"]["health"]) == ("exited", 137, None)
    assert (by_name["redis"]["health"], by_name["redis"]["memory_bytes"]) == (None, None)
    assert (by_name["kafka"]["state"], by_name["kafka"]["container"]) == ("not created", None)


def test_documented_examples_are_valid() -> None:
    examples = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        document(example)


@pytest.mark.parametrize(
    "change",
    [
        {"ok": True}, {"exit_code": 0}, {"error": None}, {"version": 2}, {"task": "up"}, {"services": []},
        {"findings": [{"check": "x"}]}, {"unknown": 1},
    ],
)  # fmt: skip
def test_schema_rejects_a_contradiction(change: dict[str, Any]) -> None:
    example = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])
    document(json.dumps(example))
    with pytest.raises(jsonschema.ValidationError):
        document(json.dumps(example | change))


@every_task
def test_schema_requires_the_findings_of_every_task(task: str) -> None:
    example = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[task == "status"]) | {"task": task}
    example["findings"] = []
    document(json.dumps(example))
    del example["findings"]
    with pytest.raises(jsonschema.ValidationError, match="'findings' is a required property"):
        document(json.dumps(example))
