"""Bundles are written on one host and loaded on another one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.toolkit.conftest import CHECKOUT, FakeDocker
from tests.unit.toolkit.operate.bundle.test_content import MANIFEST, checkout, made
from toolkit import images
from toolkit.checkout import bundled
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core import envfile
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result
from toolkit.operate import revision
from toolkit.operate.bundle import content
from toolkit.operate.bundle import load as loading
from toolkit.operate.bundle import write as writing
from toolkit.operate.bundle.content import Bundle
from toolkit.operate.revision import Revision

HERE = Revision("1" * 40, "v1.0.0")
NAMES = ("postgres:18", "redis:8@sha256:12")


@pytest.fixture
def source(project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    """A host with a network; git, pip and docker write what they would."""
    setup(project, "prod", images="pulled", folder="/")
    envfile.update(project.env_file, {"REGISTRY": "mirror.example", "NETMON_RELEASE": "20260131-120000"})
    shutil.copy(CHECKOUT / "pyproject.toml", project.root)

    def clone(argv: list[str]) -> Result:
        folder = Path(argv[-1])
        (folder / ".git").mkdir(parents=True)
        shutil.copy(project.root / "docker-compose.yml", folder)
        return Result(0, "", "")

    def download(argv: list[str]) -> Result:
        [folder] = [Path(each.removeprefix("--dest=")) for each in argv if each.startswith("--dest=")]
        folder.mkdir(exist_ok=True)
        [version] = [each for each in argv if each.startswith("--python-version=")]
        (folder / f"rich-{version[-4:]}.whl").write_text(version)
        return Result(0, "", "")

    def save(argv: list[str]) -> Result:
        Path(argv[4]).write_text(" ".join(argv[5:]))
        return Result(0, "", "")

    docker.answer("git", "clone", by=clone)
    docker.on("git", "-C", "remote")
    docker.answer("pip", "download", by=download)
    docker.answer("bash", "-c", by=save)
    docker.on("tag")
    docker.on("image", "inspect", stdout="sha256:1\n")
    docker.on("image", "inspect", "{{.Size}}", stdout="1000\n")
    monkeypatch.setattr(images, "provide", lambda *_: None)
    monkeypatch.setattr(images, "images_of", lambda *_: [images.Image(name, (name,), built=False) for name in NAMES])
    monkeypatch.setattr(revision, "read", lambda _: HERE)
    return docker


def test_a_bundle_has_everything(
    project: Project, source: FakeDocker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.bundle"
    writing.bundle(project, source.cli, target)
    with Bundle.opened(target) as bundle:
        assert bundle.manifest.images == {"postgres:18": "sha256:1", "redis:8": "sha256:1"}
        assert bundle.manifest.settings == {"REGISTRY": "mirror.example"}
        assert (bundle.manifest.version, bundle.manifest.set, bundle.manifest.profile) == ("v1.0.0", "pulled", "prod")
        assert {f"packages/rich-{version}.whl" for version in writing.PYTHONS} <= bundle.sums.keys()
        bundle.extract(content.IMAGES, tmp_path / "images")
        assert (tmp_path / "images").read_text() == "postgres:18 redis:8"
    assert source.ran("docker", "tag") == [["docker", "tag", "redis:8@sha256:12", "redis:8"]]
    output = capsys.readouterr().out
    assert content.digest(target) in output
    assert "scripts/quickstart.sh --profile=prod --bundle=../out.bundle" in output
    assert [each for each in tmp_path.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("git", "clone"), "cannot clone the checkout"),
        (("pip", "download"), "cannot download the packages for Python 3.11"),
        (("bash",), "cannot save the images"),
        (("image", "inspect"), "an image is missing"),
    ],
)
def test_a_step_that_fails_leaves_nothing(
    project: Project, source: FakeDocker, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    source.on(*words, code=1, stderr="no")
    before = set(tmp_path.iterdir())
    with pytest.raises(ToolkitError, match=message):
        writing.bundle(project, source.cli, tmp_path / "out.bundle")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("changed", "target", "message"),
    [
        (("docker-compose.yml",), "out.bundle", "were changed"),
        ((), "checkout", "exists"),
        ((), "missing/out.bundle", "does not exist"),
    ],
)
def test_a_bundle_that_cannot_be_written_is_refused_first(
    project: Project, source: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: tuple[str, ...],
    target: str, message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(revision, "read", lambda _: Revision("1" * 40, "v1", changed))
    with pytest.raises(ToolkitError, match=message):
        writing.bundle(project, source.cli, tmp_path / target)
    assert source.calls == []


@pytest.fixture
def host(docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Project, dict[str, str]]:
    """A checkout of the bundle on another host, and the images that its engine has."""

    def choose(project: Project, profile: str | None, *, images: str) -> None:
        envfile.update(project.env_file, {"NETMON_PROFILE": str(profile or project.profile), "NETMON_IMAGES": images})

    monkeypatch.setattr(loading, "setup", choose)
    root, present = checkout(tmp_path / "host"), dict[str, str]()
    real = Project.load()

    def inspect(argv: list[str]) -> Result:
        found = present.get(argv[-1])
        return Result(0, found + "\n", "") if found else Result(1, "", "no such image")

    def load(argv: list[str]) -> Result:
        assert Path(argv[-1]).read_bytes().startswith(b"images")
        present.update(MANIFEST.images)
        return Result(0, "", "")

    docker.answer("image", "inspect", by=inspect)
    docker.answer("docker", "load", by=load)
    return Project(root, real.data), present


def test_a_bundle_is_loaded_once(host: tuple[Project, dict[str, str]], docker: FakeDocker, tmp_path: Path) -> None:
    project, present = host
    loading.load(project, docker.cli, made(tmp_path))
    assert present == MANIFEST.images
    assert project.images == "local"
    assert project.profile == "prod"
    assert project.env["REGISTRY"] == "mirror.example", "the names of the images depend on it"
    assert bundled.path(project.root).exists()
    assert [each.name for each in (project.root / ".netmon").iterdir() if each.name.startswith(".bundle")] == []
    loading.load(project, docker.cli, tmp_path / "netmon.bundle")
    assert len(docker.ran("docker", "load")) == 1


def test_a_damaged_bundle_loads_nothing(
    host: tuple[Project, dict[str, str]], docker: FakeDocker, tmp_path: Path
) -> None:
    project, present = host
    path = made(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b"imagesimages") + 7] ^= 1
    path.write_bytes(data)
    with pytest.raises(ToolkitError, match="is damaged"):
        loading.load(project, docker.cli, path)
    assert present == {}
    assert not bundled.path(project.root).exists()
    assert not project.env_file.exists()


def test_a_bundle_of_another_release_is_refused(
    host: tuple[Project, dict[str, str]], docker: FakeDocker, tmp_path: Path
) -> None:
    project, present = host
    (project.root / "docker-compose.yml").write_text("services: {other: {}}\n")
    with pytest.raises(ToolkitError, match=r"differ from this checkout: docker-compose\.yml") as error:
        loading.load(project, docker.cli, made(tmp_path))
    assert "tar -xf" in error.value.fix
    assert present == {}


def test_another_image_of_the_same_name_is_an_error(
    host: tuple[Project, dict[str, str]], docker: FakeDocker, tmp_path: Path
) -> None:
    project, present = host
    present["postgres:18"] = "sha256:other"
    docker.on("docker", "load")
    with pytest.raises(ToolkitError, match="has not loaded postgres:18"):
        loading.load(project, docker.cli, made(tmp_path))


def test_too_little_space_is_an_error(
    host: tuple[Project, dict[str, str]], docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _ = host
    usage: Any = type("Usage", (), {"free": 10})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ToolkitError, match="too little disk space"):
        loading.load(project, docker.cli, made(tmp_path))


def test_digests_are_not_required_of_images_from_a_bundle(project: Project) -> None:
    (project.root / "images.lock").write_text("services: {}\n")
    assert "images.lock" in project.compose_files("dev", "pulled")
    bundled.path(project.root).parent.mkdir()
    bundled.record(project.root, MANIFEST.images, "1" * 40)
    assert "images.lock" not in project.compose_files("dev", "pulled")
