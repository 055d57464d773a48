"""The images that came with a bundle, whose content was verified: their digests in registries are unknown here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from toolkit.core import files


def path(root: Path) -> Path:
    """The record of a checkout."""
    return root / ".netmon" / "bundle.json"


def record(root: Path, images: Mapping[str, str]) -> None:
    """Record the names and ids of the images that were loaded.

    Raises:
        ToolkitError: the file cannot be written.
    """
    files.write_atomically(path(root), json.dumps(dict(images), indent=2) + "\n")
