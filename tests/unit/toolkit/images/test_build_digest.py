"""The build digest changes with every build input, and with nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.images.build_digest import BASES, digest


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one build context and the bases of the local images."""
    root = tmp_path / "checkout"
    for name in ("app/Dockerfile", "app/netmon/api.py", "more/pom.xml", *(f"{base}/Dockerfile" for base in BASES)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def of(root: Path, *, local: bool = False, **build: Any) -> str:
    """The build digest of an image with the context app/."""
    return digest(root, {"context": str(root / "app"), "dockerfile": "Dockerfile", **build}, local=local)


def link(root: Path) -> None:
    """Add a broken symbolic link."""
    (root / "app/link").symlink_to("nowhere")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda root: (root / "app/netmon/api.py").write_text("other"),
    "a new file": lambda root: (root / "app/.dockerignore").write_text(""),
    "a removed file": lambda root: (root / "app/netmon/api.py").unlink(),
    "another name": lambda root: (root / "app/netmon/api.py").rename(root / "app/netmon/app.py"),
    "executable": lambda root: (root / "app/Dockerfile").chmod(0o755),
    "a link": link,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_build_input_changes_the_digest(checkout: Path, change: str) -> None:
    before = of(checkout)
    CHANGES[change](checkout)
    assert of(checkout) != before


def test_files_outside_the_build_do_not_change_the_digest(checkout: Path) -> None:
    before = of(checkout)
    for name in ("app/netmon/__pycache__/api.pyc", "app/.venv/python", "other/file"):
        (checkout / name).parent.mkdir(parents=True)
        (checkout / name).write_text("more")
    (checkout / "app/Dockerfile").chmod(0o600)
    assert of(checkout) == before


def test_a_copy_of_the_checkout_has_the_same_digest(checkout: Path, tmp_path: Path) -> None:
    shutil.copytree(checkout, tmp_path / "copy")
    assert of(tmp_path / "copy", local=True) == of(checkout, local=True)


def test_build_settings_change_the_digest(checkout: Path) -> None:
    assert len({of(checkout), of(checkout, args={"VERSION": "1"}), of(checkout, args={"VERSION": "2"})}) == 3


def test_additional_contexts_change_the_digest(checkout: Path) -> None:
    more = {"agent": str(checkout / "more")}
    before = of(checkout, additional_contexts=more)
    assert before != of(checkout)
    (checkout / "more/pom.xml").write_text("other")
    assert of(checkout, additional_contexts=more) != before


def test_the_bases_change_the_digest_of_local_images_only(checkout: Path) -> None:
    before, local = of(checkout), of(checkout, local=True)
    (checkout / BASES[0] / "Dockerfile").write_text("other")
    assert of(checkout) == before
    assert of(checkout, local=True) != local


@pytest.mark.parametrize("context", ["", "https://example.org/app.git", "/elsewhere", "/"])
def test_a_context_outside_the_checkout_has_no_digest(checkout: Path, context: str) -> None:
    assert of(checkout, context=context) == ""
    assert of(checkout, additional_contexts={"more": context}) == ""
    assert of(checkout, context=str(checkout)) == "", "a complete checkout includes secrets and environments"
