"""The images of the stack: which of the two sets is used, and making that set complete.

The ``pulled`` set comes from registries, the ``local`` set is built here from packages. A stack uses one of them as a
whole, because their versions differ and data written by one may not open in the other.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from toolkit import compose, sources
from toolkit.compose import Docker, Result, TimedOutError, explain
from toolkit.console import say
from toolkit.errors import ToolkitError
from toolkit.files import exclusive, write_atomically
from toolkit.progress import side_by_side
from toolkit.project import LOCAL, PULLED, Project, known
from toolkit.setup import settings, setup

CHOICES = {"auto": None, "pull": PULLED, "local": LOCAL}
# What docker says when a registry was reached and would not give the image.
REFUSALS = ("manifest", "not found", "denied", "unauthorized", "toomanyrequests", "too many requests")


@dataclass(frozen=True)
class Image:
    """An image that services use; ``built`` where it is made here instead of pulled.

    ``source`` is the digest of what it is built from now; empty where the image may be of another state.
    """

    name: str
    services: tuple[str, ...]
    built: bool
    source: str = ""


@dataclass(frozen=True)
class Listed:
    """An image with the sets that it belongs to and, where it is here, its size in bytes and its date (ISO 8601)."""

    image: Image
    sets: tuple[str, ...]
    size: int | None
    created: str | None


def images_of(project: Project, docker: Docker, chosen: str, profile: str | None = None) -> list[Image]:
    """The images that one set needs for the groups that are on, in a profile (default: the one of the set-up).

    Raises:
        ToolkitError: the compose files cannot be read, or there is no such profile (exit code 2).
    """
    layers, env = settings(project, profile, images=chosen)["COMPOSE_FILE"], {**project.env, **docker.env}
    in_use = layers == env.get("COMPOSE_FILE")
    config = docker.effective(env=None if in_use else {"COMPOSE_FILE": layers})
    # An image that is named for the application without a folder to build it from comes from elsewhere.
    foreign = None if env.get("APP_CONTEXT") else env.get("APP_IMAGE")
    release = env.get("NETMON_RELEASE")
    services: dict[str, list[str]] = {}
    built: dict[str, dict[str, Any]] = {}
    for name, service in config["services"].items():
        image = service["image"]
        services.setdefault(image, []).append(name)
        if "build" in service and (name, image) != ("app", foreign):
            built.setdefault(image, service["build"])

    def source(name: str) -> str:
        # A release stays what it was made of, whatever has become of the checkout.
        if name not in built or (release and name.endswith(f":{release}")):
            return ""
        try:
            return sources.digest(project.root, built[name], local=chosen == LOCAL)
        except OSError as error:
            raise ToolkitError(f"cannot read {error.filename}", error.strerror or str(error)) from error

    return [Image(name, tuple(users), name in built, source(name)) for name, users in services.items()]


def missing(docker: Docker, images: Sequence[Image]) -> list[Image]:
    """Those of ``images`` that the engine does not have.

    Raises:
        ToolkitError: the engine does not answer.
    """
    if not images or _inspect(docker, *(image.name for image in images)).code == 0:
        return []
    return [image for image in images if _inspect(docker, image.name).code]


def stale(docker: Docker, images: Sequence[Image]) -> list[Image]:
    """Those of ``images`` that the engine has and that were built from another state of the checkout.

    Raises:
        ToolkitError: the engine does not answer.
    """
    known_of = [image for image in images if image.source]
    if not known_of:
        return []
    found = json.loads(_inspect(docker, *(image.name for image in known_of)).stdout or "[]")
    carried = {
        name: (each["Config"].get("Labels") or {}).get(sources.LABEL) for each in found for name in each["RepoTags"]
    }
    return [image for image in known_of if image.name in carried and carried[image.name] != image.source]


def _inspect(docker: Docker, *names: str) -> Result:
    result = docker("image", "inspect", *names)
    if result.code and "no such image" not in result.stderr.lower():
        raise explain("look for the images", result)
    return result


def ready(project: Project, docker: Docker) -> bool:
    """Whether a set was chosen and all of its images are here."""
    return project.images is not None and not missing(docker, images_of(project, docker, project.images))


def choose(project: Project, docker: Docker, choice: str, yes: bool) -> str:
    """Settle which set the stack uses, say so where it changes, and record it in .env.

    Args:
        project: The checkout.
        docker: Its docker.
        choice: ``pull``, ``local``, or ``auto``: what was chosen before; else what is here already; else pulled, if
            a registry can be reached.
        yes: Put the other set on existing volumes.

    Returns:
        ``pulled`` or ``local``.

    Raises:
        ToolkitError: unknown choice (exit code 2), or volumes that the other set may have written.
    """
    wanted = CHOICES[known("image set", choice, CHOICES)]
    with exclusive(project.lock_file, "choose the images"):
        recorded = project.images
        if recorded and (wanted == recorded or (wanted is None and (recorded == LOCAL or ready(project, docker)))):
            return recorded
        volumes = _volumes(docker)
        chosen, why = (wanted, "as asked for") if wanted else _automatic(project, docker, volumes=bool(volumes))
        if chosen == recorded:
            return chosen
        if recorded and volumes and not yes:
            raise ToolkitError(
                f"the {chosen} images are not put on volumes that the {recorded} ones have written",
                "their versions differ, so the data may not open",
                f"keep the {recorded} images, remove the data (invoke down --volumes), or take the risk with --yes",
            )
        images_of(project, docker, chosen)  # what cannot be read is not recorded
        say(f"images: {chosen}, {why}")
        setup(project, None, images=chosen)
        return chosen


def _volumes(docker: Docker) -> list[str]:
    label = f"label=com.docker.compose.project={docker.project_name()}"
    listed = docker.check(docker("volume", "ls", "--quiet", "--filter", label), "list the volumes")
    return listed.stdout.split()


def _automatic(project: Project, docker: Docker, *, volumes: bool) -> tuple[str, str]:
    """The set that is used where none was asked for, and why."""
    if project.images and volumes:
        return project.images, "as before"
    published = [image for image in images_of(project, docker, PULLED) if not image.built]
    here = not missing(docker, published)
    if not volumes and here:
        return PULLED, "because they are here already"
    users = {service for image in published for service in image.services}
    local = [image for image in images_of(project, docker, LOCAL) if users.intersection(image.services)]
    if not volumes and not missing(docker, local):
        return LOCAL, "because they are here already (invoke up --images=pull takes the published ones)"
    refusal = None if here else _probe(project, docker, published)
    if refusal:
        return LOCAL, f"built here from packages, because {refusal}"
    if volumes:
        raise ToolkitError(
            "cannot tell which images wrote the volumes of this project",
            ".env records none, and both are possible",
            "name them: invoke up --images=pull, or invoke up --images=local",
        )
    return PULLED, "because the registry can be reached"


def _probe(project: Project, docker: Docker, images: Sequence[Image]) -> str | None:
    """Why images cannot be pulled, or None; pulls the smallest of them to find out."""
    name = next((image.name for image in images if project.data["registry_probe"] in image.services), images[0].name)
    seconds = project.timeout("registry")
    say(f"images: asking the registry for {name} (at most {seconds:g} s)", "dim")
    try:
        result = docker("pull", name, timeout=seconds)
    except TimedOutError as error:
        if "Pulling from" in error.output:
            return None  # a slow line is no reason to build
        return f"the registry cannot be reached (no answer within {seconds:g} s)"
    if result.code == 0:
        return None
    reason = _last_line(result)
    refused = any(sign in reason.lower() for sign in REFUSALS)
    return f"the registry {f'does not give {name}' if refused else 'cannot be reached'} ({reason})"


def provide(project: Project, docker: Docker, profile: str | None = None) -> None:
    """Pull or build what the set in use lacks or has of an earlier state, for a profile (default: that of the set-up).

    A set that is complete costs two looks.

    Raises:
        ToolkitError: no set was chosen yet, or an image cannot be made available.
    """
    if project.images is None:
        raise ToolkitError("no images were chosen yet", fix="run: invoke up")
    with exclusive(project.lock_file, "provide the images"):
        wanted = images_of(project, docker, project.images, profile)
        lacking = missing(docker, wanted)
        _pull(docker, [image for image in lacking if not image.built])
        outdated = stale(docker, wanted)
        if outdated:
            say(f"  of an earlier state of this checkout: {', '.join(image.name for image in outdated)}", "dim")
        make(project, docker, [image for image in lacking if image.built] + outdated, profile)


def build(project: Project, docker: Docker, profile: str | None = None) -> None:
    """Build, through the builder's cache, everything of the set in use that is built here; local, if none was chosen.

    For a profile; default: the one of the set-up.

    Raises:
        ToolkitError: an image cannot be built.
    """
    with exclusive(project.lock_file, "build the images"):
        chosen = project.images or choose(project, docker, "local", yes=False)
        made_here = [image for image in images_of(project, docker, chosen, profile) if image.built]
        make(project, docker, made_here, profile)


def pull(project: Project, docker: Docker) -> None:
    """Pull every published image of the stack, whichever set is in use.

    Raises:
        ToolkitError: an image cannot be pulled.
    """
    with exclusive(project.lock_file, "pull the images"):
        _pull(docker, [image for image in images_of(project, docker, PULLED) if not image.built])


def _pull(docker: Docker, images: Sequence[Image]) -> None:
    def one(name: str) -> None:
        result = docker("pull", "--quiet", name)
        if result.code:
            fix = "try again, or build the images here: invoke up --images=local"
            raise ToolkitError(f"cannot pull {name}", _last_line(result), fix)

    side_by_side([image.name for image in images], one, "pulled")


def make(project: Project, docker: Docker, images: Sequence[Image], profile: str | None = None) -> None:
    """Build images, whether or not they are here; what the builder printed is kept in .netmon/build-SERVICE.log.

    Raises:
        ToolkitError: one of them cannot be built.
    """
    if not images:
        return
    layers = settings(project, profile)["COMPOSE_FILE"]
    environment = {"COMPOSE_FILE": f"{layers}:{_labels(project, images)}"}
    if project.images == LOCAL:
        _build_bases(project)
        # Other builders do not see the images that these start from.
        environment["BUILDX_BUILDER"] = "default"
    service = {image.name: image.services[0] for image in images}
    arguments = _package_index(project)

    def one(name: str) -> None:
        result = docker.compose("--progress=plain", "build", *arguments, service[name], env=environment)
        output = result.stdout + result.stderr
        log = project.lock_file.with_name(f"build-{service[name]}.log")
        write_atomically(log, output)
        if result.code:
            said = "\n    ".join([line for line in output.splitlines() if line.strip()][-15:])
            raise ToolkitError(f"cannot build {name}", said, f"the whole output is in {log}")

    side_by_side(list(service), one, "built")


def _labels(project: Project, images: Sequence[Image]) -> str:
    """A compose file that has each image say what it was built from; its name from the checkout."""
    build = {image.services[0]: {"build": {"labels": {sources.LABEL: image.source}}} for image in images}
    path = project.lock_file.with_name("labels.yml")
    write_atomically(path, json.dumps({"services": build}))
    return str(path.relative_to(project.root))


def _build_bases(project: Project) -> None:
    """Make what the local images start from; the script says what it does."""
    script = project.root / "scripts" / "base-image.sh"
    if compose.run([str(script)], cwd=project.root, capture=False).code:
        raise ToolkitError("cannot build the base of the local images", fix=f"see above; try again with: {script}")


def _package_index(project: Project) -> list[str]:
    """The build argument for this machine's package index, where pip is configured with one.

    Arguments stay readable in an image's history, so that an address with a password in it is not handed on.
    """
    url = os.environ.get("PIP_INDEX_URL", "")
    if not url:
        argv = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
        url = compose.run(argv, cwd=project.root, capture=True).stdout.strip()
    return [f"--build-arg=PIP_INDEX_URL={url}"] if url and "@" not in urlsplit(url).netloc else []


def _last_line(result: Result) -> str:
    lines = (result.stderr or result.stdout).strip().splitlines()
    return lines[-1].removeprefix("Error response from daemon: ") if lines else f"docker ended with {result.code}"


def listing(project: Project, docker: Docker) -> list[Listed]:
    """The images of both sets for the groups that are on, those of the set in use first.

    Raises:
        ToolkitError: the compose files cannot be read, or the engine does not answer.
    """
    order = [LOCAL, PULLED] if project.images == LOCAL else [PULLED, LOCAL]
    found: dict[str, tuple[Image, list[str]]] = {}
    for chosen in order:
        for image in images_of(project, docker, chosen):
            found.setdefault(image.name, (image, []))[1].append(chosen)
    rows = []
    for image, sets in found.values():
        result = _inspect(docker, image.name)
        details = json.loads(result.stdout)[0] if result.code == 0 else {}
        rows.append(Listed(image, tuple(sets), details.get("Size"), details.get("Created")))
    return rows
