"""HTTP requests from inside the stack: sending, responses, errors."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.httpserver import Route, server
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result
from toolkit.engine.stack_http import Request, fetch, get


def interpreter(docker: FakeDocker, sender: str = "worker") -> None:
    """Replace the interpreter in the container by one on this host."""

    def execute(_argv: list[str]) -> Result:
        done = subprocess.run(
            [sys.executable, "-"], input=docker.inputs[-1], capture_output=True, text=True, check=False
        )
        return Result(done.returncode, done.stdout, done.stderr)

    docker.answer("exec", sender, "python", "-", by=execute)


def echo(method: str, path: str, headers: dict[str, str], body: str) -> Route:
    if path == "/slow":
        time.sleep(1)
    status = 404 if path == "/missing" else 200
    return (
        status,
        {"method": method, "path": path, "body": body, "type": headers.get("Content-Type")},
        {"X-Cache": "hit"},
    )


def test_responses_are_in_the_order_of_the_requests(docker: FakeDocker) -> None:
    interpreter(docker)
    with server(echo) as port:
        base = f"http://127.0.0.1:{port}"
        answers = fetch(docker.cli, [
            Request(f"{base}/slow", timeout=0.2), Request(f"{base}/missing"), Request("http://127.0.0.1:1/"),
            Request.post(f"{base}/post", {"text": "ünïcode '\"\\"}), Request.post(f"{base}/-/reload"),
            Request("nonsense"),
        ])  # fmt: skip
    slow, missing, refused, posted, empty, nonsense = answers
    assert (slow.status, slow.problem) == (0, "no answer within 0.2 s")
    assert (missing.status, missing.ok) == (404, False)
    assert missing.problem.startswith("status 404")
    assert "refused" in refused.problem
    assert posted.ok
    assert posted.headers["x-cache"] == "hit"
    assert json.loads(posted.json()["body"]) == {"text": "ünïcode '\"\\"}
    assert posted.json()["type"] == "application/json"
    assert (empty.json()["method"], empty.json()["body"]) == ("POST", "")
    assert nonsense.problem
    assert len(docker.ran("exec")) == 1, "one command for all of them"


def test_without_a_worker_container_exporter_sends(docker: FakeDocker) -> None:
    docker.stopped.add("worker")
    interpreter(docker, "container-exporter")
    with server(echo) as port:
        [answer] = get(docker.cli, f"http://127.0.0.1:{port}/")
    assert answer.ok


def test_a_body_that_is_not_json_has_no_document(docker: FakeDocker) -> None:
    interpreter(docker)
    with server(lambda *_request: (200, "<html>", {})) as port:
        [answer] = get(docker.cli, f"http://127.0.0.1:{port}/")
    assert (answer.body, answer.json()) == ("<html>", None)


def test_without_requests_no_command_runs(docker: FakeDocker) -> None:
    assert fetch(docker.cli, []) == []
    assert docker.calls == []


@pytest.mark.parametrize(
    "result",
    [Result(1, "", 'service "worker" is not running'), Result(137, "", "")],
)
def test_without_any_sender_requests_fail(docker: FakeDocker, result: Result) -> None:
    docker.answer("exec", by=result)
    with pytest.raises(ToolkitError, match="cannot send requests from inside the stack") as raised:
        get(docker.cli, "http://prometheus:9090/")
    assert "invoke up" in raised.value.fix
