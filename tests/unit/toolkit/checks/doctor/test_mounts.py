"""Findings about mounted files and build contexts."""

from __future__ import annotations

import shlex
import shutil
import stat
import subprocess
from typing import Any

import pytest

from tests.unit.toolkit.checks.doctor.findings import only, problems, reconfigure
from tests.unit.toolkit.conftest import FakeDocker, configuration
from toolkit.checkout.project import Project
from toolkit.checks.doctor import require_readable_mounts
from toolkit.core.errors import ToolkitError


def test_missing_mounted_file_fails(project: Project, docker: FakeDocker) -> None:
    shutil.rmtree(project.root / "scripts")
    finding = only(project, docker, "mounts", "failed")
    assert finding.detail == "scripts/container is mounted, but does not exist"
    assert finding.fix == "run: git restore scripts/container"


@pytest.mark.parametrize(("name", "mode"), [(".", 0o700), ("http-health.sh", 0o640)])
def test_unreadable_mounted_file_fails(project: Project, docker: FakeDocker, name: str, mode: int) -> None:
    path = project.root / "scripts" / "container" / name
    path.chmod(mode)
    finding = only(project, docker, "mounts", "failed")
    assert str(path.relative_to(project.root)) in finding.detail
    assert finding.fix == "run: chmod -R a+rX scripts/container"


def test_fix_for_unreadable_mounts_opens_no_folder_above_them(
    project: Project, docker: FakeDocker, services: dict[str, Any]
) -> None:
    mounted = [project.root / name for name in ("config/redis/redis.conf", "secrets/alertmanager", "secrets/targets")]
    for path in (*mounted[1:], mounted[0].parent):
        path.mkdir(parents=True)
    mounted[0].write_text("")
    for path in (*mounted, project.secrets_dir):
        path.chmod(0o600 if path.is_file() else 0o700)
    services["app"]["volumes"] += [{"type": "bind", "source": str(path), "target": "/x"} for path in mounted]
    docker.on("compose", "config", "--format", stdout=configuration(**services))
    finding = only(project, docker, "mounts", "failed")
    assert finding.fix == "run: chmod -R a+rX config/redis/redis.conf secrets/alertmanager secrets/targets"
    with pytest.raises(ToolkitError, match="accounts cannot read config/redis/") as up:
        require_readable_mounts(project, docker.cli)
    assert up.value.fix == finding.fix
    subprocess.run(shlex.split(finding.fix.removeprefix("run: ")), cwd=project.root, check=True)
    require_readable_mounts(project, docker.cli)
    assert stat.S_IMODE(project.secrets_dir.stat().st_mode) == 0o700


def test_unreadable_build_context_fails(project: Project, docker: FakeDocker, services: dict[str, Any]) -> None:
    folder = project.root / "app"
    folder.mkdir()
    services["app"]["build"] = {"context": str(folder)}
    docker.on("compose", "config", "--format", stdout=configuration(**services))
    require_readable_mounts(project, docker.cli)
    folder.chmod(0o700)
    found = [finding for finding in problems(project, docker) if finding.check == "mounts"]
    assert [finding.fix for finding in found] == ["run: chmod -R a+rX app"]


def test_mount_outside_the_checkout_is_not_checked(
    project: Project, docker: FakeDocker, services: dict[str, Any]
) -> None:
    services["app"]["volumes"].append({"type": "bind", "source": "/nowhere", "target": "/x"})
    reconfigure(docker, services)
    assert problems(project, docker) == []
