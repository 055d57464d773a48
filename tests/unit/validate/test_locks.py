"""Locks of images that are there, not there, or there for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.validate import supply
from toolkit.validate.checkout import Checkout
from toolkit.validate.runner import run


def problems(root: Path, tracked: frozenset[str] = frozenset()) -> list[str]:
    """What the check says of a checkout."""
    checkout = Checkout(root)
    checkout.tracked = checkout.tracked | tracked
    return [str(problem) for problem in run(checkout, [supply.locked]).problems]


@pytest.fixture
def files(clone: Path) -> Iterator[Path]:
    """The copy of the repository, with its compose files and locks as they were afterwards."""
    before = {path: path.read_text() for path in (*clone.glob("docker-compose*.yml"), *clone.glob("images*.lock"))}
    yield clone
    for path, text in before.items():
        path.write_text(text)


def test_a_checkout_without_locks_is_fine(files: Path) -> None:
    for lock in files.glob("images*.lock"):
        lock.unlink()
    assert problems(files) == []


def test_a_layer_without_its_lock_is_found(files: Path) -> None:
    layer = files / "docker-compose.prod.yml"
    image = "${REGISTRY:-docker.io}/library/redis:9"
    layer.write_text(layer.read_text().replace("  redis:\n", f"  redis:\n    image: {image}\n", 1))
    (files / "images.prod.lock").unlink(missing_ok=True)
    assert problems(files) == ["docker-compose.prod.yml:1: images.prod.lock is missing: invoke images.lock"]


def test_a_lock_without_a_layer_is_found(clone: Path) -> None:
    assert problems(clone, frozenset({"images.stage.lock"})) == [
        "images.stage.lock:1: no compose file belongs to this lock"
    ]
