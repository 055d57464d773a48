"""Loads the images of a bundle on a host without a network."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from toolkit.checkout import bundled
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core import console, envfile, files
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker
from toolkit.operate.bundle import content
from toolkit.operate.bundle.content import Bundle

SHOWN = 3


def load(project: Project, docker: Docker, path: Path) -> None:
    """Verify a bundle, load its images, and use its image set.

    Raises:
        ToolkitError: the bundle is damaged, for another kind of machine or of another release, or the disk is full.
    """
    files.make_folder(project.lock_file.parent)
    with files.exclusive(project.lock_file, "load a bundle"), Bundle.opened(path) as bundle:
        manifest = bundle.manifest
        with console.phase("verify", f"{path}, by its checksums"):
            require_checkout(project, bundle)
            size, free = path.stat().st_size, shutil.disk_usage(project.root).free
            if free < size:
                why = f"{size / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
                raise ToolkitError(f"too little disk space in {project.root}", why, "free disk space")
        with console.phase("images", f"{len(manifest.images)} images of {manifest.version}"):
            _load(project, docker, bundle)
        bundled.record(project.root, manifest.images)
        envfile.update(project.env_file, manifest.settings)
        setup(project, manifest.profile if project.profile is None else None, images=manifest.set)


def require_checkout(project: Project, bundle: Bundle) -> None:
    """Return if this checkout is that of the bundle.

    Raises:
        ToolkitError: files differ.
    """
    if found := bundle.differing(project.root):
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        why = f"it is of {bundle.manifest.version}, whose files differ from this checkout: "
        fix = f"tar -xf {bundle.path} {content.CHECKOUT}, and use that checkout"
        raise ToolkitError(f"cannot use {bundle.path}", f"{why}{', '.join(found[:SHOWN])}{more}", fix)


def _load(project: Project, docker: Docker, bundle: Bundle) -> None:
    if all(docker.image_id(name) == identifier for name, identifier in bundle.manifest.images.items()):
        console.say("  present")
        return
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=project.lock_file.parent) as folder:
        archive = Path(folder) / content.IMAGES
        bundle.extract(content.IMAGES, archive)
        docker.check(docker("load", "--quiet", "--input", str(archive)), "load the images")
    for name, identifier in bundle.manifest.images.items():
        if (found := docker.image_id(name)) != identifier:
            why = f"its id is {found}, not {identifier}" if found else "it is missing"
            raise ToolkitError(f"the engine has not loaded {name}", why, "run it again")
