"""Fixtures: a copy of the repository for mutations, and a cache of Compose's configurations."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.toolkit.conftest import copy_checkout
from tests.unit.toolkit.validate.composing import CachedCompose
from toolkit.engine import compose

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with the files that a clone of this working tree would have."""
    root = copy_checkout(tmp_path_factory.mktemp("validate") / "checkout")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    subprocess.run(["git", "add", "--all"], cwd=root, check=True)
    (root / ".netmon").mkdir()
    return root


@pytest.fixture(scope="session")
def cached_compose(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CachedCompose:
    kept = getattr(request.config, "cache", None)  # pytest may run without one
    return CachedCompose(kept.mkdir("compose") if kept else tmp_path_factory.mktemp("compose"))


@pytest.fixture(autouse=True)
def _use_cached_compose(cached_compose: CachedCompose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "run", cached_compose)
