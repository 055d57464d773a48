"""Removal of what a previous run has left."""

from __future__ import annotations

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from toolkit.core.errors import ToolkitError
from toolkit.engine.existing import Leftover, Listed
from toolkit.operate import previous

LEFTOVER = Leftover("proxy", "the profile prod", (Listed("1", "n-proxy-1", "running", "caddy:2", "", "proxy", "/x"),))


def test_leftovers_are_stopped_and_removed(docker: FakeDocker) -> None:
    docker.on("docker", "stop", "1")
    docker.on("docker", "rm", "--force", "1")
    assert previous.remove(docker.cli, [LEFTOVER]) == {"n-proxy-1"}


@pytest.mark.parametrize("command", ["stop", "rm"])
def test_a_leftover_that_is_not_removed_is_an_error(docker: FakeDocker, command: str) -> None:
    docker.on("docker", "stop", "1")
    docker.on("docker", "rm", "--force", "1")
    docker.on("docker", command, code=1, stderr="permission denied")
    with pytest.raises(ToolkitError, match="the containers that are left over: permission denied"):
        previous.remove(docker.cli, [LEFTOVER])
