"""Build images on this host."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from toolkit.checkout.project import LOCAL, Project
from toolkit.core.errors import ToolkitError
from toolkit.core.files import write_atomically
from toolkit.core.progress import run_in_parallel
from toolkit.engine import compose
from toolkit.engine.compose import Docker
from toolkit.images import build_digest
from toolkit.images.sets import Image, environment

AT_ONCE = 4
"""Parallel builds: more than processors, because a build also waits for downloads and for apt's lock."""


def build_images(
    project: Project,
    docker: Docker,
    images: Sequence[Image],
    profile: str | None = None,
    groups: Iterable[str] | None = None,
) -> None:
    """Build images, even if they exist; the output of each build is saved in .netmon/build-SERVICE.log.

    Raises:
        ToolkitError: an image cannot be built.
    """
    if not images:
        return
    env = environment(project, None, profile, groups)
    env["COMPOSE_FILE"] += f":{_labels(project, images)}"
    # The engine's own builder, named like its context: it uses local base images without contacting a registry. Other
    # builders have no access to local images.
    env["BUILDX_BUILDER"] = docker("context", "show").stdout.strip() or "default"
    if project.images == LOCAL:
        _build_bases(project)
    first = project.data["longest_builds"]
    ordered = sorted(images, key=lambda image: not set(first).intersection(image.services))
    service = {image.name: image.services[0] for image in ordered}
    arguments = _package_index(project)

    def build(name: str) -> None:
        result = docker.compose("--progress=plain", "build", *arguments, service[name], env=env)
        output = result.stdout + result.stderr
        log = project.lock_file.with_name(f"build-{service[name]}.log")
        write_atomically(log, output)
        if result.code:
            last_lines = "\n    ".join([line for line in output.splitlines() if line.strip()][-15:])
            raise ToolkitError(f"cannot build {name}", last_lines, f"the complete output is in {log}")

    run_in_parallel(list(service), build, "built", workers=AT_ONCE)


def _labels(project: Project, images: Sequence[Image]) -> str:
    """Write a compose file that labels each image with its build digest; returns its path, relative to the checkout."""
    build = {image.services[0]: {"build": {"labels": {build_digest.LABEL: image.source}}} for image in images}
    path = project.lock_file.with_name("labels.yml")
    write_atomically(path, json.dumps({"services": build}))
    return str(path.relative_to(project.root))


def _build_bases(project: Project) -> None:
    """Build the base images of the local images; the script prints its progress."""
    script = project.root / "scripts" / "base-image.sh"
    if compose.run([str(script)], cwd=project.root, capture=False).code:
        raise ToolkitError("cannot build the base of the local images", fix=f"see above; retry with: {script}")


def _package_index(project: Project) -> list[str]:
    """The build argument for the package index that pip is configured with on this host, if any.

    Build arguments are readable in an image's history, so a URL with a password is not passed.
    """
    url = os.environ.get("PIP_INDEX_URL", "")
    if not url:
        argv = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
        url = compose.run(argv, cwd=project.root, capture=True).stdout.strip()
    return [f"--build-arg=PIP_INDEX_URL={url}"] if url and "@" not in urlsplit(url).netloc else []
