"""The containers that exist, compared with what the checkout would start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.toolkit.conftest import CHECKOUT, FakeDocker, configuration
from tests.unit.toolkit.history import listing
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core import envfile
from toolkit.core.report import Finding
from toolkit.engine.existing import COLUMNS, LISTED, Existing


@pytest.fixture(autouse=True)
def _set_up(project: Project, docker: FakeDocker) -> None:
    setup(project, "dev", images="local")
    services: dict[str, Any] = {"app": {"image": "app:1"}, "db": {"image": "db:1"}}
    docker.on("compose", "config", stdout=configuration(**services))
    docker.on("--profile", "*", "config", stdout=configuration(**services, jaeger={}))


def findings(project: Project, docker: FakeDocker, *lines: str) -> list[Finding]:
    """The findings for these containers that are not ok."""
    docker.on(*LISTED, stdout="".join(lines))
    return [each for each in Existing.read(project, docker.cli).findings() if each.outcome != "ok"]


def test_containers_of_this_checkout_have_no_finding(project: Project, docker: FakeDocker) -> None:
    lines = [listing(project, "app"), listing(project, "db")]
    assert findings(project, docker, *lines) == []
    [fine] = Existing.read(project, docker.cli).findings()
    assert fine.outcome == "ok"
    assert docker.ran("--profile", "*", "config") == [], "a second look at the files takes a quarter of a second"


def test_listing_has_a_column_for_each_value() -> None:
    assert len(listing(Project(Path("/x"), {}), "app").split("\t")) == len(COLUMNS)


def test_names_of_images_are_not_shortened() -> None:
    """A shortened name would differ from that of the configuration, and every `up` would inspect the volumes."""
    assert "--no-trunc" in LISTED


def test_containers_of_other_projects_and_one_off_containers_are_ignored(project: Project, docker: FakeDocker) -> None:
    lines = [
        listing(project, "web", owner="shop", folder="/shop"),
        listing(project, "web", oneoff=True),
        listing(project, "web", oneoff=True, folder="/else"),
        "unreadable\n",
    ]
    assert findings(project, docker, *lines) == []


def test_folder_of_the_containers_is_named_with_the_line_that_separates(
    project: Project, docker: FakeDocker, tmp_path: Path
) -> None:
    lines = [listing(project, name, folder=str(tmp_path)) for name in ("app", "db", "redis", "kafka", "worker")]
    [finding] = findings(project, docker, *lines)
    assert finding.outcome == "failed"
    assert f"belongs to another folder: {tmp_path} has started app, db, redis and 2 more" in finding.detail
    assert "echo COMPOSE_PROJECT_NAME=network-monitor-checkout >>.env" in finding.fix


def test_folder_that_does_not_exist_is_named_as_such(project: Project, docker: FakeDocker) -> None:
    [finding] = findings(project, docker, listing(project, "app", folder="/moved/from"))
    assert "/moved/from, which does not exist on this machine, has started app" in finding.detail
    assert "invoke up --yes" in finding.fix


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root enters every folder")
def test_folder_of_another_account_is_assumed_to_exist(tmp_path: Path) -> None:
    """Its containers are not those of a moved checkout, and the error is not about its permissions."""
    folder = tmp_path / "home" / "checkout"
    folder.mkdir(parents=True)
    code = "import sys; from toolkit.engine.existing import exists; print(*map(exists, sys.argv[1:]))"
    prefix = () if os.geteuid() else ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    argv = [*prefix, sys.executable, "-c", code, str(folder), str(tmp_path / "no")]
    folder.parent.chmod(0)
    try:
        ended = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    finally:
        folder.parent.chmod(0o755)
    assert ended.stdout == "True False\n", ended.stderr


def test_symbolic_link_to_the_checkout_is_the_checkout(project: Project, docker: FakeDocker, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(project.root)
    assert findings(project, docker, listing(project, "app", folder=str(tmp_path / "link"))) == []


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("checkout", "network-monitor-checkout"),
        ("network-monitor", "network-monitor-2"),
        ("Über uns", "network-monitor-ber-uns"),
        ("…", "network-monitor-2"),
    ],
)
def test_other_name_is_a_valid_project_name(
    project: Project, docker: FakeDocker, tmp_path: Path, folder: str, name: str
) -> None:
    moved = Project(tmp_path / folder, project.data)
    docker.on(*LISTED, stdout=listing(project, "app", folder=str(tmp_path)))
    [finding] = Existing.read(moved, docker.cli, "network-monitor").findings()
    assert f"COMPOSE_PROJECT_NAME={name} " in finding.fix


def test_service_of_another_profile_is_left_over(project: Project, docker: FakeDocker) -> None:
    ports = "192.0.2.1:443->8443/tcp"
    lines = [listing(project, "app"), listing(project, "proxy", ports=ports, profile="prod")]
    [finding] = findings(project, docker, *lines)
    assert (finding.outcome, finding.detail) == (
        "failed",
        f"proxy (of the profile prod, publishes {ports}) is left over",
    )
    assert "invoke up" in finding.fix


def test_service_of_the_other_images_is_left_over(project: Project, docker: FakeDocker) -> None:
    setup(project, None, images="pulled")
    [finding] = findings(project, docker, listing(project, "app", images="pulled"), listing(project, "victorialogs"))
    assert finding.detail == "victorialogs (of the local images) is left over"


def test_unknown_service_is_an_orphan_unless_compose_ignores_it(project: Project, docker: FakeDocker) -> None:
    line = listing(project, "web", status="exited")
    [finding] = findings(project, docker, line)
    assert (finding.outcome, finding.detail) == ("warning", "web is in no compose file, but has a container")
    envfile.update(project.env_file, {"COMPOSE_IGNORE_ORPHANS": "true"})
    assert findings(project, docker, line) == []


def test_services_of_another_profile_are_listed_before_orphans(project: Project, docker: FakeDocker) -> None:
    docker.on(*LISTED, stdout=listing(project, "adminer") + listing(project, "proxy", profile="prod"))
    leftovers = Existing.read(project, docker.cli).leftovers
    assert [(each.service, bool(each.origin)) for each in leftovers] == [("proxy", True), ("adminer", False)]


def test_service_of_a_disabled_group_is_no_orphan(project: Project, docker: FakeDocker) -> None:
    assert findings(project, docker, listing(project, "jaeger")) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"profile": "prod"}, "the profile of the containers is prod, but .env names dev"),
        ({"images": "pulled"}, "the image set of the containers is pulled, but .env names local"),
    ],
)
def test_other_profile_or_images_are_a_warning(
    project: Project, docker: FakeDocker, given: dict[str, Any], message: str
) -> None:
    [finding] = findings(project, docker, listing(project, "app", **given), listing(project, "db"))
    assert (finding.outcome, finding.detail) == ("warning", message)
    assert findings(project, docker, listing(project, "app"), listing(project, "db", **given)) == [], "an unchanged one"


def test_service_serves_only_while_it_runs_in_the_present_image(project: Project, docker: FakeDocker) -> None:
    config = docker.cli.effective()
    cases: tuple[tuple[dict[str, Any], set[str]], ...] = (
        ({}, {"db"}),
        ({"status": "exited"}, set()),
        ({"image": "db:0"}, set()),
    )
    for given, expected in cases:
        docker.on(*LISTED, stdout=listing(project, "db", **{"image": "db:1", **given}))
        assert Existing.read(project, docker.cli).serving(config) == expected


def test_ignored_orphans_do_not_leave(project: Project, docker: FakeDocker) -> None:
    docker.on(*LISTED, stdout=listing(project, "app") + listing(project, "web"))
    assert Existing.read(project, docker.cli).leaving == {"network-monitor-app-1", "network-monitor-web-1"}
    envfile.update(project.env_file, {"COMPOSE_IGNORE_ORPHANS": "1"})
    docker.cli._queries.clear()
    assert Existing.read(project, docker.cli).leaving == {"network-monitor-app-1"}
