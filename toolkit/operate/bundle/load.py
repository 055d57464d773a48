"""Loads the images of a bundle on a host without a network."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
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


def load(project: Project, docker: Docker, path: Path, *, upgrade: bool = False) -> None:
    """Verify a bundle, load its images, and use its image set.

    Args:
        project: The checkout, which must be that of the bundle.
        docker: Docker in its folder.
        path: The bundle.
        upgrade: Leave the names of the live release to its images: they are the way back.

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
            before = {name: docker.image_id(name) for name in _of_releases(manifest.images)}
            _load(project, docker, bundle)
            _name(docker, before if upgrade else {}, manifest.images)
        bundled.record(project.root, manifest.images, manifest.commit)
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


def _of_releases(images: Mapping[str, str]) -> list[str]:
    """The images whose names depend on the release."""
    return [name for name in images if name.endswith(f":{bundled.RELEASE}")]


def _name(docker: Docker, before: Mapping[str, str | None], images: Mapping[str, str]) -> None:
    """Tag the images of the bundle's release, and restore the tags that the engine has moved to them."""
    for name in _of_releases(images):
        tag = f"{name.rpartition(':')[0]}:{bundled.TAG}"
        docker.check(docker("tag", images[name], tag), f"tag {tag}")
    for name, identifier in before.items():
        if identifier and identifier != images[name]:
            docker.check(docker("tag", identifier, name), f"restore the tag {name}")
