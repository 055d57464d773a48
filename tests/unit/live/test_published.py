"""The image that the test registry serves as each published image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.live import published
from tests.live.published import NOWHERE, Place, Published
from toolkit.checkout.project import Project
from toolkit.engine.compose import Docker

PUBLISHED: dict[Place, str] = {
    ("redis",): f"{NOWHERE}library/redis:8",
    ("loki",): f"{NOWHERE}grafana/loki:3",
    ("app",): "network-monitor:dev",
    ("app", "PYTHON_IMAGE"): f"{NOWHERE}library/python:3.14",
}
LOCAL: dict[Place, str] = {
    ("redis",): "netmon-local/redis:8",
    ("loki",): "docker.io/grafana/loki:3",
    ("app",): "netmon-local/network-monitor:dev",
    ("app", "PYTHON_IMAGE"): "netmon-local/python:3.14",
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / ".env").write_text("NETMON_IMAGES=local\n")
    return Project(tmp_path, {})


def served(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    local: dict[Place, str],
    published_names: dict[Place, str] = PUBLISHED,
) -> dict[str, str]:
    """The served images by name; ``local`` are the images of this machine's own configuration."""

    def images(_project: Project, _docker: Docker, _chosen: str | None, env: Mapping[str, str] | None = None) -> object:
        return published_names if env else local

    monkeypatch.setattr(published, "images", images)
    found = published.published(project, Docker(project.root))
    assert all(isinstance(image, Published) for image in found)
    return {image.name: image.source for image in found}


def test_local_images_and_fixtures_are_served(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert served(project, monkeypatch, LOCAL) == {
        "library/redis:8": "netmon-local/redis:8",
        "grafana/loki:3": "loki",
        "library/python:3.14": "netmon-local/python:3.14",
    }


def test_published_images_are_served_unchanged(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.env_file.write_text("NETMON_IMAGES=pulled\n")
    local = {place: name.replace(NOWHERE, "docker.io/") for place, name in PUBLISHED.items()}
    assert served(project, monkeypatch, local)["grafana/loki:3"] == "docker.io/grafana/loki:3"


def test_an_image_without_a_replacement_is_an_error(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    extended = {**PUBLISHED, ("search",): f"{NOWHERE}team/search:1"}
    with pytest.raises(LookupError, match=r"no image to serve as team/search:1: tests/fixtures has no target search"):
        served(project, monkeypatch, {**LOCAL, ("search",): "docker.io/team/search:1"}, extended)


def test_every_stand_in_has_its_label() -> None:
    lines = (published.FIXTURES / "standins" / "Dockerfile").read_text().splitlines()
    named = [line.rpartition(" ")[2] for line in lines if line.startswith("FROM") and not line.endswith("AS base")]
    assert [f"LABEL netmon.standin={name}" for name in named] == [line for line in lines if line.startswith("LABEL")]
