"""The data and the state of a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.checkout.project import LOCAL, Project
from toolkit.core.errors import ToolkitError, require_known


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot read"), ("stack: [", "not valid YAML"), ("other: 1", "no 'stack'"), ("- a", "no 'stack'")],
)
def test_an_invalid_invoke_yaml_is_reported(tmp_path: Path, content: str | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "invoke.yaml").write_text(content)
    with pytest.raises(ToolkitError, match=problem) as error:
        Project.load(tmp_path)
    assert "invoke.yaml" in error.value.what
    assert error.value.fix


def test_compose_files_are_in_merge_order(project: Project) -> None:
    (project.root / "docker-compose.override.yml").write_text("services: {}\n")
    assert project.compose_files("dev", LOCAL) == [
        "docker-compose.yml", "docker-compose.monitoring.yml", "docker-compose.dev.yml",
        "images/compose.yml", "images/compose.monitoring.yml", "docker-compose.override.yml",
    ]  # fmt: skip


def test_an_unknown_profile_is_a_usage_error(project: Project) -> None:
    with pytest.raises(ToolkitError, match="unknown profile 'staging': known: dev, prod") as error:
        project.layers("staging")
    assert error.value.code == 2


def test_require_known_returns_a_known_name() -> None:
    assert require_known("group", "a", iter(["a", "b"])) == "a"


def test_state_is_read_from_env_at_each_access(project: Project) -> None:
    assert (project.profile, project.images) == (None, None)
    with pytest.raises(ToolkitError, match="not set up"):
        project.require_setup()
    project.env_file.write_text("NETMON_PROFILE=dev\nNETMON_IMAGES=local\n")
    assert (project.require_setup(), project.images) == ("dev", "local")


def test_data_of_invoke_yaml_is_typed(project: Project) -> None:
    assert project.groups["monitoring"].default
    assert project.timeout("registry") > 0
    assert project.addresses["app"] == "Network Monitor API"
