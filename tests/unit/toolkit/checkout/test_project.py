"""A checkout's data and state."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.checkout.project import LOCAL, Project
from toolkit.core.errors import ToolkitError, require_known


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot read"), ("stack: [", "not valid YAML"), ("other: 1", "no 'stack'"), ("- a", "no 'stack'")],
)
def test_an_unusable_invoke_yaml_is_named(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "invoke.yaml").write_text(content)
    with pytest.raises(ToolkitError, match=said) as error:
        Project.load(tmp_path)
    assert "invoke.yaml" in error.value.what
    assert error.value.fix


def test_layers_come_in_the_order_in_which_they_are_merged(project: Project) -> None:
    (project.root / "docker-compose.override.yml").write_text("services: {}\n")
    assert project.compose_files("dev", LOCAL) == [
        "docker-compose.yml", "docker-compose.monitoring.yml", "docker-compose.dev.yml",
        "images/compose.yml", "images/compose.monitoring.yml", "docker-compose.override.yml",
    ]  # fmt: skip


def test_an_unknown_profile_is_wrong_usage(project: Project) -> None:
    with pytest.raises(ToolkitError, match="unknown profile 'staging': known: dev, prod") as error:
        project.layers("staging")
    assert error.value.code == 2


def test_known_returns_the_name() -> None:
    assert require_known("group", "a", iter(["a", "b"])) == "a"


def test_state_comes_from_the_env_file_as_it_is_now(project: Project) -> None:
    assert (project.profile, project.images) == (None, None)
    with pytest.raises(ToolkitError, match="not set up"):
        project.require_setup()
    project.env_file.write_text("NETMON_PROFILE=dev\nNETMON_IMAGES=local\n")
    assert (project.require_setup(), project.images) == ("dev", "local")


def test_data_is_typed(project: Project) -> None:
    assert project.groups["monitoring"].default
    assert project.timeout("registry") > 0
    assert project.addresses["app"] == "Network Monitor API"
