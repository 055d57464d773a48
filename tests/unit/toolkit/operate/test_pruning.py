"""Which images are deleted, and which never."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.images.fake_image_engine import APP, LOCAL_APP, Engine
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core import envfile
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result
from toolkit.operate.pruning import prune, unneeded

LIVE, BEFORE, OLD, OLDER = "20260104-000000", "20260103-000000", "20260102-000000", "20260101-000000-abc123"


class Store:
    """An engine with images that were built for the project, containers and a build cache."""

    def __init__(self, project: Project, docker: FakeDocker) -> None:
        self.project, self.docker = project, docker
        Engine(docker)
        self.images: dict[str, str] = {}
        self.used: list[str] = []
        self.cache: list[dict[str, str]] = [{"Size": "2GB", "InUse": "false"}, {"Size": "1GB", "InUse": "true"}]
        self.refused: set[str] = set()
        docker.answer("image", "ls", by=self._list)
        docker.answer("system", "df", by=self._usage)
        docker.answer("ps", "--all", by=lambda _: Result(0, " ".join(f"c-{each}" for each in self.used), ""))
        docker.answer("container", "inspect", by=lambda _: docker.result([{"Image": each} for each in self.used]))
        docker.answer("image", "rm", by=lambda argv: Result(int(argv[-1] in self.refused), "", "in use"))
        docker.on("builder", "prune")

    def has(self, *names: str) -> None:
        """Images of the project; each has its name as its id."""
        self.images |= {f"sha256:{name}": name for name in names}

    def _list(self, argv: list[str]) -> Result:
        assert "label=com.docker.compose.project=network-monitor" in argv
        lines = [
            f"{identifier}\t{name.rpartition(':')[0]}\t{name.rpartition(':')[2]}"
            for identifier, name in self.images.items()
        ]
        return Result(0, "\n".join(lines), "")

    def _usage(self, _argv: list[str]) -> Result:
        images = [{"ID": each, "UniqueSize": "1.5MB"} for each in self.images]
        return Result(0, json.dumps({"Images": images, "BuildCache": self.cache}), "")

    def unneeded(self) -> list[str]:
        """The names of what would be deleted."""
        return [image.reference for image in unneeded(self.project, self.docker.cli).images]

    def deleted(self) -> list[str]:
        """What was deleted."""
        return [argv[-1] for argv in self.docker.ran("image", "rm")]


@pytest.fixture
def store(project: Project, docker: FakeDocker) -> Store:
    found = Store(project, docker)
    setup(project, "dev", images="pulled")
    return found


def test_superseded_builds_and_old_releases_are_deleted(store: Store) -> None:
    envfile.update(store.project.env_file, {"NETMON_RELEASE": LIVE})
    store.images["sha256:superseded"] = "<none>:<none>"
    store.has(*(f"network-monitor:{tag}" for tag in (LIVE, BEFORE, OLD, OLDER)))
    assert store.unneeded() == [f"network-monitor:{OLDER}", f"network-monitor:{OLD}", "sha256:superseded"]


def test_images_of_both_sets_are_kept(store: Store) -> None:
    store.has(APP, LOCAL_APP, "netmon-local/app:former")
    assert store.unneeded() == ["netmon-local/app:former"]


def test_images_of_containers_are_kept_whatever_their_project(store: Store) -> None:
    store.images["sha256:running"] = "<none>:<none>"
    store.has("network-monitor:of-another")
    store.used = ["sha256:running", "sha256:network-monitor:of-another"]
    assert store.unneeded() == []


def test_an_image_with_a_needed_name_is_kept_under_its_other_names(store: Store) -> None:
    store.images |= {"sha256:same": APP}
    store.docker.answer(
        "image", "ls", by=lambda _: Result(0, f"sha256:same\t{APP.partition(':')[0]}\tdev\nsha256:same\tother\t1", "")
    )
    assert store.unneeded() == []


def test_the_images_of_a_rollback_are_kept(store: Store) -> None:
    store.has("network-monitor-former:1")
    assert store.unneeded() == []


def test_deletion_is_confirmed_with_what_it_frees(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.has("network-monitor:a", "network-monitor:b")
    with pytest.raises(ToolkitError, match="confirmation required") as raised:
        prune(store.project, store.docker.cli, yes=False)
    assert "2 unused images of network-monitor (3.0 MB or more)" in raised.value.what
    assert "build cache (2.0 GB)" in raised.value.what
    assert "network-monitor:a" in capsys.readouterr().out
    assert store.deleted() == []
    assert store.docker.ran("builder") == []
    prune(store.project, store.docker.cli, yes=True)
    assert store.deleted() == ["network-monitor:a", "network-monitor:b"]
    assert len(store.docker.ran("builder", "prune")) == 1
    assert "2 images deleted, 2.0 GB or more freed" in capsys.readouterr().out


def test_images_are_deleted_without_force(store: Store) -> None:
    store.has("network-monitor:a")
    prune(store.project, store.docker.cli, yes=True)
    assert not any("--force" in argv or "-f" in argv for argv in store.docker.ran("image", "rm"))


def test_the_build_cache_may_be_kept(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    prune(store.project, store.docker.cli, yes=True, keep_cache=True)
    assert "nothing to delete" in capsys.readouterr().out
    assert store.docker.ran("builder") == []


def test_an_image_in_use_meanwhile_is_named(store: Store) -> None:
    store.has("network-monitor:a", "network-monitor:b")
    store.refused = {"network-monitor:a"}
    with pytest.raises(ToolkitError, match="1 images were not deleted") as raised:
        prune(store.project, store.docker.cli, yes=True)
    assert "network-monitor:a" in raised.value.why
    assert len(store.docker.ran("builder", "prune")) == 1


@pytest.mark.parametrize("cache", [[{"Size": "many", "InUse": "false"}]])
def test_a_size_that_cannot_be_read_deletes_nothing(store: Store, cache: list[dict[str, Any]]) -> None:
    store.cache = cache
    with pytest.raises(ToolkitError, match="cannot read the disk usage"):
        prune(store.project, store.docker.cli, yes=True)
    assert store.deleted() == []
