"""The choice between the two image sets."""

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
from toolkit.engine.compose import Result
from toolkit.engine.timeouts import TimedOutError
from toolkit.images import choose, ready


@pytest.fixture
def engine(docker: FakeDocker, project: Project) -> Engine:
    setup(project, "dev")
    return Engine(docker)


def test_without_a_registry_one_pull_is_attempted_and_local_is_chosen(
    project: Project, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose(project, engine.docker.cli, "auto", yes=False) == "local"
    assert [argv[-1] for argv in engine.docker.ran("pull")] == [REDIS], "the smallest image"
    output = capsys.readouterr().out
    assert "the registry is unreachable" in output
    assert "no such host" in output
    assert project.images == "local"
    assert project.env["COMPOSE_FILE"].endswith("images/compose.monitoring.yml")


def test_a_recorded_choice_runs_no_command(
    project: Project, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    choose(project, engine.docker.cli, "auto", yes=False)
    engine.docker.calls.clear()
    capsys.readouterr()
    assert choose(project, engine.docker.cli, "auto", yes=False) == "local"
    assert engine.docker.calls == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("registry", "chosen", "reason"),
    [
        (Result(0, "", ""), "pulled", "the registry is reachable"),
        (TimedOutError("docker pull", ""), "local", "unreachable (no response within 15 s)"),
        (Result(1, "", "received unexpected HTTP status: 503 Service Unavailable"), "local", "fails or drops"),
        (Result(1, "", 'Get "https://registry-1.docker.io/v2/": Forbidden'), "local", "unreachable (Get"),
    ],
)
def test_the_result_of_the_probe_determines_the_choice(
    project: Project, engine: Engine, capsys: pytest.CaptureFixture[str],
    registry: Result | TimedOutError, chosen: str, reason: str,
) -> None:  # fmt: skip
    engine.registry = registry
    assert choose(project, engine.docker.cli, "auto", yes=False) == chosen
    assert reason in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "why", "fix"),
    [
        ("toomanyrequests: You have reached your pull rate limit", "rate limit", "docker login docker.io"),
        ("manifest unknown", "does not exist in the registry", "correct the tag in"),
        ("unauthorized: authentication required", "authentication required", "docker login docker.io"),
        ("denied: requested access to the resource is denied", "access denied", "docker login docker.io"),
        ("write /var/lib/docker/tmp/x: no space left on device", "disk is full", "docker system df"),
    ],
)
def test_a_registry_that_refuses_the_pull_is_an_error(
    project: Project, engine: Engine, answer: str, why: str, fix: str
) -> None:
    engine.registry = Result(1, "", f"Error response from daemon: {answer}")
    with pytest.raises(ToolkitError, match=why) as error:
        choose(project, engine.docker.cli, "auto", yes=False)
    assert fix in error.value.fix
    assert error.value.fix.endswith("or build the images on this host: invoke up --images=local")
    assert project.images is None


@pytest.mark.parametrize(("here", "chosen"), [({POSTGRES, REDIS}, "pulled"), ({LOCAL_POSTGRES, LOCAL_REDIS}, "local")])
def test_a_complete_set_is_chosen_without_a_registry(
    project: Project, engine: Engine, here: set[str], chosen: str
) -> None:
    engine.images = here
    assert choose(project, engine.docker.cli, "auto", yes=False) == chosen
    assert engine.docker.ran("pull") == []


def test_volumes_of_unknown_origin_are_an_error(project: Project, engine: Engine) -> None:
    engine.volumes, engine.registry = "network-monitor_postgres_data", Result(0, "", "")
    with pytest.raises(ToolkitError, match="cannot determine which images") as error:
        choose(project, engine.docker.cli, "auto", yes=False)
    assert "--images=local" in error.value.fix
    assert project.images is None
    assert choose(project, engine.docker.cli, "local", yes=False) == "local"


def test_volumes_of_unknown_origin_are_accepted_if_only_one_set_is_available(project: Project, engine: Engine) -> None:
    engine.volumes = "network-monitor_postgres_data"
    assert choose(project, engine.docker.cli, "auto", yes=False) == "local"


@pytest.mark.parametrize(("recorded", "other", "chosen"), [("local", "pull", "pulled"), ("pulled", "local", "local")])
def test_switching_sets_on_existing_volumes_requires_confirmation(
    project: Project, engine: Engine, recorded: str, other: str, chosen: str
) -> None:
    setup(project, None, images=recorded)
    engine.volumes = "network-monitor_postgres_data"
    with pytest.raises(ToolkitError, match="may be unreadable") as error:
        choose(project, engine.docker.cli, other, yes=False)
    assert "--yes" in error.value.fix
    assert error.value.code == 1
    assert project.images == recorded
    assert choose(project, engine.docker.cli, other, yes=True) == chosen
    assert project.images == chosen


def test_switching_sets_without_volumes_needs_no_confirmation(project: Project, engine: Engine) -> None:
    setup(project, None, images="local")
    assert choose(project, engine.docker.cli, "pull", yes=False) == "pulled"


def test_a_pulled_set_with_volumes_is_kept_without_a_registry(project: Project, engine: Engine) -> None:
    setup(project, None, images="pulled")
    engine.volumes = "network-monitor_postgres_data"
    assert choose(project, engine.docker.cli, "auto", yes=False) == "pulled"


def test_a_pulled_set_without_volumes_is_replaced_without_a_registry(project: Project, engine: Engine) -> None:
    setup(project, None, images="pulled")
    assert choose(project, engine.docker.cli, "auto", yes=False) == "local"


def test_a_set_with_unreadable_files_is_not_recorded(project: Project, engine: Engine) -> None:
    def config(_argv: list[str]) -> Result:
        if "images/compose.yml" in (engine.docker.environments[-1].get("COMPOSE_FILE") or ""):
            return Result(1, "", "yaml: line 3: did not find expected key")
        return Result(0, json.dumps(PUBLISHED), "")

    engine.docker.answer("config", by=config)
    with pytest.raises(ToolkitError, match="did not find expected key"):
        choose(project, engine.docker.cli, "local", yes=False)
    assert project.images is None


def test_an_unknown_choice_is_a_usage_error(project: Project, engine: Engine) -> None:
    with pytest.raises(ToolkitError, match="unknown image set 'both': known: auto, pull, local") as error:
        choose(project, engine.docker.cli, "both", yes=False)
    assert error.value.code == 2


def test_an_unreachable_engine_is_an_error_not_an_empty_set(project: Project, engine: Engine) -> None:
    setup(project, None, images="local")
    engine.docker.on("image", "inspect", code=1, stderr="Cannot connect to the Docker daemon at unix:///x.")
    with pytest.raises(ToolkitError, match="Cannot connect"):
        ready(project, engine.docker.cli)
