"""The expected services of a live stack: read from its configuration, which must have those of every stack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.live import stack as module
from tests.live.stack import CORE, MONITORING, Stack

ROOT = Path(__file__).resolve().parents[3]
CHECK = {"healthcheck": {"test": ["CMD", "true"]}}


class Configured(Stack):
    """A stack with a given configuration: services by name; those with a profile need every group enabled."""

    spec: dict[str, dict[str, Any]]

    def compose(self, *args: str, **_options: Any) -> str:
        every = "*" in args
        return json.dumps(
            {"services": {name: each for name, each in self.spec.items() if every or "profiles" not in each}}
        )


@pytest.fixture
def stack(tmp_path: Path) -> Configured:
    """A stack with monitoring and local images, which lack Grafana."""
    shutil.copy(ROOT / "invoke.yaml", tmp_path)
    (tmp_path / ".env").write_text("NETMON_IMAGES=local\n")
    made = Configured(tmp_path, "netmon-test")
    made.spec = {name: dict(CHECK) for name in (*CORE, *MONITORING, "victorialogs", "jaeger")}
    made.spec["otel-collector"] = {"labels": {"netmon.health.url": "http://otel-collector:13133/"}}
    made.spec["grafana"] = {"profiles": ["absent"]}
    made.spec["smoke"] = {"profiles": ["tools"]}
    return made


def test_expected_services_follow_the_configuration(stack: Configured) -> None:
    assert stack.configured() == {*CORE, *MONITORING, "victorialogs", "jaeger"}
    assert stack.unavailable() == {"grafana"}
    assert stack.with_healthcheck() == stack.configured() - {"otel-collector"}
    assert (stack.store("logs"), stack.store("traces")) == ("victorialogs", "jaeger")


def test_the_core_is_configured_without_monitoring(stack: Configured) -> None:
    stack.spec = {name: {} for name in CORE}
    assert stack.configured() == CORE


def test_a_service_with_no_replicas_is_not_configured(stack: Configured) -> None:
    stack.spec["jaeger"] = {"deploy": {"replicas": 0}}
    stack.spec["tempo"] = {}
    assert "jaeger" not in stack.configured()


@pytest.mark.parametrize("service", sorted(CORE | MONITORING | {"victorialogs", "jaeger"}))
def test_a_missing_service_of_every_stack_is_an_error(stack: Configured, service: str) -> None:
    del stack.spec[service]
    with pytest.raises(AssertionError, match=rf"{service}|has no store"):
        stack.configured()


def test_published_images_with_unavailable_services_are_an_error(stack: Configured) -> None:
    (stack.root / ".env").write_text("NETMON_IMAGES=pulled\n")
    with pytest.raises(AssertionError, match="the pulled images lack"):
        stack.unavailable()
    del stack.spec["grafana"]
    assert stack.unavailable() == set()


def test_local_images_without_unavailable_services_are_an_error(stack: Configured) -> None:
    del stack.spec["grafana"]
    with pytest.raises(AssertionError, match="the local images lack nothing"):
        stack.unavailable()


def test_a_service_without_any_health_check_is_reported(stack: Configured) -> None:
    stack.spec["jaeger"] = {"labels": {}}
    with pytest.raises(AssertionError, match="the health of jaeger"):
        stack.with_healthcheck()


def test_an_image_set_other_than_the_requested_one_is_an_error(
    stack: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IMAGES", "pull")
    with pytest.raises(AssertionError):
        _ = stack.images


@pytest.mark.parametrize(
    ("task", "option"),
    [(["up"], ["--images=pull"]), (["images.prepare", "--profile=prod"], ["--images=pull"]), (["down"], []),
     (["up", "--images=local"], [])],
)  # fmt: skip
def test_tasks_get_the_option_of_the_requested_images(
    monkeypatch: pytest.MonkeyPatch, task: list[str], option: list[str]
) -> None:
    monkeypatch.setattr(module, "IMAGES", "pull")
    assert Stack.invoke_argv(*task)[3:] == [*task, *option]


def test_a_registry_in_the_environment_becomes_a_setting_of_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY", "localhost:5000")
    monkeypatch.delenv("REGISTRY_QUAY", raising=False)
    monkeypatch.setattr(Stack, "destroy", lambda _self: None)
    monkeypatch.setattr(module, "copy_checkout", lambda target: target.mkdir())
    made = Stack.create(tmp_path / "checkout", "netmon-test")
    assert "REGISTRY=localhost:5000" in (made.root / ".env").read_text().splitlines()
    assert "REGISTRY" not in made.environment
