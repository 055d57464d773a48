"""Starts and verifies the stack, and stops it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from toolkit import images
from toolkit.checkout import generated
from toolkit.checkout.project import Project
from toolkit.checkout.setup import settings, setup
from toolkit.checks import doctor, preflight
from toolkit.checks.doctor.secrets import of_rotation
from toolkit.core import console, files, terminal
from toolkit.core.errors import ToolkitError, require_known
from toolkit.engine import health, store_versions
from toolkit.engine.compose import Docker
from toolkit.engine.existing import Existing
from toolkit.engine.health import ServiceState
from toolkit.engine.outdated import outdated
from toolkit.engine.volumes import Inspection
from toolkit.engine.wait import wait
from toolkit.images import unavailable
from toolkit.operate import deploy, live_revision, previous, silences

PROXY = "proxy"
SILENCE = "invoke up"
"""The comment of the silence."""


@dataclass(frozen=True)
class Options:
    """The options of `up`.

    ``timeout`` is in seconds, for the services to become healthy. ``profile`` None keeps the profile of the last setup;
    ``images`` is ``auto``, ``pull`` or ``local``. Groups in ``without`` lose their containers and keep their volumes.
    ``yes`` confirms: switching image sets on existing volumes, and removing the containers of services that no compose
    file has, or of a folder that no longer exists.
    """

    timeout: float
    profile: str | None = None
    images: str = "auto"
    with_: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    smoke: bool = True
    yes: bool = False


def up(project: Project, docker: Docker, options: Options) -> None:
    """Set up the checkout, provide the images, start every service, wait until all are healthy, run the smoke checks.

    Each step does only the missing work, so the next run completes an interrupted one.

    Raises:
        ToolkitError: a step failed, a name is unknown (exit code 2), or Ctrl-C (exit code 130).
    """
    if options.profile:
        project.layers(options.profile)
    groups = choose_groups(project, options.with_, options.without)
    require_known("image set", options.images, images.CHOICES)
    try:
        with files.exclusive(project.lock_file, "bring the stack up"):
            doctor.require_engine(docker)
            with console.phase("setup", ".env and secrets/; existing values are kept"):
                for line in setup(project, options.profile, groups=groups, folder=docker.data_root()):
                    console.say(f"  {line}")
                doctor.require_supported_host(project, docker)
                doctor.require_engine_folder(docker)
                doctor.require_readable_mounts(project, docker)
                existing = Existing.read(project, docker)
                _require_same_stores(docker, existing)
                taken_over = previous.take_over(existing, options.yes)
                leftovers = previous.removable(existing, options.yes)
                doctor.require_free_ports(project, docker, existing.leaving)
                data = Inspection.begin(project, docker, existing)
            with console.phase("images", "pulls or builds missing images"):
                images.choose(project, docker, options.images, options.yes)
                images.provide(project, docker)
                data.require()
            deploy.recover(project, docker, project.timeout("replica"))
            present = health.container_states(docker, docker.project_name())
            with silenced(project, docker, present):
                with console.phase("up", "containers, networks and volumes of the project"):
                    removed = previous.remove(docker, leftovers, taken_over)
                    present = [state for state in present if state.container not in removed]
                    remove_switched_off(docker, present)
                    end_restarts(docker, present)
                    running = start(docker, options.timeout)
                    generated.forget(project)
                    live_revision.started(project)
                    if leftovers:
                        previous.remove_networks(docker)
                if options.smoke:
                    from toolkit.checks.smoke import smoke

                    with console.phase("smoke", "uses every service as its clients do; creates one probe"):
                        report = smoke(project, docker, project.timeout("smoke"))
                        report.show()
            show_addresses(project, docker, running)
            unavailable.show(project)
            preflight.announce(project, docker)
            for finding in of_rotation(project):
                console.say(f"\n{finding.detail}; {finding.fix}", finding.outcome)
            if options.smoke:
                report.require()
    except KeyboardInterrupt as error:
        raise ToolkitError(
            "interrupted",
            "started containers keep running",
            "run invoke up to continue, or invoke down",
            code=terminal.INTERRUPTED,
        ) from error


def _require_same_stores(docker: Docker, existing: Existing) -> None:
    """Return if no store changes its major version.

    Raises:
        ToolkitError: one does; its containers are unchanged.
    """
    running = {each.service: each.image for each in existing.containers}
    wanted = {name: spec["image"] for name, spec in docker.effective()["services"].items()} if running else {}
    store_versions.require_same_major(running, wanted)


def choose_groups(project: Project, with_: Iterable[str], without: Iterable[str]) -> list[str]:
    """The enabled groups: the present ones, plus ``with_``, minus ``without``.

    Raises:
        ToolkitError: a group is unknown, cannot be disabled, or is named in both (exit code 2).
    """
    on = {name for name in settings(project)["COMPOSE_PROFILES"].split(",") if name in project.groups}
    added = {require_known("group", name, project.groups) for name in with_}
    removed = set(without)
    optional = {group.name for group in project.groups.values() if group.default} | on
    if required := sorted(removed - optional):
        only = f"only {', '.join(sorted(optional))} can"
        raise ToolkitError(f"{', '.join(required)} cannot be disabled", only, "invoke up --help", code=2)
    if both := sorted(added & removed):
        raise ToolkitError(
            f"--with and --without both name {', '.join(both)}", fix="name it in one option only", code=2
        )
    return [name for name in project.groups if name in (on | added) - removed]


@contextmanager
def silenced(project: Project, docker: Docker, present: Sequence[ServiceState]) -> Iterator[None]:
    """Silence the alerts of the services that Compose recreates or removes, and of their clients, during the block."""
    affected: list[str] = []
    if any(state.service == "alertmanager" and state.status == "running" for state in present):
        services = docker.effective()["services"]
        changed = outdated(docker, docker.containers(docker.project_name()))
        changed |= {state.service for state in present} - services.keys()
        clients = {name for name, service in services.items() if changed & (service.get("depends_on") or {}).keys()}
        affected = sorted(changed | clients) if changed else []
    if not affected:
        yield
        return
    with console.phase("silence", f"in Alertmanager, for the alerts of {', '.join(affected)}"):
        silences.begin(project, docker, SILENCE, affected, silences.RESTARTING)
    try:
        yield
    finally:
        silences.end(project, docker, SILENCE)


def remove_switched_off(docker: Docker, present: Sequence[ServiceState]) -> None:
    """Stop and remove the containers of services in disabled groups; their volumes are kept."""
    others = {state.service for state in present} - docker.effective()["services"].keys()
    if off := sorted(others and others & docker.effective(every_group=True)["services"].keys()):
        removed = docker.compose("--profile", "*", "rm", "--stop", "--force", *off)
        docker.check(removed, f"remove {', '.join(off)}")
        console.say(f"  {', '.join(off)}: disabled, stopped and removed; the volumes are kept")


def end_restarts(docker: Docker, present: Sequence[ServiceState]) -> None:
    """Stop the containers in a restart loop, so that `start` does not wait for the engine's restart backoff."""
    services = docker.effective()["services"]
    if looping := [state.id for state in present if state.crash_looping and state.service in services]:
        docker.check(docker("stop", *looping), "stop the containers in a restart loop")


def start(docker: Docker, timeout: float) -> list[ServiceState]:
    """Run ``docker compose up``, and show the progress of every service until all are healthy; returns their states.

    Raises:
        ToolkitError: see `wait`; Compose is stopped then.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        # Without --wait: Compose would neither show why a service fails nor give up on one that keeps restarting.
        arguments = ("--progress", "quiet", "up", "--detach", "--no-build", "--pull", "never")
        starting = pool.submit(docker.compose, *arguments, stop=stop)
        try:
            return wait(docker, timeout, starting=starting)
        finally:
            stop.set()


def show_addresses(project: Project, docker: Docker, found: Sequence[ServiceState]) -> None:
    """Print the addresses of the published services, and the next commands."""
    console.say("")
    if any(state.service == PROXY and state.ports for state in found):
        url = docker.effective()["services"][PROXY]["environment"]["PUBLIC_URL"]
        console.address(f"{url}", project.addresses[PROXY])
        if any(state.service == "grafana" for state in found):
            console.address(f"{url}/grafana/", project.addresses["grafana"])
    for service, what in project.addresses.items():
        if service == PROXY:
            continue
        scheme = "" if service == "kafka" else "http://"
        for port in dict.fromkeys(port for state in found if state.service == service for port in state.ports):
            console.address(f"{scheme}{port.address}", what)
    console.say("  invoke status · invoke logs --follow · invoke smoke · invoke down")


def down(project: Project, docker: Docker, *, volumes: bool = False, yes: bool = False) -> None:
    """Stop and remove the project's containers and networks, with ``volumes`` also its data.

    Raises:
        ToolkitError: the engine is unavailable, the deletion of volumes is not confirmed, or something was not removed.
    """
    with files.exclusive(project.lock_file, "take the stack down"):
        name = project_name(docker)
        require_removable(project, docker, name)
        before = Resources.of(docker, name)
        removable = before if volumes else replace(before, volumes=())
        if not removable:
            console.say(f"nothing to do: {name} has no containers and no networks")
            return
        if removable.volumes:
            doubt = previous.doubtful_origin(project, docker, removable.volumes)
            what = f"the data of {name}: the volumes {', '.join(removable.volumes)}{doubt}"
            console.confirm(f"permanently delete {what}", yes)
        with console.phase("down", "containers and networks of the project"):
            # By the project name, which needs no files: `down` works with a broken .env or compose file.
            flags = ["--volumes"] if volumes else []
            removed = docker.compose("--progress", "quiet", "--project-name", name, "down", *flags)
            docker.check(removed, "take the stack down")
        remaining = Resources.of(docker, name)
        if unremoved := remaining if volumes else replace(remaining, volumes=()):
            raise ToolkitError(
                f"{name} was not fully removed", f"remaining: {unremoved.names}", "run invoke down again"
            )
        console.say(f"removed: {removable}" + (f"; kept: {remaining}" if remaining else ""))


def require_removable(project: Project, docker: Docker, name: str) -> None:
    """Return if this folder may remove the containers of a project; print the leftover ones.

    Raises:
        ToolkitError: a folder that exists has started them; the error names it.
    """
    if error := previous.refusal_to_remove(Existing.read(project, docker, name)):
        raise error
    with suppress(ToolkitError):  # the files cannot be read
        previous.show(Existing.read(project, docker))


@dataclass(frozen=True)
class Resources:
    """The names of a project's containers, networks and volumes; false if there are none."""

    containers: tuple[str, ...]
    networks: tuple[str, ...]
    volumes: tuple[str, ...]

    @classmethod
    def of(cls, docker: Docker, project: str) -> Resources:
        """The engine's resources of a project, including those of earlier versions of the files."""

        def names(*listing: str) -> tuple[str, ...]:
            label = f"label=com.docker.compose.project={project}"
            return tuple(sorted(docker.check(docker(*listing, "--filter", label), "query Docker").stdout.split()))

        return cls(
            names("ps", "--all", "--format", "{{.Names}}"),
            names("network", "ls", "--format", "{{.Name}}"),
            names("volume", "ls", "--format", "{{.Name}}"),
        )

    def __bool__(self) -> bool:
        return bool(self.containers or self.networks or self.volumes)

    @property
    def names(self) -> str:
        """The names of all."""
        return ", ".join((*self.containers, *self.networks, *self.volumes))

    def __str__(self) -> str:
        counts = {"container": self.containers, "network": self.networks, "volume": self.volumes}
        return ", ".join(
            f"{len(names)} {what}{'s' if len(names) > 1 else ''}" for what, names in counts.items() if names
        )


def project_name(docker: Docker) -> str:
    """The Compose project of this checkout; if its files cannot be read, the project of its containers."""
    try:
        return docker.project_name()
    except ToolkitError as error:
        label = f"label=com.docker.compose.project.working_dir={docker.root}"
        shown = '{{.Label "com.docker.compose.project"}}'
        found = docker.check(docker("ps", "--all", "--filter", label, "--format", shown), "list the containers")
        names = set(found.stdout.split())
        if len(names) != 1:
            raise error from None
        return names.pop()
