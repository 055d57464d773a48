"""The locks of images: contents, changes, and failures that change nothing."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.unit.toolkit.conftest import FakeDocker
from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.checkout.setup import setup
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result
from toolkit.engine.timeouts import TimedOutError
from toolkit.images import image_lock

REDIS = "${REGISTRY:-docker.io}/library/redis:8.10.2-alpine"
ONE, TWO = (f"sha256:{digit * 64}" for digit in "12")


@pytest.fixture
def registry(docker: FakeDocker) -> FakeDocker:
    """Registries with the same digest for every image."""
    docker.on("imagetools", "inspect", stdout=f"{ONE}\n")
    return docker


def test_lock_resolves_every_published_image_once(project: Project, registry: FakeDocker) -> None:
    changes = image_lock.lock(project, registry.cli)
    resolved = [argv[-1] for argv in registry.ran("imagetools")]
    assert len(resolved) == len(set(resolved))
    assert {"docker.io/library/redis:8.10.2-alpine", "docker.io/library/maven:3-eclipse-temurin-21"} <= set(resolved)
    assert f"{REDIS}: missing from images.lock" in changes
    services = yaml.safe_load((project.root / "images.lock").read_text())["services"]
    assert services["redis"] == {"image": f"{REDIS}@{ONE}"}
    assert services["kafka"]["build"]["args"].keys() == {"KAFKA_IMAGE", "MAVEN_IMAGE"}
    assert "image" not in services["app"], "built here"


def test_lock_uses_a_mirror_without_recording_it(project: Project, registry: FakeDocker) -> None:
    project.env_file.write_text("REGISTRY=mirror.test:5000\n")
    image_lock.lock(project, registry.cli)
    assert registry.ran("imagetools", "mirror.test:5000/library/redis:8.10.2-alpine")
    assert f"{REDIS}@{ONE}" in (project.root / "images.lock").read_text()


def test_a_second_lock_has_no_changes(project: Project, registry: FakeDocker) -> None:
    image_lock.lock(project, registry.cli)
    assert image_lock.check(project, registry.cli) == []
    assert image_lock.lock(project, registry.cli) == []


def test_check_reports_a_moved_tag_and_writes_nothing(project: Project, registry: FakeDocker) -> None:
    image_lock.lock(project, registry.cli)
    before = (project.root / "images.lock").read_text()
    registry.on("imagetools", "docker.io/library/redis:8.10.2-alpine", stdout=TWO)
    assert image_lock.check(project, registry.cli) == [f"{REDIS}: changed, from {ONE} to {TWO}"]
    assert (project.root / "images.lock").read_text() == before
    image_lock.lock(project, registry.cli)
    assert f"{REDIS}@{TWO}" in (project.root / "images.lock").read_text()


def test_an_image_that_was_removed_from_the_compose_files_is_a_change(project: Project, registry: FakeDocker) -> None:
    image_lock.lock(project, registry.cli)
    lock = project.root / "images.lock"
    lock.write_text(lock.read_text() + "  gone:\n    image: docker.io/library/gone:1\n")
    (project.root / "images.prod.lock").write_text("services: {more: {image: x}}\n")
    found = image_lock.check(project, registry.cli)
    assert "services.gone.image: in images.lock, but no longer in docker-compose.yml" in found
    assert any("services.more.image" in line for line in found)
    image_lock.lock(project, registry.cli)
    assert "gone" not in lock.read_text()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Result(1, "", "ERROR: failed to do request: dial tcp: no such host\n"), "failed to do request: dial tcp"),
        (Result(1, "", "ERROR: docker.io/library/redis:8.10.2-alpine: not found\n"), "not found"),
        (Result(0, "\n", ""), "docker printed no digest"),
        (TimedOutError("docker buildx did not finish within 15 s", ""), "did not finish within 15 s"),
    ],
)
def test_an_unresolved_digest_is_an_error_and_changes_no_lock(
    project: Project, registry: FakeDocker, answer: Result | TimedOutError, why: str
) -> None:
    image_lock.lock(project, registry.cli)
    before = (project.root / "images.lock").read_text()
    registry.on("imagetools", stdout=TWO)
    registry.answer("imagetools", "docker.io/library/redis:8.10.2-alpine", by=answer)
    with pytest.raises(ToolkitError, match=re.escape(why)) as error:
        image_lock.lock(project, registry.cli)
    assert "REGISTRY" in error.value.fix
    assert (project.root / "images.lock").read_text() == before


def test_the_lock_is_merged_for_the_pulled_set_only(project: Project, registry: FakeDocker) -> None:
    setup(project, "dev", images=PULLED)
    assert "images.lock" not in project.env["COMPOSE_FILE"]
    image_lock.lock(project, registry.cli)
    assert project.env["COMPOSE_FILE"].split(":")[-2:] == ["images.lock", "images.monitoring.lock"]
    setup(project, None, images=LOCAL)
    assert "images.lock" not in project.env["COMPOSE_FILE"]
    setup(project, None, images=PULLED)
    for lock in project.root.glob("images*.lock"):
        lock.unlink()
    setup(project, None)
    assert ".lock" not in project.env["COMPOSE_FILE"], "a deleted lock is not a file of the user"
