"""The changes of an upgrade: the services, and the migrations of the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit import images
from toolkit.checkout.project import Project
from toolkit.core import console
from toolkit.engine import shapes
from toolkit.engine.compose import Docker
from toolkit.engine.outdated import SERVICE, outdated
from toolkit.engine.wait import expected_replicas
from toolkit.operate.deploy import release

MIGRATIONS = "app/netmon/migrations/"
SHOWN = 3


@dataclass(frozen=True)
class Change:
    """A service that the upgrade starts, recreates or removes. ``running`` is its present image; a new one has none."""

    service: str
    what: str
    running: str = ""


@dataclass(frozen=True)
class Plan:
    """The changes, in the order in which they are made, and the files of new migrations."""

    changes: tuple[Change, ...]
    migrations: tuple[str, ...]
    release: frozenset[str]

    @property
    def servers(self) -> list[str]:
        """The services to recreate before the application: all but those of a release and those to remove."""
        return [each.service for each in self.changes if each.service not in self.release and each.what != REMOVED]

    @property
    def deploys(self) -> bool:
        """Whether application and worker are replaced."""
        return bool(self.migrations) or any(each.service in self.release for each in self.changes)

    def show(self) -> None:
        """Print the changes as a table, then the migrations."""
        console.table(("service", "change"), [(each.service, each.what) for each in self.changes])
        if self.migrations:
            console.say(f"  migrations of the database: {', '.join(self.migrations)}")


NEW, REMOVED = "new", "no longer in the files: removed, its volumes are kept"


def make(project: Project, docker: Docker, differing: frozenset[str] | None) -> Plan:
    """The changes between the running containers and the files of the checkout.

    Args:
        project: The checkout.
        docker: Docker in its folder.
        differing: The files that differ from those with which the stack was started; None if that is not known: then
            every service that reads files of the checkout is recreated.

    Raises:
        ToolkitError: the engine does not answer, or Compose cannot read the files.
    """
    config = docker.effective()
    containers = docker.containers(config["name"])
    running = {each["Config"]["Labels"][SERVICE]: each["Config"]["Image"] for each in containers}
    stale = {
        service
        for image in images.outstanding(docker, images.images_of(project, docker, project.images or "")).build
        for service in image.services
    }
    configured = outdated(docker, containers)
    wanted = expected_replicas(config)
    changes = []
    for service in in_order(config):
        if service not in wanted:
            continue
        spec = config["services"][service]
        if service not in running:
            changes.append(Change(service, NEW))
        elif what := _reason(project.root, service, spec, running[service], configured, stale, differing):
            changes.append(Change(service, what, running[service]))
    changes += [Change(each, REMOVED, running[each]) for each in sorted(running.keys() - config["services"].keys())]
    own = frozenset(release.services(docker))
    if differing and any(name.startswith("app/") for name in differing):
        known = {each.service for each in changes}
        changes += [Change(each, "its code", running[each]) for each in sorted(own & running.keys() - known)]
    new = sorted(Path(name).name for name in differing or () if name.startswith(MIGRATIONS))
    return Plan(tuple(changes), tuple(new), own)


def _reason(
    root: Path,
    service: str,
    spec: shapes.Service,
    image: str,
    configured: set[str],
    stale: set[str],
    differing: frozenset[str] | None,
) -> str:
    """Why a service is recreated; empty if it is not."""
    if image != spec["image"]:
        return f"image {image} → {spec['image']}"
    if service in stale:
        return "its image is built again"
    if service in configured:
        return "its settings"
    names = sorted(_mounted(root, spec, differing))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"its files: {', '.join(names[:SHOWN])}{more}" if names else ""


def _mounted(root: Path, spec: shapes.Service, differing: frozenset[str] | None) -> Iterator[str]:
    """The changed files of the checkout that a service mounts: a running container does not read them all again."""
    for mount in spec.get("volumes", []):
        source = Path(mount.get("source") or "")
        if mount["type"] != "bind" or not source.is_relative_to(root):
            continue
        inner = source.relative_to(root).as_posix()
        if differing is None:
            yield inner
        else:
            yield from (name for name in differing if name == inner or name.startswith(f"{inner}/"))


def in_order(config: shapes.Configuration) -> Sequence[str]:
    """The services, each after those that it depends on; otherwise in the order of the files."""
    services: Mapping[str, shapes.Service] = config["services"]
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in found or name not in services:
            return
        for needed in services[name].get("depends_on") or {}:
            visit(needed)
        found[name] = None

    for name in services:
        visit(name)
    return list(found)
