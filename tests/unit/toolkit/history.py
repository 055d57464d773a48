"""Builders of what an earlier run has left: lines of `docker ps`, and the files of volumes."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Mapping
from pathlib import Path

from toolkit.checkout.project import Project
from toolkit.engine import stores
from toolkit.engine.stores import Store


def listing(
    project: Project,
    service: str,
    *,
    folder: str = "",
    profile: str = "dev",
    images: str = "local",
    status: str = "running",
    image: str = "",
    ports: str = "",
    owner: str = "network-monitor",
    oneoff: bool = False,
) -> str:
    """A line of the listing of containers; its folder is that of the checkout by default."""
    folder = folder or str(project.root)
    layers = project.compose_files(profile, images) if project.data else []
    files = ",".join(f"{folder}/{name}" for name in layers)
    name = f"{owner}-{service}-1"
    cells = (f"id-{name}", name, status, image or f"{service}:1", ports, owner, service, str(oneoff), folder, files)
    return "\t".join(cells) + "\n"


def fill(folder: Path, tree: Mapping[str, str]) -> None:
    """Write files; a path that ends with a slash is an empty folder."""
    for path, text in tree.items():
        target = folder / path
        (target if path.endswith("/") else target.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            target.write_text(text, encoding="latin-1")


def looked(root: Path, *wanted: Store) -> str:
    """The output of the inspection; run by this machine's shell, of volumes that are folders of ``root``."""
    script = stores.script(wanted, str(root))
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, cwd=root).stdout


def reported(volume: str, tree: Mapping[str, str]) -> str:
    """The output of the inspection of a volume with these files."""
    tops = sorted({path.partition("/")[0] for path in tree} | set(tree))
    lines = [f"entry\t{volume}\t{path}\t\n" for path in tops]
    lines += [f"text\t{volume}\t{path}\t{base64.b64encode(text.encode()).decode()}\n" for path, text in tree.items()]
    return "".join(lines)
