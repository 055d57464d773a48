"""The variables of the compose files."""

from __future__ import annotations

import re

import pytest

from tests.unit.toolkit.conftest import CHECKOUT
from toolkit.checkout.project import Project
from toolkit.checkout.variables import SETUP_VARIABLES, TASK_VARIABLES, port_variables, variables_used
from toolkit.core.errors import ToolkitError


def test_every_form_of_interpolation_is_found(project: Project) -> None:
    (project.root / "own.yml").write_text(
        "services:\n"
        "  a:  # ${COMMENT}\n"
        "    image: ${REGISTRY:-docker.io}/${NAME-x}:$TAG\n"
        "    command: [\"$$HOME\", '${OUTER:-${INNER:-deep}}', '${MUST:?why}']\n"
        "    build: {args: {FROM_SHELL: , FIXED: 1}}\n"
        "    environment: !override {GONE: !reset null, KEPT: '${KEPT_FROM:+yes}'}\n"
    )
    assert variables_used(project, ["own.yml"]) == {
        "REGISTRY": "docker.io", "NAME": "x", "TAG": "", "OUTER": "", "INNER": "deep", "MUST": "", "FROM_SHELL": "",
        "KEPT_FROM": "",
    }  # fmt: skip


@pytest.mark.parametrize("content", [None, "services: ["])
def test_an_invalid_file_is_reported(project: Project, content: str | None) -> None:
    if content is not None:
        (project.root / "own.yml").write_text(content)
    with pytest.raises(ToolkitError, match=r"own\.yml"):
        variables_used(project, ["own.yml"])


def test_env_example_lists_the_variables_of_all_layers_with_their_defaults(project: Project) -> None:
    example = dict(re.findall(r"^#(\w+)=(.*)$", (CHECKOUT / ".env.example").read_text(), re.MULTILINE))
    used = variables_used(project)
    assert example.keys() == {*used, *SETUP_VARIABLES, *TASK_VARIABLES}
    assert {name: example[name] for name in used if name not in SETUP_VARIABLES} == {
        name: default for name, default in used.items() if name not in SETUP_VARIABLES
    }


def test_port_variables_of_every_profile_are_found(project: Project) -> None:
    assert port_variables(project, "app") == {"APP_PORT": "3000"}
    assert port_variables(project, "proxy") == {"PROXY_HTTP_PORT": "80", "PROXY_HTTPS_PORT": "443"}
    assert port_variables(project, "db") == {}
