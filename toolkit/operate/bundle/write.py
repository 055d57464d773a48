"""Writes a bundle on a host with a network."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from toolkit import images
from toolkit.checkout.project import Project
from toolkit.checkout.setup import settings
from toolkit.core import console, files
from toolkit.core.errors import ToolkitError
from toolkit.engine import compose
from toolkit.engine.compose import Docker
from toolkit.operate import revision
from toolkit.operate.bundle import content
from toolkit.operate.bundle.content import Manifest
from toolkit.operate.deploy import release

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""The versions of Python that a host may have."""
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
"""The C libraries that every supported distribution has, in the words of wheels."""


NAMING = ("REGISTRY", "REGISTRY_QUAY", "APP_IMAGE")
"""The settings on which the names of images depend, besides the release."""


def bundle(project: Project, docker: Docker, target: Path, profile: str | None = None) -> None:
    """Write one file from which a host without a network can start this release.

    Args:
        project: The checkout; its tracked files must be committed.
        docker: Docker in its folder.
        target: The file to write.
        profile: The profile whose images are included, with the groups that are on; default: the one in use.

    Raises:
        ToolkitError: a file of the checkout was changed, an image or a package is missing, or the disk is full; there
            is no file then.
    """
    profile = profile or project.require_setup()
    project.layers(profile)
    if target.exists():
        raise ToolkitError(f"{target} exists", fix="remove it, or choose another --output")
    if not target.parent.is_dir():
        raise ToolkitError(f"cannot write {target}", f"the folder {target.parent} does not exist", "create it")
    here = revision.require_committed(project.root, "write a bundle")
    with files.exclusive(project.lock_file, "write a bundle"), tempfile.TemporaryDirectory(
        prefix=".bundle-", dir=target.parent
    ) as name:  # fmt: skip
        folder = Path(name)
        try:
            with console.phase("checkout", f"a clone of {here.name}"):
                _clone(project.root, folder / content.CHECKOUT)
            with console.phase("packages", f"of Python {', '.join(PYTHONS)}"):
                _download(project.root, folder / content.PACKAGES)
            with console.phase("images", f"of the profile {profile} and its groups"):
                known = _save(project, docker, profile, folder / content.IMAGES)
            named = {name: value for name, value in project.env.items() if name in NAMING and value}
            made = Manifest(content.FORMAT, here.name, here.commit, platform.machine(), str(project.images), profile,
                            known, named)  # fmt: skip
            (folder / content.MANIFEST).write_text(made.text(), encoding="utf-8")
            with console.phase("pack", "with checksums"):
                content.write(folder, target)
        except OSError as error:
            raise files.write_error(target, error) from error
    console.say(f"{target}: {target.stat().st_size / 1e9:.2f} GB, SHA-256 {content.digest(target)}", "ok")
    console.say("on the host:")
    console.say(f"  tar -xf {target.name} {content.CHECKOUT} && cd {content.CHECKOUT}")
    console.say(f"  scripts/quickstart.sh --profile={profile} --bundle=../{target.name}")


def _clone(root: Path, target: Path) -> None:
    for argv in (
        ["git", "clone", "--quiet", "--no-hardlinks", str(root), str(target)],
        ["git", "-C", str(target), "remote", "remove", "origin"],
    ):
        result = compose.run(argv, cwd=root)
        if result.code:
            raise ToolkitError("cannot clone the checkout", " ".join(result.stderr.split())[-300:])


def _download(root: Path, target: Path) -> None:
    """Download the packages of the toolkit for every version of Python, as pip on this host is configured.

    Raises:
        ToolkitError: a package cannot be downloaded.
    """
    data = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    required = data["project"]["dependencies"]
    for version in PYTHONS:
        options = [f"--platform={each}_{platform.machine()}" for each in PLATFORMS]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
        argv = [*pip, f"--dest={target}", "--only-binary=:all:", f"--python-version={version}", *options, *required]
        result = compose.run(argv, cwd=root)
        if result.code:
            why = " ".join(result.stderr.split())[-300:]
            raise ToolkitError(f"cannot download the packages for Python {version}", why, "check the index of pip")


def _save(project: Project, docker: Docker, profile: str, target: Path) -> dict[str, str]:
    """Save the images, complete; returns their ids.

    Raises:
        ToolkitError: no image set was chosen, an image cannot be provided, or the disk is full.
    """
    # Not the release that runs here, but that of the checkout, which a new host starts with.
    docker = docker.using(**{release.VARIABLE: "dev"})
    images.provide(project, docker, profile)
    groups = [name for name in settings(project)["COMPOSE_PROFILES"].split(",") if name in project.groups]
    wanted = images.images_of(project, docker, str(project.images), profile, groups)
    # Without its digest, which an archive of images does not keep: the manifest has the id.
    names = sorted({each.name.partition("@")[0] for each in wanted})
    for each in wanted:
        if "@" in each.name:
            tagged = docker("tag", each.name, each.name.partition("@")[0])
            docker.check(tagged, f"tag {each.name}")
    known = {name: docker.image_id(name) or "" for name in names}
    if missing := [name for name, identifier in known.items() if not identifier]:
        raise ToolkitError("an image is missing", ", ".join(missing), "run: invoke images.prepare")
    size = sum(_size(docker, name) for name in names)
    if shutil.disk_usage(target.parent).free < size:
        why = f"the images may take {size / 1e9:.1f} GB, {shutil.disk_usage(target.parent).free / 1e9:.1f} GB are free"
        raise ToolkitError(f"too little disk space in {target.parent}", why, "choose another --output")
    script = 'set -o pipefail; docker save "${@:2}" | gzip -1 >"$1"'
    result = compose.run(["bash", "-c", script, "save", str(target), *names], cwd=docker.root)
    docker.check(result, "save the images")
    console.say(f"  {len(names)} images, {target.stat().st_size / 1e9:.2f} GB")
    return {name: str(identifier) for name, identifier in known.items()}


def _size(docker: Docker, name: str) -> int:
    result = docker.check(docker("image", "inspect", "--format", "{{.Size}}", name), f"inspect {name}")
    return int(result.stdout)
