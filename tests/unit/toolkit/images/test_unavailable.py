"""Services that are unavailable with the image set in use."""

from __future__ import annotations

import pytest

from tests.unit.toolkit.conftest import FakeDocker, configuration
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.images import unavailable


def test_services_missing_from_the_local_set_are_reported(
    project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    setup(project, "dev", images="local")
    sets = {True: configuration(app={}, loki={}, grafana={}), False: configuration(app={}, victorialogs={})}
    docker.answer("config", by=lambda _argv: docker.result(sets["COMPOSE_FILE" in docker.environments[-1]]))
    unavailable.show(project, docker.cli)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["grafana", "loki"]
    assert all(unavailable.REASON in line for line in lines)
    environment = next(each for each in docker.environments if each)
    assert environment == {"COMPOSE_FILE": "docker-compose.yml:docker-compose.monitoring.yml:docker-compose.dev.yml"}


@pytest.mark.parametrize("images", ["pulled", None])
def test_the_pulled_set_has_every_service(project: Project, docker: FakeDocker, images: str | None) -> None:
    setup(project, "dev", images=images)
    assert unavailable.services(project, docker.cli) == []
