"""Findings about credentials."""

from __future__ import annotations

import re

import pytest

from tests.unit.toolkit.checks.doctor.findings import only
from tests.unit.toolkit.conftest import FakeDocker
from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup


@pytest.mark.parametrize("content", [None, "", "p@ss:word/0123456789", "short"])
def test_invalid_credential_fails(project: Project, docker: FakeDocker, content: str | None) -> None:
    path = credentials.path_of(project, "redis_password")
    path.unlink()
    if content is not None:
        path.write_text(content)
    finding = only(project, docker, "secrets", "failed")
    assert "secrets/redis_password.txt" in finding.detail
    assert not content or content not in finding.detail.replace("too short", "")


def test_credential_that_differs_from_env_fails(project: Project, docker: FakeDocker) -> None:
    credentials.path_of(project, "redis_password").write_text("another-password-0")
    finding = only(project, docker, "secrets", "failed")
    assert "REDIS_PASSWORD in .env differ" in finding.detail
    assert "another-password-0" not in finding.detail


def test_missing_or_unexpected_credential_in_env_fails(project: Project, docker: FakeDocker) -> None:
    text = project.env_file.read_text()
    password = project.env["REDIS_PASSWORD"]
    project.env_file.write_text(text.replace(password, "unused"))
    assert "REDIS_PASSWORD in .env is not set" in only(project, docker, "secrets", "failed").detail
    setup(project, "prod")
    project.env_file.write_text(re.sub("REDIS_PASSWORD=.*", f"REDIS_PASSWORD={password}", project.env_file.read_text()))
    assert "must not contain a password" in only(project, docker, "secrets", "failed").detail


def test_unreadable_credential_fails(project: Project, docker: FakeDocker) -> None:
    credentials.path_of(project, "redis_password").chmod(0o600)
    assert "cannot read secrets/redis_password.txt" in only(project, docker, "secrets", "failed").detail


def test_accessible_secrets_folder_is_a_warning(project: Project, docker: FakeDocker) -> None:
    project.secrets_dir.chmod(0o755)
    assert "can enter secrets/" in only(project, docker, "secrets", "warning").detail
