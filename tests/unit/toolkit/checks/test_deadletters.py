"""Dead-lettered messages: reasons and ids without secrets, and clear errors."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.programs import Programs
from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.checks.deadletters import dead_letters
from toolkit.core.errors import ToolkitError

PATH = "rabbitmq/api/queues/%2F/probes.dead/get"
JOB = {
    "id": "0193", "target": "7", "requested_at": "2026-01-02T03:04:05Z",
    "plan": {"spec": {"kind": "http", "url": "https://example.org/?key=abc", "bearer_token": "geheim"}},
}  # fmt: skip


@pytest.fixture
def programs(docker: FakeDocker, project: Project) -> Programs:
    setup(project, "dev")
    return Programs(docker)


def message(payload: str, **headers: str) -> dict[str, Any]:
    return {"payload": payload, "payload_bytes": len(payload), "properties": {"headers": headers}}


def test_reasons_and_ids_are_shown_without_settings(
    programs: Programs, project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [
        message(json.dumps(JOB), **{"x-reason": "malformed"}),
        message("{", **{"x-first-death-reason": "delivery_limit"}),
        message("[1]"),
    ]
    programs.on(PATH, lambda _: found)
    dead_letters(project, docker.cli, 3)
    output = capsys.readouterr().out
    assert [line.split() for line in output.splitlines()[1:]] == [
        ["malformed", "0193", "7", "2026-01-02T03:04:05Z", f"{len(json.dumps(JOB))}", "B"],
        ["delivery_limit", "-", "-", "-", "1", "B"],
        ["-", "-", "-", "-", "3", "B"],
    ]
    assert "geheim" not in output
    assert "key=abc" not in output
    [request] = programs.requests
    assert json.loads(request["body"]) == {"count": 3, "ackmode": "ack_requeue_true", "encoding": "auto"}
    password = credentials.load(project, project.secrets["rabbitmq_password"])
    assert request["headers"]["Authorization"] == f"Basic {b64encode(f'admin:{password}'.encode()).decode()}"


def test_empty_queue_is_reported(
    programs: Programs, project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.on(PATH, lambda _: [])
    dead_letters(project, docker.cli, 20)
    assert capsys.readouterr().out == "probes.dead is empty\n"


@pytest.mark.parametrize(
    ("status", "what", "fix"),
    [
        (404, "there is no queue probes.dead", "invoke up"),
        (401, "cannot read probes.dead", "secrets.check"),
        (500, "cannot read probes.dead", "invoke status"),
    ],
)
def test_a_failure_is_an_error_with_a_fix(
    programs: Programs, project: Project, docker: FakeDocker, status: int, what: str, fix: str
) -> None:
    programs.on(PATH, status)
    with pytest.raises(ToolkitError, match=what) as raised:
        dead_letters(project, docker.cli, 20)
    assert fix in raised.value.fix
