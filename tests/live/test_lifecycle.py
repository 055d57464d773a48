"""Start, stop and removal of a stack, with the tasks and with plain docker compose."""

from __future__ import annotations

import json

import requests

from tests.live.stack import CORE, MONITORING, Stack, until

KILLED = 128 + 9
"""The exit code of a container that the engine has killed."""


def test_a_stack_is_started_stopped_restarted_and_removed(own_stack: Stack) -> None:
    """One test for the whole life cycle, since each start takes half a minute."""
    report = own_stack.invoke("up", "--without=monitoring", timeout=900).stdout
    assert own_stack.services() == own_stack.configured() == CORE
    assert "skipped" in report
    until(lambda: own_stack.health()[0] == 200, 20, "health without monitoring")
    probe = own_stack.probe("http://app:3000/api/health/live")
    assert own_stack.result(probe)["status"] == "succeeded"

    own_stack.invoke("down")
    assert own_stack.containers() == []
    plain_compose_with_an_override(own_stack)
    assert own_stack.services() == CORE, "a disabled group must stay disabled"
    stored = requests.get(own_stack.url(f"/api/probes/{probe}"), timeout=5).json()
    assert stored["status"] == "succeeded", "data must survive down"
    own_stack.invoke("up", "--with=monitoring", timeout=900)
    assert own_stack.services() == own_stack.configured() > MONITORING

    refused = own_stack.invoke("down", "--volumes", check=False)
    assert refused.returncode == 1
    assert "--yes" in refused.stdout + refused.stderr
    assert own_stack.services(), "nothing must be stopped without confirmation"
    own_stack.compose("stop")
    listed = json.loads(own_stack.docker("inspect", *own_stack.containers()))
    killed = [each["Name"] for each in listed if each["State"]["ExitCode"] == KILLED]
    assert not killed, "a service must end within its stop_grace_period"
    own_stack.compose("down")
    assert own_stack.containers() == []
    own_stack.invoke("down", "--volumes", "--yes")
    assert own_stack.leftovers() == []


def plain_compose_with_an_override(stack: Stack) -> None:
    """After `setup`, docker compose alone starts the same stack, with the user's override, which is then removed."""
    override = stack.root / "docker-compose.override.yml"
    override.write_text("services:\n  app:\n    environment:\n      LOG_LEVEL: warning\n")
    stack.invoke("setup")
    stack.compose("up", "--detach", "--wait", timeout=300)
    until(lambda: stack.health()[0] == 200, 20, "health without the toolkit")
    assert "LOG_LEVEL=warning" in stack.container("app")["Config"]["Env"]
    assert "healthy" in stack.compose("ps")
    assert stack.compose("logs", "db")
    override.unlink()
    stack.invoke("setup")
