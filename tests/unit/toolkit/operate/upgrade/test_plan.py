"""What an upgrade changes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker, configuration
from tests.unit.toolkit.containers import container
from toolkit import images
from toolkit.checkout.project import Project
from toolkit.engine.outdated import CONFIGURATION, SERVICE
from toolkit.images.sets import Outstanding
from toolkit.operate.upgrade import plan as plans
from toolkit.operate.upgrade.plan import Plan

IMAGES = {"proxy": "caddy:2", "app": "network-monitor:1", "worker": "network-monitor:1", "db": "postgres:18.6",
          "prometheus": "prometheus:v3"}  # fmt: skip
NEEDS = {"proxy": ["app"], "app": ["db"], "worker": ["db"]}


class Stack:
    """A running stack; its files can be changed."""

    def __init__(self, project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project, self.docker = project, docker
        root = project.root
        self.services: dict[str, Any] = {
            name: {"image": image, "depends_on": {each: {} for each in NEEDS.get(name, ())}}
            for name, image in IMAGES.items()
        }
        mount = {"type": "bind", "source": str(root / "monitoring/prometheus"), "target": "/etc/prometheus"}
        data = {"type": "volume", "source": "data", "target": "/prometheus"}
        self.services["prometheus"]["volumes"] = [mount, data]
        self.stale: tuple[images.Image, ...] = ()
        self.hashes = dict.fromkeys(IMAGES, "1")
        self.containers = {name: container(name) for name in IMAGES}
        for name, each in self.containers.items():
            each["Config"]["Labels"] |= {SERVICE: name, CONFIGURATION: "1"}
            each["Config"]["Image"] = IMAGES[name]
        monkeypatch.setattr(images, "images_of", lambda *_: [])
        monkeypatch.setattr(images, "outstanding", lambda *_: Outstanding((), self.stale, ()))

    def plan(self, differing: Collection[str] | None = ()) -> Plan:
        hashes = "".join(f"{name} {value}\n" for name, value in self.hashes.items() if name in self.services)
        self.docker.on("compose", "config", stdout=configuration(**self.services))
        self.docker.on("compose", "config", "--hash", stdout=hashes)
        self.docker.on("image", "inspect", code=1)
        self.docker.on("ps", stdout="\n".join(self.containers))
        self.docker.on("container", "inspect", stdout=list(self.containers.values()))
        known = None if differing is None else frozenset(differing)
        return plans.make(self.project, self.docker.cli, known)

    def changes(self, differing: Collection[str] | None = ()) -> dict[str, str]:
        return {each.service: each.what for each in self.plan(differing).changes}


@pytest.fixture
def stack(project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Stack:
    return Stack(project, docker, monkeypatch)


def test_an_unchanged_stack(stack: Stack) -> None:
    plan = stack.plan({"docs/tour.md", "tests/unit/test_x.py"})
    assert (plan.changes, plan.migrations) == ((), ())
    assert not plan.deploys


def test_another_image(stack: Stack) -> None:
    stack.services["db"]["image"] = "postgres:18.7"
    assert stack.changes() == {"db": "image postgres:18.6 → postgres:18.7"}


def test_an_image_that_is_built_again(stack: Stack) -> None:
    stack.stale = (images.Image("caddy:2", ("proxy",), built=True),)
    assert stack.changes() == {"proxy": "its image is built again"}


def test_another_configuration(stack: Stack) -> None:
    stack.hashes["prometheus"] = "2"
    assert stack.changes() == {"prometheus": "its settings"}


def test_changed_files_in_a_mounted_folder(stack: Stack) -> None:
    names = {f"monitoring/prometheus/rules/{name}.yml" for name in "abcd"} | {"monitoring/prometheus-old.yml"}
    shown = ", ".join(f"monitoring/prometheus/rules/{name}.yml" for name in "abc")
    assert stack.changes(names) == {"prometheus": f"its files: {shown} and 1 more"}


def test_every_mounted_file_counts_if_it_is_not_known_which_have_changed(stack: Stack) -> None:
    assert stack.changes(None) == {"prometheus": "its files: monitoring/prometheus"}


def test_new_and_removed_services(stack: Stack) -> None:
    stack.services["cache"] = {"image": "valkey:9"}
    del stack.services["prometheus"]
    plan = stack.plan()
    assert [(each.service, each.what) for each in plan.changes] == [("cache", plans.NEW), ("prometheus", plans.REMOVED)]
    assert plan.servers == ["cache"]


def test_a_service_without_replicas_is_not_started(stack: Stack) -> None:
    stack.services["cache"] = {"image": "valkey:9", "deploy": {"replicas": 0}}
    assert stack.changes() == {}


def test_code_of_the_application_and_migrations(stack: Stack) -> None:
    plan = stack.plan({"app/netmon/migrations/0099_new.sql", "app/netmon/worker.py"})
    assert [each.service for each in plan.changes] == ["app", "worker"]
    assert plan.migrations == ("0099_new.sql",)
    assert plan.deploys
    assert plan.servers == []


def test_servers_come_before_their_clients(stack: Stack) -> None:
    stack.hashes = dict.fromkeys(IMAGES, "2")
    plan = stack.plan()
    assert [each.service for each in plan.changes] == ["db", "app", "proxy", "worker", "prometheus"]
    assert plan.servers == ["db", "proxy", "prometheus"]
