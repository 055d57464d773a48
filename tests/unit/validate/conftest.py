"""A copy of the repository that tests may damage."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from toolkit import digests
from toolkit.project import Project

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository of its own with what a clone of this working tree would hold, and locked images."""
    root = tmp_path_factory.mktemp("validate") / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy2(ROOT / name, root / name)
    project = Project.load(root)
    for layer, pins in digests.published(project).items():
        digests.write(project, layer, {keys: f"{image}@sha256:{'0' * 64}" for keys, image in pins.items()})
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    subprocess.run(["git", "add", "--all"], cwd=root, check=True)
    (root / ".netmon").mkdir()
    return root
