"""A copy of the repository that tests may damage."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.toolkit.validate.composing import Remembering
from toolkit.engine import compose

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository of its own with what a clone of this working tree would hold."""
    root = tmp_path_factory.mktemp("validate") / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy2(ROOT / name, root / name)
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    subprocess.run(["git", "add", "--all"], cwd=root, check=True)
    (root / ".netmon").mkdir()
    return root


@pytest.fixture(scope="session")
def remembering() -> Remembering:
    return Remembering()


@pytest.fixture(autouse=True)
def _compose_is_asked_once(remembering: Remembering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "run", remembering)
