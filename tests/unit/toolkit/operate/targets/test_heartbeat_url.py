"""Heartbeat URLs of targets in a file: created and shown once, never in the file nor in the output of a pipeline."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.toolkit.operate.targets.test_apply import Application, application, export, file  # noqa: F401
from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.operate.targets import apply as operation
from toolkit.operate.targets import heartbeaturl

JOBS = """\
targets:
- name: Backup
  spec: {kind: heartbeat, grace_seconds: 1800}
  interval_seconds: 86400
- name: Mail
  spec: {kind: tcp, host: mail.example, port: 25}
"""
PROXY: dict[str, Any] = {"proxy": {"environment": {"PUBLIC_URL": "https://netmon.example"}}}


def apply(project: Project, path: Path, services: dict[str, Any]) -> None:
    docker: Any = SimpleNamespace(effective=lambda: {"services": services})
    operation.apply(project, docker, str(path), prune=False, yes=True)


def renew(project: Project, name: str, **flags: bool) -> None:
    docker: Any = SimpleNamespace(effective=lambda: {"services": PROXY})
    heartbeaturl.renew(project, docker, name, **{"revoke": False, "yes": True, **flags})


@pytest.mark.parametrize(("services", "base"), [(PROXY, "https://netmon.example"), ({}, "http://app")])
def test_apply_creates_the_urls_of_new_jobs_and_shows_them_in_a_terminal(
    application: Application,  # noqa: F811
    project: Project,
    file: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    services: dict[str, Any],
    base: str,
) -> None:
    file.write_text(JOBS)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    apply(project, file, services)
    [(token, target)] = application.services.heartbeats.tokens.items()
    assert application.services.targets[target].name == "Backup"
    assert f"Backup: {base}/api/heartbeats/{token}" in capsys.readouterr().out.replace("\n", "").replace("  ", "")
    file.write_text(
        JOBS.replace("1800", "900").replace("{kind: tcp, host: mail.example, port: 25}", "{kind: heartbeat}")
    )
    apply(project, file, services)
    tokens = application.services.heartbeats.tokens
    assert len(tokens) == 2, "the changed job keeps its URL, the target that became a job gets one"
    assert tokens[token] == target


def test_apply_shows_no_url_in_a_pipeline(
    application: Application,  # noqa: F811
    project: Project,
    file: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    file.write_text(JOBS)
    apply(project, file, PROXY)
    out = capsys.readouterr().out
    assert "without a URL yet: Backup" in out
    assert "invoke targets.heartbeat-url" in out
    assert application.services.heartbeats.tokens == {}


def test_a_url_is_created_replaced_and_revoked(
    application: Application,  # noqa: F811
    project: Project,
    file: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    file.write_text(JOBS)
    apply(project, file, PROXY)
    seen = []
    for _ in range(2):
        capsys.readouterr()
        renew(project, "Backup")
        [token] = application.services.heartbeats.tokens
        assert capsys.readouterr().out.splitlines()[-1] == f"https://netmon.example/api/heartbeats/{token}"
        seen.append(token)
    assert seen[0] != seen[1]
    export(project)
    assert seen[1] not in capsys.readouterr().out
    renew(project, "Backup", revoke=True)
    assert application.services.heartbeats.tokens == {}


def test_a_target_without_a_url_is_refused(
    application: Application,  # noqa: F811
    project: Project,
    file: Path,  # noqa: F811
) -> None:
    file.write_text(JOBS)
    apply(project, file, PROXY)
    with pytest.raises(ToolkitError, match="there is no target 'Backups'"):
        renew(project, "Backups")
    with pytest.raises(ToolkitError, match="it is of kind tcp"):
        renew(project, "Mail")
    with pytest.raises(ToolkitError, match="confirmation required"):
        renew(project, "Backup", yes=False)
    assert application.services.heartbeats.tokens == {}
