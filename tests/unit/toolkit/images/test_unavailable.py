"""Services that are unavailable with the image set in use."""

from __future__ import annotations

import pytest

from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.images import unavailable


def test_services_missing_from_the_local_set_are_reported(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    setup(project, "dev", images="local")
    unavailable.show(project)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["grafana", "kafka-exporter", "loki", "tempo"]
    assert all(unavailable.REASON in line for line in lines)


def test_services_of_a_disabled_group_are_not_missing(project: Project) -> None:
    setup(project, "prod", images="local", groups=())
    assert unavailable.services(project) == []


def test_a_service_without_a_group_can_be_missing(project: Project) -> None:
    layer = project.root / "docker-compose.dev.yml"
    layer.write_text("services: {one: {}, two: {profiles: [jaeger]}, three: {}}")
    (project.root / "images/compose.yml").write_text(
        "services: {one: {profiles: !override [absent]}, two: {profiles: !override [absent]}}"
    )
    setup(project, "dev", images="local", groups=())
    assert unavailable.services(project) == ["one"]


@pytest.mark.parametrize("images", ["pulled", None])
def test_the_pulled_set_has_every_service(project: Project, images: str | None) -> None:
    setup(project, "dev", images=images)
    assert unavailable.services(project) == []
