"""Rules on files: where a container can write, and which files of the host it sees."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from toolkit.policy.rule import Service, Violation
from toolkit.policy.running import Container, canonical

SOCKETS = tuple(map(PurePath, ("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock")))
"""API sockets of container engines: access to one is root access to the host, even through a read-only mount."""
ENGINE_MOUNTS = ("/proc", "/dev", "/sys/fs/cgroup")
"""Where the engine mounts kernel file systems and masks sensitive paths."""
ENGINE_FILES = ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")
SECRETS = ("/run/secrets",)
"""Where Compose mounts file-based secrets."""
CONFINED = frozenset({"nosuid", "nodev", "noexec"})
UNCONFINED = frozenset({"suid", "dev", "exec"})
ANONYMOUS = re.compile(r"[0-9a-f]{64}")
"""The name that the engine generates for an anonymous volume."""
SOCKET_EXPOSED = "can access the engine's socket, which is root access to the host"


def writable_root_static(service: Service) -> Iterator[Violation]:
    """Demands a read-only root file system: an intruder cannot replace programs or persist files in it."""
    if service.config.get("read_only") is not True:
        yield Violation("has a writable root file system: read_only must be true", ("read_only",))


def writable_root_running(container: Container) -> Iterator[Violation]:
    """Demands that the kernel has mounted the root file system read-only."""
    if any(mount.writable for mount in container.mounts if mount.target == "/"):
        yield Violation("has a writable root file system")


def anonymous_volumes_static(service: Service) -> Iterator[Violation]:
    """Demands named volumes: an anonymous one holds data that no command names and no backup includes."""
    for mount in service.mounts:
        if mount["type"] == "volume" and not mount.get("source"):
            target = mount["target"]
            yield Violation(f"has an anonymous volume at {target}", ("volumes", target), target)


def anonymous_volumes_running(container: Container) -> Iterator[Violation]:
    """Demands named volumes, also for those that the image declares.

    Every recreated container would leave an anonymous volume behind.
    """
    for target, name in container.targets("volume").items():
        if ANONYMOUS.fullmatch(name):
            yield Violation(f"has an anonymous volume at {target}", of=target)


def unbounded_paths_static(service: Service) -> Iterator[Violation]:
    """Demands a size for every tmpfs, and no tmpfs from which programs or devices can be used.

    An unbounded tmpfs can exhaust the memory; one with ``exec``, ``suid`` or ``dev`` bypasses the read-only root.
    """
    for entry in service.config.get("tmpfs", []):
        target, _, options = entry.partition(":")
        if "size=" not in options:
            yield Violation(f"has a tmpfs without a size at {target}", ("tmpfs",), target)
        if granted := sorted(UNCONFINED.intersection(options.split(","))):
            yield Violation(f"has a tmpfs at {target} with the option {granted[0]}", ("tmpfs",), target)
    for mount in service.mounts:
        if mount["type"] == "tmpfs" and not mount.get("tmpfs", {}).get("size"):
            target = mount["target"]
            yield Violation(f"has a tmpfs without a size at {target}", ("volumes", target), target)


def unbounded_paths_running(container: Container) -> Iterator[Violation]:
    """Demands that only volumes and bounded tmpfs mounts are writable.

    Writable host paths are the subject of `writable_mounts_running`.
    """
    volumes = container.targets("volume")
    expected = (*ENGINE_MOUNTS, *ENGINE_FILES, *container.targets("bind"))
    for mount in container.mounts:
        target = mount.target
        if not mount.writable or target == "/" or target in volumes:
            continue
        if target in container.tmpfs:
            if "size=" not in container.tmpfs[target] or not mount.options >= CONFINED:
                problem = f"has a tmpfs at {target} without a size, or with exec, suid or dev"
                yield Violation(problem, of=target)
        elif not below(target, expected):
            yield Violation(f"can write to {target}, which no mount declares", of=target)


def writable_mounts_static(service: Service) -> Iterator[Violation]:
    """Demands read-only bind mounts: a container must not change files of the host."""
    for mount in service.binds:
        if not mount.get("read_only"):
            problem = f"mounts {PurePath(mount['source']).name or '/'} writable, not read-only"
            yield Violation(problem, ("volumes", mount["target"]), mount["target"])


def writable_mounts_running(container: Container) -> Iterator[Violation]:
    """Demands that the kernel has mounted host paths read-only, submounts included."""
    # With slave propagation, later mounts of the host appear here writable; below a tmpfs they are unreachable.
    own = {*container.tmpfs, *container.targets("volume")}
    for mount in container.mounts:
        if mount.writable and not below(mount.target, own) and below(mount.target, container.targets("bind")):
            yield Violation(f"can write to the host's files at {mount.target}", of=mount.target)


def host_mounts_static(service: Service) -> Iterator[Violation]:
    """Demands that bind mounts stay within this checkout: other files of the host are not the stack's to read."""
    for mount in service.binds:
        if not Path(mount["source"]).is_relative_to(service.root):
            problem = f"mounts the host path {mount['source']}"
            yield Violation(problem, ("volumes", mount["target"]), mount["target"])


def host_mounts_running(container: Container) -> Iterator[Violation]:
    """Demands that bind mounts come from the project's working directory or are Compose secrets."""
    checkout = container.labels.get("com.docker.compose.project.working_dir", "/nowhere")
    for target, source in container.targets("bind").items():
        if not Path(source).is_relative_to(checkout) and not below(target, SECRETS):
            yield Violation(f"mounts the host path {source}", of=target)


def shared_propagation_static(service: Service) -> Iterator[Violation]:
    """Demands private mount propagation: a mount inside the container must not appear on the host."""
    for mount in service.binds:
        if "shared" in mount.get("bind", {}).get("propagation", ""):
            target = mount["target"]
            yield Violation(f"propagates mounts below {target} to the host", ("volumes", target), target)


def shared_propagation_running(container: Container) -> Iterator[Violation]:
    """Demands that no bind mount is in a shared peer group of the host's mounts."""
    for mount in container.mounts:
        if mount.shared and below(mount.target, container.targets("bind")):
            yield Violation(f"propagates mounts below {mount.target} to the host", of=mount.target)


def engine_socket_static(service: Service) -> Iterator[Violation]:
    """Demands that no mount exposes an engine's socket: access to it is root access to the host."""
    hidden = [entry.partition(":")[0] for entry in service.config.get("tmpfs", [])]
    for mount in service.binds:
        if _shows_socket(mount["source"], mount["target"], hidden):
            yield Violation(SOCKET_EXPOSED, ("volumes", mount["target"]))


def engine_socket_running(container: Container) -> Iterator[Violation]:
    """Demands the same of the mounts that the engine has made."""
    for target, source in container.targets("bind").items():
        if _shows_socket(source, target, container.tmpfs):
            yield Violation(SOCKET_EXPOSED)


def _shows_socket(source: str, target: str, hidden: Iterable[str]) -> bool:
    """Whether a mount contains an engine's socket that no tmpfs hides."""
    folder = PurePath(canonical(source))
    inside = [PurePath(target) / socket.relative_to(folder) for socket in SOCKETS if socket.is_relative_to(folder)]
    return folder.name.endswith("docker.sock") or not all(below(str(path), hidden) for path in inside)


def below(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of the folders or inside one."""
    return any(PurePath(path).is_relative_to(folder) for folder in folders)
