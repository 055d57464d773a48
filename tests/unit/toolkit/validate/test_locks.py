"""Lock files of images: every mistake is reported at its line, and locks are optional."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.toolkit.validate.composing import LazyCheckout
from tests.unit.toolkit.validate.mutations import LOCK_MUTATIONS, Mutation
from tests.unit.toolkit.validate.seeding import expect, seeded
from toolkit.checkout.project import Project
from toolkit.images import image_lock
from toolkit.validate import images, supply
from toolkit.validate.runner import outcomes, run


@pytest.fixture
def locked(clone: Path) -> Iterator[Path]:
    """The clone with a lock of every image; its compose files are restored afterwards."""
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
    """The problems that `supply.locks` reports."""
    checkout = LazyCheckout(root)
    checkout.tracked = checkout.tracked | tracked
    return [str(problem) for problem in run(checkout, [supply.locks]).problems]


def test_locked_images_have_no_problem(locked: Path) -> None:
    checkout = LazyCheckout(locked)
    assert not run(checkout, [supply.locks, images.registry]).problems
    assert any(image.endswith("0" * 64) for each in checkout.full_configurations for image in _images(each.config))


def _images(config: dict[str, dict[str, dict[str, str]]]) -> list[str]:
    return [service["image"] for service in config["services"].values()]


def test_checkout_without_locks_has_no_problem(clone: Path) -> None:
    assert problems(clone) == []


@pytest.mark.parametrize("mutation", LOCK_MUTATIONS, ids=lambda mutation: mutation.name)
def test_mutation_is_reported(locked: Path, mutation: Mutation) -> None:
    with seeded(locked, mutation):
        expect(outcomes(supply.locks(LazyCheckout(locked))), locked, mutation)


def test_layer_without_its_lock_is_reported(locked: Path) -> None:
    layer = locked / "docker-compose.prod.yml"
    image = "${REGISTRY:-docker.io}/library/redis:9"
    layer.write_text(layer.read_text().replace("  redis:\n", f"  redis:\n    image: {image}\n", 1))
    (locked / "images.prod.lock").unlink(missing_ok=True)
    assert problems(locked) == ["docker-compose.prod.yml:1: images.prod.lock is missing: run invoke images.lock"]


def test_lock_without_a_layer_is_reported(clone: Path) -> None:
    assert problems(clone, frozenset({"images.stage.lock"})) == [
        "images.stage.lock:1: no compose file belongs to this lock"
    ]
