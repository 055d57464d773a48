"""Which of the two sets of images is used."""

from __future__ import annotations

import json

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.images.fake_image_engine import (
    LOCAL_POSTGRES,
    LOCAL_REDIS,
    POSTGRES,
    PUBLISHED,
    REDIS,
    Engine,
)
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result, TimedOutError
from toolkit.images import choose, ready


@pytest.fixture
def engine(docker: FakeDocker, project: Project) -> Engine:
    setup(project, "dev")
    return Engine(docker)


def test_without_a_registry_one_pull_is_tried_and_the_images_are_built_here(
    project: Project, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose(project, engine.docker.cli, "auto", yes=False) == "local"
    assert [argv[-1] for argv in engine.docker.ran("pull")] == [REDIS], "the smallest image"
    said = capsys.readouterr().out
    assert "the registry cannot be reached" in said
    assert "no such host" in said
    assert project.images == "local"
    assert project.env["COMPOSE_FILE"].endswith("images/compose.monitoring.yml")


def test_the_next_time_nothing_is_asked(project: Project, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    choose(project, engine.docker.cli, "auto", yes=False)
    engine.docker.calls.clear()
    capsys.readouterr()
    assert choose(project, engine.docker.cli, "auto", yes=False) == "local"
    assert engine.docker.calls == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("registry", "chosen", "said"),
    [
        (Result(0, "", ""), "pulled", "the registry can be reached"),
        (TimedOutError("docker pull", ""), "local", "cannot be reached (no answer within 15 s)"),
        (Result(1, "", "received unexpected HTTP status: 503 Service Unavailable"), "local", "fails or cuts"),
        (Result(1, "", 'Get "https://registry-1.docker.io/v2/": Forbidden'), "local", "cannot be reached (Get"),
    ],
)
def test_the_answer_of_the_registry_decides(
    project: Project, engine: Engine, capsys: pytest.CaptureFixture[str],
    registry: Result | TimedOutError, chosen: str, said: str,
) -> None:  # fmt: skip
    engine.registry = registry
    assert choose(project, engine.docker.cli, "auto", yes=False) == chosen
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "why", "fix"),
    [
        ("toomanyrequests: You have reached your pull rate limit", "rate limit", "docker login docker.io"),
        ("manifest unknown", "no such image", "correct the tag in"),
        ("unauthorized: authentication required", "login is needed", "docker login docker.io"),
        ("denied: requested access to the resource is denied", "refuses it", "docker login docker.io"),
        ("write /var/lib/docker/tmp/x: no space left on device", "disk is full", "docker system df"),
    ],
)
def test_a_registry_that_answers_and_refuses_is_no_reason_to_build(
    project: Project, engine: Engine, answer: str, why: str, fix: str
) -> None:
    engine.registry = Result(1, "", f"Error response from daemon: {answer}")
    with pytest.raises(ToolkitError, match=why) as error:
        choose(project, engine.docker.cli, "auto", yes=False)
    assert fix in error.value.fix
    assert error.value.fix.endswith("or build the images here: invoke up --images=local")
    assert project.images is None


@pytest.mark.parametrize(("here", "chosen"), [({POSTGRES, REDIS}, "pulled"), ({LOCAL_POSTGRES, LOCAL_REDIS}, "local")])
def test_a_set_that_is_here_needs_no_registry(project: Project, engine: Engine, here: set[str], chosen: str) -> None:
    engine.images = here
    assert choose(project, engine.docker.cli, "auto", yes=False) == chosen
    assert engine.docker.ran("pull") == []


def test_volumes_of_unknown_origin_are_not_guessed_at(project: Project, engine: Engine) -> None:
    engine.volumes, engine.registry = "network-monitor_postgres_data", Result(0, "", "")
    with pytest.raises(ToolkitError, match="cannot tell which images") as error:
        choose(project, engine.docker.cli, "auto", yes=False)
    assert "--images=local" in error.value.fix
    assert project.images is None
    assert choose(project, engine.docker.cli, "local", yes=False) == "local"


def test_volumes_of_unknown_origin_where_only_one_set_is_possible(project: Project, engine: Engine) -> None:
    engine.volumes = "network-monitor_postgres_data"
    assert choose(project, engine.docker.cli, "auto", yes=False) == "local"


@pytest.mark.parametrize(("recorded", "other", "chosen"), [("local", "pull", "pulled"), ("pulled", "local", "local")])
def test_the_other_set_on_existing_volumes_needs_consent(
    project: Project, engine: Engine, recorded: str, other: str, chosen: str
) -> None:
    setup(project, None, images=recorded)
    engine.volumes = "network-monitor_postgres_data"
    with pytest.raises(ToolkitError, match="may not open") as error:
        choose(project, engine.docker.cli, other, yes=False)
    assert "--yes" in error.value.fix
    assert error.value.code == 1
    assert project.images == recorded
    assert choose(project, engine.docker.cli, other, yes=True) == chosen
    assert project.images == chosen


def test_without_volumes_the_other_set_is_taken(project: Project, engine: Engine) -> None:
    setup(project, None, images="local")
    assert choose(project, engine.docker.cli, "pull", yes=False) == "pulled"


def test_a_pulled_set_stays_with_its_volumes_whatever_the_registry_says(project: Project, engine: Engine) -> None:
    setup(project, None, images="pulled")
    engine.volumes = "network-monitor_postgres_data"
    assert choose(project, engine.docker.cli, "auto", yes=False) == "pulled"


def test_a_pulled_set_without_data_gives_way_where_the_registry_is_gone(project: Project, engine: Engine) -> None:
    setup(project, None, images="pulled")
    assert choose(project, engine.docker.cli, "auto", yes=False) == "local"


def test_files_that_cannot_be_read_are_not_recorded(project: Project, engine: Engine) -> None:
    def config(_argv: list[str]) -> Result:
        if "images/compose.yml" in (engine.docker.environments[-1].get("COMPOSE_FILE") or ""):
            return Result(1, "", "yaml: line 3: did not find expected key")
        return Result(0, json.dumps(PUBLISHED), "")

    engine.docker.answer("config", by=config)
    with pytest.raises(ToolkitError, match="did not find expected key"):
        choose(project, engine.docker.cli, "local", yes=False)
    assert project.images is None


def test_an_unknown_choice_is_wrong_usage(project: Project, engine: Engine) -> None:
    with pytest.raises(ToolkitError, match="unknown image set 'both': known: auto, pull, local") as error:
        choose(project, engine.docker.cli, "both", yes=False)
    assert error.value.code == 2


def test_an_engine_that_does_not_answer_is_not_an_engine_without_images(project: Project, engine: Engine) -> None:
    setup(project, None, images="local")
    engine.docker.on("image", "inspect", code=1, stderr="Cannot connect to the Docker daemon at unix:///x.")
    with pytest.raises(ToolkitError, match="Cannot connect"):
        ready(project, engine.docker.cli)
