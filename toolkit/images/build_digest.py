"""What an image is built from, as a digest that it carries, so that one of another state of the checkout is known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

LABEL = "netmon.source"
"""The label of an image with the digest of what it was built from."""

BASES = ("images/base", "images/python")
"""The folders that every local image is built on."""

LEFT_OUT = "__pycache__"


def digest(root: Path, build: Mapping[str, Any], *, local: bool) -> str:
    """The digest of what an image is built from: its settings, and the files of its contexts by name, mode and content.

    It is the same for every copy of a checkout. What .dockerignore keeps out counts as well, which costs a build from
    the builder's cache at most; folders whose name begins with a dot do not.

    Args:
        root: The checkout.
        build: The service's `build` in the effective configuration.
        local: Whether it stands on the bases of the local images.

    Returns:
        Hexadecimal; empty where a context is no folder inside of the checkout, and so nothing is known of it.

    Raises:
        OSError: a file cannot be read.
    """
    contexts = {"": build.get("context", ""), **build.get("additional_contexts", {})}
    folders = {name: Path(context).resolve() for name, context in contexts.items()}
    if not all(folder.is_dir() and root.resolve() in folder.parents for folder in folders.values()):
        return ""
    bases = {base: root / base for base in BASES} if local else {}
    settings = {name: value for name, value in build.items() if name not in {"context", "additional_contexts"}}
    found = sha256(json.dumps(settings, sort_keys=True).encode())
    for name, folder in sorted({**folders, **bases}.items()):
        for path in _files(folder):
            content = bytes(path.readlink()) if path.is_symlink() else path.read_bytes()
            executable = bool(path.lstat().st_mode & 0o100)
            line = (name, str(path.relative_to(folder)), executable, sha256(content).hexdigest())
            found.update(json.dumps(line).encode())
    return found.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """The files and links below a folder, in the order of their names."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if not path.name.startswith(".") and path.name != LEFT_OUT:
                yield from _files(path)
        elif path.is_symlink() or path.is_file():
            yield path
