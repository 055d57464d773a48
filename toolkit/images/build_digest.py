"""The digest of an image's build inputs, stored as a label, so that stale images are detected."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

LABEL = "netmon.source"
"""The label of an image with the digest of its build inputs."""

BASES = ("images/base", "images/python")
"""The build contexts of the base images of all local images."""

EXCLUDED = "__pycache__"


def digest(root: Path, build: Mapping[str, Any], *, local: bool) -> str:
    """The digest of the build settings and of the files in the build contexts: names, executable bits and contents.

    It is the same for every copy of a checkout. Files in .dockerignore are included, which costs at most a build from
    the builder's cache; folders with a leading dot are not.

    Args:
        root: The checkout.
        build: The service's ``build`` in the effective configuration.
        local: Whether the image is based on `BASES`.

    Returns:
        Hexadecimal; empty if a context is not a folder inside the checkout, so that its content is unknown.

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
    """The files and symbolic links below a folder, sorted by name."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if not path.name.startswith(".") and path.name != EXCLUDED:
                yield from _files(path)
        elif path.is_symlink() or path.is_file():
            yield path
