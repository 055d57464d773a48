"""Bringing the stack up until it is proven to work, and down again."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from toolkit import images
from toolkit.checkout.project import Project
from toolkit.checkout.setup import settings, setup
from toolkit.checks import doctor, preflight, proxy
from toolkit.checks.doctor.secrets import of_rotation
from toolkit.checks.proxy import Proxy
from toolkit.checks.smoke import smoke
from toolkit.core import console, files
from toolkit.core.errors import ToolkitError, require_known
from toolkit.engine import health
from toolkit.engine.compose import Docker
from toolkit.engine.wait import wait
from toolkit.images import unavailable
from toolkit.operate import deploy

INTERRUPTED = 130
"""The shell's exit code for a program that Ctrl-C ended."""


@dataclass(frozen=True)
class Options:
    """What `up` is asked for.

    ``timeout`` is in seconds, for the services to become healthy. ``profile`` None keeps the one of the last set-up;
    ``images`` is ``auto``, ``pull`` or ``local``. Groups in ``without`` lose their containers, and keep their volumes.
    ``yes`` agrees to put other images on volumes that exist.
    """

    timeout: float
    profile: str | None = None
    images: str = "auto"
    with_: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    smoke: bool = True
    yes: bool = False


def up(project: Project, docker: Docker, options: Options) -> None:
    """Set up, get the images, start every service, wait until all are healthy, prove it with the smoke checks.

    Each step does only what is missing, so a run that was cut off is completed by the next one.

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
            with console.phase("set-up", ".env and secrets/; what you wrote there stays"):
                for line in setup(project, options.profile, groups=groups, folder=docker.data_root()):
                    console.say(f"  {line}")
                doctor.require_engine_folder(docker)
                doctor.require_free_ports(project, docker)
            with console.phase("images", "images in Docker, pulled or built where they are missing"):
                images.choose(project, docker, options.images, options.yes)
                images.provide(project, docker)
            deploy.recover(project, docker, project.timeout("replica"))
            with console.phase("up", "containers, networks and volumes of the project"):
                remove_switched_off(docker)
                end_restarts(docker)
                start(docker, options.timeout)
            if options.smoke:
                with console.phase("smoke", "uses every service as its clients do; leaves one probe"):
                    report = smoke(project, docker, project.timeout("smoke"))
                    report.show()
            show_addresses(project, docker)
            unavailable.show(project, docker)
            preflight.announce(project, docker)
            for finding in of_rotation(project):
                console.say(f"\n{finding.detail}; {finding.fix}", finding.outcome)
            if options.smoke:
                report.require()
    except KeyboardInterrupt as error:
        raise ToolkitError(
            "stopped", "what is up stays up", "run invoke up to go on, or invoke down", code=INTERRUPTED
        ) from error


def choose_groups(project: Project, with_: Iterable[str], without: Iterable[str]) -> list[str]:
    """The groups that are on from now on: those that were, with and without the named ones.

    Raises:
        ToolkitError: a group is unknown, cannot be left out, or is named in both (exit code 2).
    """
    on = {name for name in settings(project)["COMPOSE_PROFILES"].split(",") if name in project.groups}
    added = {require_known("group", name, project.groups) for name in with_}
    removed = set(without)
    removable = {group.name for group in project.groups.values() if group.default} | on
    if foreign := sorted(removed - removable):
        only = f"only {', '.join(sorted(removable))} can"
        raise ToolkitError(f"{', '.join(foreign)} cannot be left out", only, "invoke up --help", code=2)
    if both := sorted(added & removed):
        raise ToolkitError(f"--with and --without both name {', '.join(both)}", fix="name it in one of them", code=2)
    return [name for name in project.groups if name in (on | added) - removed]


def remove_switched_off(docker: Docker) -> None:
    """Stop and remove the containers of services whose group is off; their volumes stay."""
    on = docker.effective()
    present = {state.service for state in health.container_states(docker, on["name"])} - on["services"].keys()
    if off := sorted(present and present & docker.effective(every_group=True)["services"].keys()):
        removed = docker.compose("--profile", "*", "rm", "--stop", "--force", *off)
        docker.check(removed, f"remove {', '.join(off)}")
        console.say(f"  {', '.join(off)}: switched off, stopped and removed; the volumes stay")


def end_restarts(docker: Docker) -> None:
    """Stop the containers that keep restarting, so that they are started at once, and not after the engine's pause."""
    looping = [state.id for state in health.container_states(docker) if state.crash_looping]
    if looping:
        docker.check(docker("stop", *looping), "stop the containers that keep restarting")


def start(docker: Docker, timeout: float) -> None:
    """``docker compose up`` and, while it runs, the progress of every service, until all are healthy.

    Raises:
        ToolkitError: see `wait`; what Compose does is called off then.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        # Without --wait: Compose would neither show why a service fails nor give up on one that keeps restarting.
        arguments = ("--progress", "quiet", "up", "--detach", "--no-build", "--pull", "never")
        starting = pool.submit(docker.compose, *arguments, stop=stop)
        try:
            wait(docker, timeout, starting=starting)
        finally:
            stop.set()


def show_addresses(project: Project, docker: Docker) -> None:
    """Print where the services are found that are really published, and what to type next."""
    found = health.container_states(docker)
    console.say("")
    if front := Proxy.find(docker, docker.effective()["services"], found):
        console.address(front.url, project.addresses[proxy.SERVICE])
        if any(state.service == "grafana" for state in found):
            console.address(f"{front.url}/grafana/", project.addresses["grafana"])
    for service, what in project.addresses.items():
        if service == proxy.SERVICE:
            continue
        scheme = "" if service == "kafka" else "http://"
        for port in dict.fromkeys(port for state in found if state.service == service for port in state.ports):
            console.address(f"{scheme}{port.address}", what)
    console.say("  invoke status · invoke logs --follow · invoke smoke · invoke down")


def down(project: Project, docker: Docker, *, volumes: bool = False, yes: bool = False) -> None:
    """Stop and remove the project's containers and networks, and with ``volumes`` the data too.

    Raises:
        ToolkitError: the engine is away, consent to delete the volumes is missing, or something could not be removed.
    """
    with files.exclusive(project.lock_file, "take the stack down"):
        name = project_name(docker)
        before = Resources.of(docker, name)
        doomed = before if volumes else replace(before, volumes=())
        if not doomed:
            console.say(f"nothing to do: {name} has no container and no network")
            return
        if doomed.volumes:
            console.confirm(f"delete the data of {name} for good: the volumes {', '.join(doomed.volumes)}", yes)
        with console.phase("down", "containers and networks of the project"):
            # By the name alone, which needs no file: a broken .env or compose file keeps nobody from stopping.
            flags = ["--volumes"] if volumes else []
            removed = docker.compose("--progress", "quiet", "--project-name", name, "down", *flags)
            docker.check(removed, "take the stack down")
        left = Resources.of(docker, name)
        if remains := left if volumes else replace(left, volumes=()):
            raise ToolkitError(f"{name} is not gone", f"left: {remains}", "run invoke down again")
        console.say(f"removed: {doomed}" + (f"; kept: {left}" if left else ""))


@dataclass(frozen=True)
class Resources:
    """The names of what Docker holds of a project; false where there is nothing."""

    containers: tuple[str, ...]
    networks: tuple[str, ...]
    volumes: tuple[str, ...]

    @classmethod
    def of(cls, docker: Docker, project: str) -> Resources:
        """Ask the engine, which is the only one to know: what was made by earlier versions of the files counts too."""

        def names(*listing: str) -> tuple[str, ...]:
            label = f"label=com.docker.compose.project={project}"
            return tuple(sorted(docker.check(docker(*listing, "--filter", label), "ask Docker").stdout.split()))

        return cls(
            names("ps", "--all", "--format", "{{.Names}}"),
            names("network", "ls", "--format", "{{.Name}}"),
            names("volume", "ls", "--format", "{{.Name}}"),
        )

    def __bool__(self) -> bool:
        return bool(self.containers or self.networks or self.volumes)

    def __str__(self) -> str:
        counts = {"container": self.containers, "network": self.networks, "volume": self.volumes}
        return ", ".join(
            f"{len(names)} {what}{'s' if len(names) > 1 else ''}" for what, names in counts.items() if names
        )


def project_name(docker: Docker) -> str:
    """The Compose project of this checkout; where its files cannot be read, the one of its containers."""
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
