"""What a live stack should run is read from its configuration; one that lacks what every stack has fails."""

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
    """A stack whose configuration is given: services by name, those with a profile where every group is on."""

    spec: dict[str, dict[str, Any]]

    def compose(self, *args: str, **_options: Any) -> str:
        every = "*" in args
        return json.dumps(
            {"services": {name: each for name, each in self.spec.items() if every or "profiles" not in each}}
        )


@pytest.fixture
def stack(tmp_path: Path) -> Configured:
    """With monitoring, from local images, which lack Grafana."""
    shutil.copy(ROOT / "invoke.yaml", tmp_path)
    (tmp_path / ".env").write_text("NETMON_IMAGES=local\n")
    made = Configured(tmp_path, "netmon-test")
    made.spec = {name: dict(CHECK) for name in (*CORE, *MONITORING, "victorialogs", "jaeger")}
    made.spec["otel-collector"] = {"labels": {"netmon.health.url": "http://otel-collector:13133/"}}
    made.spec["grafana"] = {"profiles": ["absent"]}
    made.spec["smoke"] = {"profiles": ["tools"]}
    return made


def test_it_follows_the_configuration(stack: Configured) -> None:
    assert stack.configured() == {*CORE, *MONITORING, "victorialogs", "jaeger"}
    assert stack.absent() == {"grafana"}
    assert stack.checked() == stack.configured() - {"otel-collector"}
    assert (stack.store("logs"), stack.store("traces")) == ("victorialogs", "jaeger")


def test_without_monitoring_the_core_is_left(stack: Configured) -> None:
    stack.spec = {name: {} for name in CORE}
    assert stack.configured() == CORE


def test_a_service_without_replicas_should_not_run(stack: Configured) -> None:
    stack.spec["jaeger"] = {"deploy": {"replicas": 0}}
    stack.spec["tempo"] = {}
    assert "jaeger" not in stack.configured()


@pytest.mark.parametrize("service", sorted(CORE | MONITORING | {"victorialogs", "jaeger"}))
def test_what_every_stack_has_must_be_there(stack: Configured, service: str) -> None:
    del stack.spec[service]
    with pytest.raises(AssertionError, match=rf"{service}|no store of a signal"):
        stack.configured()


def test_published_images_lack_nothing(stack: Configured) -> None:
    (stack.root / ".env").write_text("NETMON_IMAGES=pulled\n")
    with pytest.raises(AssertionError, match="the pulled images lack"):
        stack.absent()
    del stack.spec["grafana"]
    assert stack.absent() == set()


def test_local_images_that_lack_nothing_were_not_looked_at(stack: Configured) -> None:
    del stack.spec["grafana"]
    with pytest.raises(AssertionError, match="the local images lack nothing"):
        stack.absent()


def test_a_service_that_nothing_asks_for_its_health_is_named(stack: Configured) -> None:
    stack.spec["jaeger"] = {"labels": {}}
    with pytest.raises(AssertionError, match="the health of jaeger"):
        stack.checked()


def test_images_other_than_those_asked_for_are_not_tested(stack: Configured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES", "pull")
    with pytest.raises(AssertionError):
        _ = stack.images


@pytest.mark.parametrize(
    ("task", "choice"),
    [(["up"], ["--images=pull"]), (["images.prepare", "--profile=prod"], ["--images=pull"]), (["down"], []),
     (["up", "--images=local"], [])],
)  # fmt: skip
def test_tasks_that_choose_images_take_those_asked_for(
    monkeypatch: pytest.MonkeyPatch, task: list[str], choice: list[str]
) -> None:
    monkeypatch.setattr(module, "IMAGES", "pull")
    assert Stack.invoke_argv(*task)[3:] == [*task, *choice]


def test_a_registry_of_the_environment_is_a_setting_of_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY", "localhost:5000")
    monkeypatch.delenv("REGISTRY_QUAY", raising=False)
    monkeypatch.setattr(Stack, "destroy", lambda _self: None)
    monkeypatch.setattr(module, "copy_checkout", lambda target: target.mkdir())
    made = Stack.create(tmp_path / "checkout", "netmon-test")
    assert "REGISTRY=localhost:5000" in (made.root / ".env").read_text().splitlines()
    assert "REGISTRY" not in made.environment
