"""An upgrade by a bundle: its images become a release without a build, and those of the live release are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.toolkit.conftest import FakeDocker, configuration
from tests.unit.toolkit.operate.bundle.test_content import MANIFEST, checkout, made
from toolkit import images
from toolkit.checkout import bundled
from toolkit.checkout.project import Project
from toolkit.engine.compose import Result
from toolkit.images import Image
from toolkit.operate import revision
from toolkit.operate.bundle import load as loading
from toolkit.operate.deploy import release
from toolkit.operate.deploy.release import Release
from toolkit.operate.revision import Revision

COMMIT, NAME = "1" * 40, "20260131-120000"
NEW = replace(MANIFEST, commit=COMMIT, images={"postgres:18": "sha256:1", "network-monitor:dev": "sha256:2"})


class Engine:
    """Images by their names; every build and tag is recorded."""

    def __init__(self, docker: FakeDocker) -> None:
        self.docker = docker
        self.tags: dict[str, str] = {}
        docker.answer("image", "inspect", by=self.inspect)
        docker.answer("docker", "load", by=self.load)
        docker.answer("docker", "tag", by=self.tag)
        docker.answer("docker", "build", by=self.build)
        docker.on("compose", "config", stdout=configuration())

    def inspect(self, argv: list[str]) -> Result:
        found = self.tags.get(argv[-1])
        return Result(0, f"{found}\n", "") if found else Result(1, "", "no such image")

    def load(self, _: list[str]) -> Result:
        self.tags |= NEW.images
        return Result(0, "", "")

    def tag(self, argv: list[str]) -> Result:
        self.tags[argv[-1]] = argv[-2]
        return Result(0, "", "")

    def build(self, argv: list[str]) -> Result:
        [name] = [each.partition("=")[2] for each in argv if each.startswith("--tag=")]
        source = self.docker.inputs[-1].split()[1]
        self.tags[name] = f"{self.tags[source]} named"
        return Result(0, "", "")


@pytest.fixture
def engine(docker: FakeDocker) -> Engine:
    return Engine(docker)


@pytest.fixture
def host(docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A checkout of the bundle, whose images are loaded."""
    monkeypatch.setattr(loading, "setup", lambda *_, **__: None)
    monkeypatch.setattr(revision, "read", lambda _: Revision(COMMIT, "v2"))
    return Project(checkout(tmp_path / "host"), Project.load().data)


@pytest.mark.parametrize("upgrade", [True, False])
def test_an_upgrade_leaves_their_names_to_the_images_of_the_live_release(
    host: Project, engine: Engine, tmp_path: Path, upgrade: bool
) -> None:
    engine.tags = {"network-monitor:dev": "sha256:live", "postgres:18": "sha256:0"}
    loading.load(host, engine.docker.cli, made(tmp_path, NEW), upgrade=upgrade)
    assert engine.tags["network-monitor:dev"] == ("sha256:live" if upgrade else "sha256:2")
    assert engine.tags["network-monitor:bundle"] == "sha256:2"
    assert engine.tags["postgres:18"] == "sha256:1"


def provide(host: Project, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Provide a release; returns the images that were built."""
    built: list[str] = []
    needed = [Image(f"network-monitor:{NAME}", ("app", "worker"), built=True)]
    monkeypatch.setattr(release, "images_of", lambda *_: needed)
    monkeypatch.setattr(images, "build_images", lambda _, __, each: built.extend(image.name for image in each))
    Release(NAME, {"NETMON_RELEASE": NAME}).provide(host, engine.docker.cli)
    return built


def test_the_images_of_the_bundle_become_the_release(
    host: Project, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading.load(host, engine.docker.cli, made(tmp_path, NEW), upgrade=True)
    assert provide(host, engine, monkeypatch) == []
    assert engine.tags[f"network-monitor:{NAME}"] == "sha256:2 named"
    [argv] = engine.docker.ran("docker", "build")
    assert "--network=none" in argv
    assert f"ENV APP_VERSION={NAME}" in engine.docker.inputs[engine.docker.calls.index(argv)]


@pytest.mark.parametrize(
    ("commit", "changed", "tag"),
    [("2" * 40, (), "sha256:2"), (COMMIT, ("app/netmon/worker.py",), "sha256:2"), (COMMIT, (), "sha256:other")],
)
def test_a_checkout_of_another_state_is_built(
    host: Project, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: str,
    changed: tuple[str, ...], tag: str,
) -> None:  # fmt: skip
    """Its images are not those of the files, or were replaced."""
    loading.load(host, engine.docker.cli, made(tmp_path, NEW), upgrade=True)
    monkeypatch.setattr(revision, "read", lambda _: Revision(commit, "v2", changed))
    engine.tags["network-monitor:bundle"] = tag
    assert provide(host, engine, monkeypatch) == [f"network-monitor:{NAME}"]
    assert not engine.docker.ran("docker", "build")


@pytest.mark.parametrize("text", [None, "{", "[]", '{"postgres:18": "sha256:1"}'])
def test_another_record_has_no_images(host: Project, text: str | None) -> None:
    if text is not None:
        bundled.path(host.root).parent.mkdir(exist_ok=True)
        bundled.path(host.root).write_text(text)
    assert bundled.images(host.root, COMMIT) == {}
