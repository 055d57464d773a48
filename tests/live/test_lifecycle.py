"""Up, down and up again, with the tasks and with plain docker compose."""

from __future__ import annotations

import requests

from tests.live.stack import Stack, until


def test_data_survives_down_and_nothing_survives_down_volumes(own_stack: Stack) -> None:
    own_stack.invoke("up", timeout=900)
    probe = own_stack.probe("http://prometheus:9090/-/ready")
    assert own_stack.result(probe)["status"] == "succeeded"

    own_stack.invoke("down")
    assert own_stack.containers() == []
    own_stack.invoke("up", "--no-smoke")
    assert requests.get(own_stack.url(f"/api/probes/{probe}"), timeout=5).json()["status"] == "succeeded"

    refused = own_stack.invoke("down", "--volumes", check=False)
    assert refused.returncode == 1
    assert "--yes" in refused.stdout + refused.stderr
    assert own_stack.services(), "without consent nothing was stopped"

    own_stack.invoke("down", "--volumes", "--yes")
    assert own_stack.leftovers() == []


def test_plain_compose_with_an_override_works_after_setup(own_stack: Stack) -> None:
    (own_stack.root / "docker-compose.override.yml").write_text(
        "services:\n  app:\n    environment:\n      LOG_LEVEL: warning\n"
    )
    own_stack.invoke("setup")
    own_stack.invoke("images.prepare", timeout=900)
    own_stack.compose("up", "--detach", "--wait", timeout=300)
    try:
        assert own_stack.health()[0] == 200
        assert "LOG_LEVEL=warning" in own_stack.container("app")["Config"]["Env"]
        assert "healthy" in own_stack.compose("ps")
        assert own_stack.compose("logs", "db")
    finally:
        own_stack.compose("down")
    assert own_stack.containers() == []


def test_without_monitoring_the_rest_works(own_stack: Stack) -> None:
    report = own_stack.invoke("up", "--without=monitoring", timeout=900).stdout
    assert own_stack.services() == {"app", "worker", "db", "redis", "kafka", "rabbitmq"}
    assert "skipped" in report
    until(lambda: own_stack.health()[0] == 200, 20, "health without monitoring")
    own_stack.invoke("up", "--with=monitoring", timeout=900)
    assert {"prometheus", "alertmanager"} <= own_stack.services()
