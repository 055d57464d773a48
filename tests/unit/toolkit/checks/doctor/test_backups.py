"""What the doctor and the status say about backups."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker, configuration
from toolkit.checkout.project import Project
from toolkit.checks import status
from toolkit.checks.doctor.backups import backups
from toolkit.checks.doctor.subject import Subject
from toolkit.core import envfile
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding
from toolkit.engine import backup_service

FINE: dict[str, Any] = {
    "backup": {"full": time.time() - 7200},
    "failed": {},
    "verified": 1.0,
    "platform": time.time() - 60,
}
"""What the service remembers."""


@pytest.fixture
def known(project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The memory of a running service; tests may change it."""
    envfile.update(project.env_file, {"BACKUP_TARGET": "/mnt/backup"})
    docker.on("compose", "config", stdout=configuration(backup={"image": "backup:1"}))
    found = dict(FINE)

    def call(_: object, *arguments: str, **__: object) -> dict[str, Any]:
        assert arguments == ("status", "--offline"), "the repository is not read"
        return found

    monkeypatch.setattr(backup_service, "is_running", lambda _: True)
    monkeypatch.setattr(backup_service, "call", call)
    return found


def findings(project: Project, docker: FakeDocker) -> list[Finding]:
    return list(backups(Subject(project, docker.cli)))


@pytest.mark.usefixtures("known")
def test_a_recent_backup_is_fine(project: Project, docker: FakeDocker) -> None:
    [found] = findings(project, docker)
    assert (found.outcome, found.detail) == ("ok", "the newest is 2 h old")
    assert status.backups(project, docker.cli) == []


@pytest.mark.parametrize(
    ("change", "outcome", "detail"),
    [
        ({"backup": {}}, "failed", "no backup has been completed"),
        ({"backup": {"full": time.time() - 27 * 3600}}, "failed", "the newest backup is 27 hours old"),
        ({"failed": {"transfer": "no space"}}, "failed", "transfer failed: no space"),
        ({"failed": {"verify": "differs"}}, "warning", "verify failed: differs"),
        ({"platform": 0}, "warning", "the copy of the platform's files (secrets, settings, certificates) is missing"),
        (
            {"platform": time.time() - 27 * 3600},
            "warning",
            "the copy of the platform's files (secrets, settings, certificates) is 27 hours old",
        ),
        ({"verified": 0}, "warning", "no restore has been verified yet"),
    ],
)
def test_a_problem_is_reported_with_a_fix(
    project: Project, docker: FakeDocker, known: dict[str, Any], change: dict[str, Any], outcome: str, detail: str
) -> None:
    known |= change
    [found] = findings(project, docker)
    assert (found.outcome, found.detail) == (outcome, detail)
    assert found.fix
    [shown] = status.backups(project, docker.cli)
    assert (shown.outcome, shown.detail) == ("warning", detail), "the status of the stack is another matter"


@pytest.mark.usefixtures("known")
def test_a_target_without_the_service_is_reported(project: Project, docker: FakeDocker) -> None:
    docker.on("compose", "config", stdout=configuration(app={"image": "app:1"}))
    [found] = findings(project, docker)
    assert (found.outcome, found.fix) == ("failed", "run: invoke up --with=backup")


@pytest.mark.usefixtures("known")
def test_a_service_that_does_not_answer_is_reported(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ToolkitError("cannot run the backup service", "the state is not readable", "restart it")

    monkeypatch.setattr(backup_service, "call", fail)
    [found] = findings(project, docker)
    assert found.outcome == "failed"
    assert "the state is not readable" in found.detail


def test_without_a_target_nothing_is_asked(project: Project, docker: FakeDocker) -> None:
    assert findings(project, docker) == []
    assert status.backups(project, docker.cli) == []
    assert docker.calls == []
