"""Repairs the broken data of a store as `toolkit.engine.damage` describes, after confirmation and a copy."""

from __future__ import annotations

import shlex
import signal
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from toolkit.checkout.project import Project
from toolkit.checks import doctor
from toolkit.core import console, files, terminal
from toolkit.core.errors import ToolkitError, require_known
from toolkit.engine import damage, diagnosis, health, volumes
from toolkit.engine.compose import Docker, Result, explain
from toolkit.engine.damage import DAMAGES, Damage, Repair
from toolkit.engine.existing import Existing
from toolkit.engine.health import ServiceState
from toolkit.engine.volumes import Located
from toolkit.engine.wait import DIAGNOSED_LINES, last_lines, wait
from toolkit.operate import previous

COPY = "/copy"
"""The folder of the copy in the container of a repair."""
NO_SHELL = frozenset({"loki"})
"""The services whose images have no shell; their volumes are repaired in the image of `volumes.IMAGE_OF`."""
SPARE_KIB = 100 * 1024
"""Free space that remains after a copy."""
NO_ROOM = 75

CREATION_SECONDS, PAUSE = 3.0, 0.2
"""An engine creates a container within this time, also if the client that has asked for it is interrupted."""

COPYING = f"""\
needed=$(du -skc -- "$@" | tail -n 1 | cut -f 1)
free=$(df -Pk {COPY} | awk 'NR == 2 {{ print $4 }}')
if [ "$((needed + {SPARE_KIB}))" -gt "$free" ]; then echo "$needed KiB needed, $free KiB free" >&2; exit {NO_ROOM}; fi
tar -cf - -- "$@" | tar -xpf - -C {COPY}"""
RESTORING = f"""rm -rf -- "$@" && cd {COPY} && tar -cf - -- "$@" | tar -xpf - -C "$OLDPWD\""""


@dataclass(frozen=True)
class Options:
    """The options of `repair`.

    ``damage`` is the name of the damage; None: as the log shows. ``copy``: copy the damaged files to a new volume
    before the repair. ``timeout`` is in seconds, for the service to become healthy. ``yes`` confirms.
    """

    timeout: float
    damage: str | None = None
    copy: bool = True
    yes: bool = False


@dataclass(frozen=True)
class VolumeShell:
    """Runs shell commands in the volume of a store, in short containers without network.

    ``container`` is their name.
    """

    docker: Docker
    image: str
    located: Located
    owner: str
    container: str
    unmounted: Sequence[str] = ()
    """Folders that the image declares as volumes."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Those of the service that name its data, such as the id of its cluster."""

    @classmethod
    def of(cls, docker: Docker, service: str) -> VolumeShell:
        """The shell in the volume of a service.

        Raises:
            ToolkitError: the service has no volume.
        """
        config = docker.effective(every_group=True)
        stores = {each.store.service: each for each in volumes.located(config)}
        if service not in stores:
            raise ToolkitError(f"{service} has no volume in the compose files", fix="nothing can be repaired")
        borrowed = service in NO_SHELL and volumes.IMAGE_OF in stores
        image = config["services"][volumes.IMAGE_OF if borrowed else service]["image"]
        owner = config["services"][service].get("user", "0:0")
        unmounted = (stores[volumes.IMAGE_OF].store.target,) if borrowed else ()
        name = f"{config['name']}-repair-{uuid.uuid4().hex[:12]}"
        environment = config["services"][service].get("environment") or {}
        wanted = stores[service].store.variables
        variables = {key: value for key, value in environment.items() if key in wanted and value is not None}
        return cls(docker, image, stores[service], owner, name, unmounted, variables)

    def __call__(self, script: str, *paths: str, copy: str = "", writable: bool = True) -> Result:
        """Run the commands with the paths as arguments; ``copy`` is a volume that is mounted at `COPY`."""
        target = self.located.store.target
        mount = f"type={self.located.kind},source={self.located.source},target={target}"
        mounts = [mount if writable else f"{mount},readonly"]
        mounts += [f"type=volume,source={copy},target={COPY}"] if copy else []
        return self.docker(
            "run", "--rm", "--name", self.container, "--pull", "never", "--network", "none", "--log-driver", "none",
            "--read-only", "--tmpfs", "/tmp",  # noqa: S108
            "--user", "0:0", "--cap-drop", "ALL", "--cap-add", "CHOWN", "--cap-add", "DAC_OVERRIDE",
            "--cap-add", "FOWNER", "--security-opt", "label=disable", "--env", f"OWNER={self.owner}",
            *(word for name, value in self.variables.items() for word in ("--env", f"{name}={value}")),
            *(word for each in mounts for word in ("--mount", each)),
            *(word for each in self.unmounted for word in ("--tmpfs", each)),
            "--workdir", target, "--entrypoint", "sh", self.image, "-c", script, "repair", *paths,
        )  # fmt: skip

    def end(self) -> None:
        """End the container of an interrupted command; the engine may still be creating it."""
        deadline = time.monotonic() + CREATION_SECONDS
        # docker prints the name of a container that it has removed; one that does not exist is no error.
        while not self.docker("rm", "--force", self.container).stdout.strip() and time.monotonic() < deadline:
            time.sleep(PAUSE)

    def remove(self, copy: str) -> None:
        """Remove the volume of a copy, which may still be in use by the container of an interrupted command."""
        deadline = time.monotonic() + CREATION_SECONDS
        while self.docker("volume", "rm", "--force", copy).code and time.monotonic() < deadline:
            self.docker("rm", "--force", self.container)
            time.sleep(PAUSE)


def repair(project: Project, docker: Docker, service: str, options: Options) -> None:
    """Repair the data of a service, after confirmation, then start it and wait until it is healthy.

    The damaged files are copied to a new volume first; a repair that fails or is interrupted is undone from it.

    Raises:
        ToolkitError: the containers belong to another folder, the service is healthy, its log shows no known damage,
            there is no safe repair, the repair is not confirmed or fails, or the service does not become healthy
            afterwards; a name is unknown (exit code 2).
    """
    known = dict.fromkeys(each.service for each in DAMAGES)
    if not service:
        raise ToolkitError("no service is named", f"known: {', '.join(known)}", "add --service=NAME", code=2)
    require_known("service", service, known)
    if options.damage:
        require_known("damage", options.damage, [each.name for each in damage.of_service(service)])
    with files.exclusive(project.lock_file, f"repair {service}"):
        doctor.require_engine(docker)
        name = docker.project_name()
        if error := previous.refusal_to_remove(Existing.read(project, docker, name)):
            raise ToolkitError(error.what, error.why, f"run: invoke repair --service={service}, in that folder")
        states = [each for each in health.container_states(docker, name) if each.service == service]
        found, fix = choose(docker, service, states, options.damage)
        if fix.running:
            in_container(docker, states, found, fix, options.yes)
        else:
            offline(docker, service, found, fix, options)


def choose(
    docker: Docker, service: str, states: Sequence[ServiceState], name: str | None = None
) -> tuple[Damage, Repair]:
    """The damage of a service's data and its repair.

    Args:
        docker: Docker in the project's folder.
        service: The service.
        states: Its containers.
        name: The damage; default: the one that the log shows.

    Raises:
        ToolkitError: the service is healthy, its log shows no known damage, or there is no safe repair.
    """
    healthy = bool(states) and all(state.verdict is health.Verdict.OK for state in states)
    log = "\n".join(line for state in states for line in last_lines(docker, state, DIAGNOSED_LINES))
    shown = damage.find(service, log, serving=healthy)
    found = next((each for each in damage.of_service(service) if each.name == name), None) or shown
    if healthy and found is not None and found is not shown and not found.serves:
        raise ToolkitError(f"{service} is healthy", "its log shows no such damage, nothing was changed")
    if found is None:
        if healthy:
            raise ToolkitError(f"{service} is healthy", "there is nothing to repair")
        cause = next((each for state in states if (each := diagnosis.cause(state, log))), None)
        why = f"its log shows another cause: {cause.why}" if cause else "its log shows no known damage"
        known = ", ".join(each.name for each in damage.of_service(service) if each.repair)
        advice = cause.fix if cause else f"docs/troubleshooting.md#broken-data; name one with --damage: {known}"
        raise ToolkitError(f"{service} cannot be repaired", why, advice)
    if found.repair is None:
        raise ToolkitError(f"no safe repair of {service} is known", found.cause, found.otherwise)
    return found, found.repair


def show(service: str, where: str, found: Damage, fix: Repair, paths: Sequence[str] = ()) -> None:
    """Print the damage and what its repair runs and loses."""
    console.say(f"{service}: {found.cause}")
    console.say(f"  {where}" + (f": {shlex.join(paths)}" if paths else ""))
    for line in fix.command.splitlines():
        console.say(f"  | {line}")
    console.say(f"  {fix.loses}")


def in_container(docker: Docker, states: Sequence[ServiceState], found: Damage, fix: Repair, yes: bool) -> None:
    """Run a repair in the container of the running service.

    Raises:
        ToolkitError: the service does not run, or the repair is not confirmed or fails.
    """
    running = next((state for state in states if state.status == "running"), None)
    if running is None:
        raise ToolkitError(f"{found.service} does not run", "this repair needs it", "run: invoke up")
    show(found.service, running.container, found, fix)
    console.confirm(f"repair {found.service}", yes)
    with console.phase("repair", f"in the container of {found.service}"):
        result = docker("exec", running.id, "sh", "-c", fix.command)
        if result.code:
            error = explain(f"repair {found.service}", result)
            raise ToolkitError(error.what, error.why, found.otherwise)


def offline(docker: Docker, service: str, found: Damage, fix: Repair, options: Options) -> None:
    """Stop the service, copy the damaged files, repair them, and start the service.

    Raises:
        ToolkitError: see `repair`.
    """
    shell = VolumeShell.of(docker, service)
    paths = damaged_paths(shell, found, fix)
    show(service, shell.located.source, found, fix, paths)
    console.confirm(f"repair {service}", options.yes)
    undone = "its data is unchanged" if options.copy and paths else "the repair may be incomplete"
    with interruptible(f"{service} is stopped, {undone}", f"run: invoke repair --service={service}"):
        with console.phase("stop", f"the container of {service}"):
            # Removed: the next container begins with an empty log.
            removed = docker.compose("--profile", "*", "rm", "--stop", "--force", service)
            docker.check(removed, f"stop {service}")
        copy = copied(shell, paths) if options.copy and paths else ""
        with console.phase("repair", f"the volume {shell.located.source}"):
            apply(shell, fix, paths, copy)
    kept = f"; the original files are in the volume {copy}" if copy else ""
    with (
        console.phase("up", f"the container of {service}"),
        interruptible(f"{service} is repaired{kept}", "run: invoke up"),
    ):
        started = docker.compose("--progress", "quiet", "up", "--detach", "--no-deps", "--no-build", "--pull", "never",
                                 service)  # fmt: skip
        try:
            docker.check(started, f"start {service}")
            wait(docker, options.timeout, [service])
        except ToolkitError as error:
            raise ToolkitError(error.what, error.why, error.fix + kept) from error
    if copy:
        console.say(f"the original files are in the volume {copy}; once everything works: "
                    f"docker volume rm {copy}")  # fmt: skip


@contextmanager
def interruptible(state: str, fix: str) -> Iterator[None]:
    """Report Ctrl-C in the block with the state that it leaves.

    Raises:
        ToolkitError: in place of KeyboardInterrupt (exit code 130).
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise ToolkitError("interrupted", state, fix, code=terminal.INTERRUPTED) from error


def damaged_paths(shell: VolumeShell, found: Damage, fix: Repair) -> list[str]:
    """The paths that a repair changes, relative to the volume; empty if it changes no content.

    Raises:
        ToolkitError: they cannot be found.
    """
    if not fix.files:
        return []
    result = shell(fix.files)
    paths = result.stdout.splitlines()
    if result.code or not paths:
        why = result.stderr.strip() or f"no file in {shell.located.source} has this damage: {found.cause}"
        raise ToolkitError(f"cannot repair {found.service}", why, "docs/troubleshooting.md#broken-data")
    return paths


def copied(shell: VolumeShell, paths: Sequence[str]) -> str:
    """Copy the paths to a new volume and return its name; nothing is left of a copy that is not complete.

    Raises:
        ToolkitError: there is no room for it, or it fails.
    """
    docker, service = shell.docker, shell.located.store.service
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    name = f"{docker.project_name()}_{shell.located.store.volume}-damaged-{stamp}"
    with console.phase("copy", f"the damaged files to the volume {name}"):
        complete = False
        try:
            docker.check(docker("volume", "create", "--label", f"netmon.damaged={service}", name), "create a volume")
            result = shell(COPYING, *paths, copy=name)
            if result.code == NO_ROOM:
                fix = "free disk space (docker system df), or repair without a copy: --no-copy"
                raise ToolkitError("no room for a copy of the damaged files", result.stderr.strip(), fix)
            docker.check(result, "copy the damaged files")
            complete = True
        finally:
            if not complete:
                with uninterrupted():
                    shell.end()
                    shell.remove(name)
    return name


def apply(shell: VolumeShell, fix: Repair, paths: Sequence[str], copy: str) -> None:
    """Run a repair; if it fails or is interrupted, restore the copy.

    Raises:
        ToolkitError: it fails.
    """
    complete = False
    try:
        shell.docker.check(shell(fix.command, *paths), f"repair {shell.located.store.service}")
        complete = True
    finally:
        if not complete:
            with uninterrupted():
                shell.end()
                if copy:
                    restore(shell, paths, copy)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C in the block."""
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def restore(shell: VolumeShell, paths: Sequence[str], copy: str) -> None:
    """Put the copied files back and remove the copy.

    Raises:
        ToolkitError: they cannot be put back; they are in the volume ``copy``.
    """
    result = shell(RESTORING, *paths, copy=copy)
    if result.code:
        error = explain("put the damaged files back", result)
        raise ToolkitError(error.what, error.why, f"they are in the volume {copy}")
    shell.remove(copy)
