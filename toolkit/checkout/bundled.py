"""The images that came with a bundle, whose content was verified: their digests in registries are unknown here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from toolkit.core import files

RELEASE, TAG = "dev", "bundle"
"""The tag of the application's images in a bundle, and the tag that they have beside it on the host."""


def path(root: Path) -> Path:
    """The record of a checkout."""
    return root / ".netmon" / "bundle.json"


def record(root: Path, images: Mapping[str, str], commit: str) -> None:
    """Record the names and ids of the images that were loaded, and the commit of the bundle.

    Raises:
        ToolkitError: the file cannot be written.
    """
    content = {"commit": commit, "images": dict(images)}
    files.write_atomically(path(root), json.dumps(content, indent=2) + "\n")


def images(root: Path, commit: str) -> Mapping[str, str]:
    """The names and ids of the images that came with the bundle of a commit; empty if there was none."""
    try:
        content = json.loads(path(root).read_text(encoding="utf-8"))
        found: Mapping[str, str] = content["images"] if content["commit"] == commit else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found
