"""Locks of images: each mistake in them is found where it is; a checkout without any is fine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.toolkit.validate.composing import Unhurried
from tests.unit.toolkit.validate.mutations import LOCK_MUTATIONS, Mutation
from tests.unit.toolkit.validate.seeding import expect, seeded
from toolkit.checkout.project import Project
from toolkit.images import image_lock
from toolkit.validate import images, supply
from toolkit.validate.runner import complete, run


@pytest.fixture
def locked(clone: Path) -> Iterator[Path]:
    """The copy of the repository with locks of all images, and its compose files as they were afterwards."""
    before = {path: path.read_text() for path in clone.glob("docker-compose*.yml")}
    project = Project.load(clone)
    for layer, pins in image_lock.published_images(project).items():
        image_lock.write_lock(project, layer, {keys: f"{image}@sha256:{'0' * 64}" for keys, image in pins.items()})
    yield clone
    for path, text in before.items():
        path.write_text(text)
    for lock in clone.glob("images*.lock"):
        lock.unlink()


def problems(root: Path, tracked: frozenset[str] = frozenset()) -> list[str]:
    """What the check says of a checkout."""
    checkout = Unhurried(root)
    checkout.tracked = checkout.tracked | tracked
    return [str(problem) for problem in run(checkout, [supply.locked]).problems]


def test_images_that_are_locked_are_fine(locked: Path) -> None:
    checkout = Unhurried(locked)
    assert not run(checkout, [supply.locked, images.registry]).problems
    assert any(image.endswith("0" * 64) for each in checkout.whole for image in _images(each.config))


def _images(config: dict[str, dict[str, dict[str, str]]]) -> list[str]:
    return [service["image"] for service in config["services"].values()]


def test_a_checkout_without_locks_is_fine(clone: Path) -> None:
    assert problems(clone) == []


@pytest.mark.parametrize("mutation", LOCK_MUTATIONS, ids=lambda mutation: mutation.name)
def test_mistake_is_found(locked: Path, mutation: Mutation) -> None:
    with seeded(locked, mutation):
        expect(complete(supply.locked(Unhurried(locked))), locked, mutation)


def test_a_layer_without_its_lock_is_found(locked: Path) -> None:
    layer = locked / "docker-compose.prod.yml"
    image = "${REGISTRY:-docker.io}/library/redis:9"
    layer.write_text(layer.read_text().replace("  redis:\n", f"  redis:\n    image: {image}\n", 1))
    (locked / "images.prod.lock").unlink(missing_ok=True)
    assert problems(locked) == ["docker-compose.prod.yml:1: images.prod.lock is missing: invoke images.lock"]


def test_a_lock_without_a_layer_is_found(clone: Path) -> None:
    assert problems(clone, frozenset({"images.stage.lock"})) == [
        "images.stage.lock:1: no compose file belongs to this lock"
    ]
