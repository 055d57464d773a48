"""The existing containers of the project, compared with those that this checkout would start."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.checkout.variables import parse
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome
from toolkit.engine import shapes
from toolkit.engine.compose import Docker

COMPOSE = "com.docker.compose."
COLUMNS = (
    "{{.ID}}", "{{.Names}}", "{{.State}}", "{{.Image}}", "{{.Ports}}",
    *(f'{{{{.Label "{COMPOSE}{label}"}}}}' for label in
      ("project", "service", "oneoff", "project.working_dir", "project.config_files")),
)  # fmt: skip
LISTED = ("ps", "--all", "--no-trunc", "--filter", f"label={COMPOSE}project", "--format", "\t".join(COLUMNS))
"""The arguments of a `Docker.query`: the containers of every Compose project, newest first.

Without ``--no-trunc``, docker shortens the names of images.
"""

IGNORE_ORPHANS = "COMPOSE_IGNORE_ORPHANS"
"""Compose's own setting: containers of unknown services belong to the user."""

CHECK = "leftovers"
SHOWN = 3


@dataclass(frozen=True)
class Listed:
    """A container, with the folder and the compose files with which Compose created it."""

    id: str
    name: str
    status: str
    image: str
    ports: str
    service: str
    folder: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Leftover:
    """The containers of a service that the present files do not have; ``origin`` is the part that has it, if known."""

    service: str
    origin: str
    containers: tuple[Listed, ...]

    @property
    def title(self) -> str:
        """The service, its origin, and its published ports."""
        ports = ", ".join(dict.fromkeys(each.ports for each in self.containers if "->" in each.ports))
        notes = [*([f"of {self.origin}"] if self.origin else []), *([f"publishes {ports}"] if ports else [])]
        return self.service + (f" ({', '.join(notes)})" if notes else "")


@dataclass(frozen=True)
class Existing:
    """The containers of a project, without one-off containers, newest first.

    ``known`` are the services of the present files in every group; None if the files were not read. ``ignored``: the
    user wants orphans ignored.
    """

    project: Project
    name: str
    containers: tuple[Listed, ...]
    known: frozenset[str] | None = None
    ignored: bool = False

    @classmethod
    def read(cls, project: Project, docker: Docker, name: str | None = None) -> Existing:
        """Read the containers, with the configuration only if ``name`` is None.

        Raises:
            ToolkitError: the engine does not answer, or Compose cannot read the files.
        """
        config = docker.effective() if name is None else None
        own = name or (config["name"] if config else "")
        found = tuple(listed(docker, own))
        known = frozenset(config["services"]) if config else None
        if known is not None and any(each.service not in known for each in found):
            known |= docker.effective(every_group=True)["services"].keys()
        return cls(project, own, found, known, known is not None and _ignores_orphans(project))

    def serving(self, config: shapes.Configuration) -> frozenset[str]:
        """The services that run in the image of the configuration: they have opened their data."""
        services = config["services"]
        return frozenset(
            each.service
            for each in self.containers
            if each.status == "running" and each.image == services.get(each.service, {"image": ""})["image"]
        )

    @property
    def leaving(self) -> frozenset[str]:
        """The names of the containers that `invoke up` keeps for their service, or removes."""
        kept = {each.service for each in self.leftovers if self.ignored and not each.origin}
        return frozenset(each.name for each in self.containers if each.service not in kept)

    @cached_property
    def foreign(self) -> Mapping[str, Sequence[Listed]]:
        """The containers that another folder has created, by this folder."""
        found: dict[str, list[Listed]] = {}
        for each in self.containers:
            if each.folder and not same_folder(each.folder, self.project.root):
                found.setdefault(each.folder, []).append(each)
        return found

    @cached_property
    def leftovers(self) -> Sequence[Leftover]:
        """The services with containers that no present file has, of another profile or image set first."""
        if self.known is None:
            return ()
        found: dict[str, list[Listed]] = {}
        for each in self.containers:
            if each.service not in self.known:
                found.setdefault(each.service, []).append(each)
        grouped = [Leftover(name, origin(self.project, name), tuple(each)) for name, each in found.items()]
        return sorted(grouped, key=lambda each: (not each.origin, each.service))

    @property
    def switched(self) -> Sequence[Leftover]:
        """The leftovers of another profile or image set."""
        return [each for each in self.leftovers if each.origin]

    @property
    def orphans(self) -> Sequence[Leftover]:
        """The leftovers of services that were renamed or removed; none if the user wants them ignored."""
        return [] if self.ignored else [each for each in self.leftovers if not each.origin]

    @property
    def profile(self) -> str | None:
        """The profile of the latest container; None without a container, or if its files are of no profile."""
        names = self._files()
        of = [name for name in self.project.data["profiles"] if set(self.project.layers(name)) <= names]
        return max(of, key=lambda name: len(self.project.layers(name)), default=None)

    @property
    def images(self) -> str | None:
        """The image set of the latest container; None without a container."""
        names = self._files()
        return (LOCAL if names & set(self.project.local_image_files) else PULLED) if names else None

    def _files(self) -> set[str]:
        """The compose files of the latest container, relative to its folder."""
        latest = next((each for each in self.containers if each.files), None)
        return {name.removeprefix(f"{latest.folder}/") for name in latest.files} if latest else set()

    def findings(self) -> list[Finding]:
        """The differences from the containers of this checkout; one ok finding if there is none."""
        return list(self._problems()) or [Finding(CHECK, Outcome.OK, "no container of another folder or profile")]

    def _problems(self) -> Iterator[Finding]:
        for folder in self.foreign:
            error = foreign_error(self, folder)
            yield replace(Finding.of_error(CHECK, error), subject=folder)
        if self.foreign:
            return
        for each in self.switched:
            fix = "run: invoke up, which removes it"
            yield Finding(CHECK, Outcome.FAILED, f"{each.title} is left over", fix, each.service)
        for each in self.orphans:
            what = f"{each.title} is in no compose file, but has a container"
            fix = "invoke up removes it, after confirmation; to keep it, add its file to COMPOSE_FILE in .env"
            yield Finding(CHECK, Outcome.WARNING, what, fix, each.service)
        pairs = (("profile", self.profile, self.project.profile), ("image set", self.images, self.project.images))
        for what, present, wanted in pairs:
            if present and wanted and present != wanted:
                text = f"the {what} of the containers is {present}, but .env names {wanted}"
                yield Finding(CHECK, Outcome.WARNING, text, "run: invoke up", what)


def _ignores_orphans(project: Project) -> bool:
    setting = os.environ.get(IGNORE_ORPHANS) or project.env.get(IGNORE_ORPHANS, "")
    return setting.lower() in {"1", "true"}


def listed(docker: Docker, project: str) -> Iterator[Listed]:
    """The containers of a project, without one-off containers, newest first.

    Raises:
        ToolkitError: the engine does not answer.
    """
    for line in docker.check(docker.query(*LISTED), "list the containers").stdout.splitlines():
        cells = line.split("\t")
        if len(cells) != len(COLUMNS):
            continue
        identifier, name, status, image, ports, owner, service, oneoff, folder, files = cells
        if owner == project and oneoff.lower() != "true":
            named = tuple(filter(None, files.split(",")))
            yield Listed(identifier, name, status, image, ports, service, folder, named)


def same_folder(one: str, other: Path) -> bool:
    """Whether two paths lead to the same folder, also by symbolic links."""
    return Path(one) == other or Path(os.path.realpath(one)) == Path(os.path.realpath(other))


def exists(folder: str) -> bool:
    """Whether a file or folder exists; one below a folder that this account may not enter is assumed to exist."""
    try:
        Path(folder).stat()
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def origin(project: Project, service: str) -> str:
    """The part of the shipped files that has a service which the present files lack; empty if none has it."""
    for profile in project.data["profiles"]:
        if profile != project.profile and any(_has(project, name, service) for name in project.layers(profile)):
            return f"the profile {profile}"
    if project.images != LOCAL and any(_has(project, name, service) for name in project.local_image_files):
        return "the local images"
    return ""


def _has(project: Project, layer: str, service: str) -> bool:
    return service in ((parse(project.root / layer) or {}).get("services") or {})


def foreign_error(existing: Existing, folder: str) -> ToolkitError:
    """The error for containers of another folder: its name, and the line that separates the two checkouts."""
    services = list(dict.fromkeys(each.service for each in existing.foreign[folder]))
    named = ", ".join(services[:SHOWN]) + (f" and {len(services) - SHOWN} more" if len(services) > SHOWN else "")
    if exists(folder):
        why = f"{folder} has started {named}"
        fix = f"give this checkout another project name: echo COMPOSE_PROJECT_NAME={other_name(existing)} >>.env"
        return ToolkitError(f"the project {existing.name} belongs to another folder", why, fix)
    why = f"{folder}, which does not exist on this machine, has started {named}"
    fix = "if this checkout was moved from there: invoke up --yes; else: echo COMPOSE_PROJECT_NAME={} >>.env"
    return ToolkitError(f"the project {existing.name} belongs to another folder", why, fix.format(other_name(existing)))


def other_name(existing: Existing) -> str:
    """A name for the project of this checkout beside the other one: that of its folder."""
    own = "".join(char if char.isascii() and char.isalnum() else "-" for char in existing.project.root.name.lower())
    suffix = own.strip("-")
    return f"{existing.name}-{suffix if suffix and suffix != existing.name else 2}"
