"""What a container can write to, and what it sees of the host's files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from toolkit.policy.rule import Service, Violation
from toolkit.policy.running import Container, real

SOCKETS = tuple(map(PurePath, ("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock")))
"""Of engines: whoever can write to one is root on the host, a read-only mount or not."""
ENGINE_MOUNTS = ("/proc", "/dev", "/sys/fs/cgroup")
"""Here the engine mounts file systems of the kernel, and hides what is not to be touched."""
ENGINE_FILES = ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")
SECRETS = ("/run/secrets",)
"""Where Compose mounts secrets that are files."""
CONFINED = frozenset({"nosuid", "nodev", "noexec"})
UNCONFINED = frozenset({"suid", "dev", "exec"})
ANONYMOUS = re.compile(r"[0-9a-f]{64}")


def root(service: Service) -> Iterator[Violation]:
    if service.config.get("read_only") is not True:
        yield Violation("has a writable root file system: read_only must be true", ("read_only",))


def root_now(container: Container) -> Iterator[Violation]:
    if any(mount.writable for mount in container.mounts if mount.target == "/"):
        yield Violation("has a writable root file system")


def anonymous(service: Service) -> Iterator[Violation]:
    for mount in service.mounts:
        if mount["type"] == "volume" and not mount.get("source"):
            target = mount["target"]
            yield Violation(f"has a volume without a name at {target}", ("volumes", target), target)


def anonymous_now(container: Container) -> Iterator[Violation]:
    """Those that an image declares among them: every container that is made anew leaves one behind."""
    for target, name in container.targets("volume").items():
        if ANONYMOUS.fullmatch(name):
            yield Violation(f"has a volume without a name at {target}", of=target)


def unbounded(service: Service) -> Iterator[Violation]:
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


def unbounded_now(container: Container) -> Iterator[Violation]:
    """Beyond what `writable_now` finds among the files of the host."""
    volumes = container.targets("volume")
    expected = (*ENGINE_MOUNTS, *ENGINE_FILES, *container.targets("bind"))
    for mount in container.mounts:
        target = mount.target
        if not mount.writable or target == "/" or target in volumes:
            continue
        if target in container.tmpfs:
            if "size=" not in container.tmpfs[target] or not mount.options >= CONFINED:
                problem = f"has a tmpfs at {target} that is not bounded, or can hold programs and devices"
                yield Violation(problem, of=target)
        elif not below(target, expected):
            yield Violation(f"can write to {target}, which nobody asked for", of=target)


def writable(service: Service) -> Iterator[Violation]:
    for mount in service.binds:
        if not mount.get("read_only"):
            problem = f"mounts {PurePath(mount['source']).name or '/'}, but not read-only"
            yield Violation(problem, ("volumes", mount["target"]), mount["target"])


def writable_now(container: Container) -> Iterator[Violation]:
    # What the host mounts later appears here as well, and is not read-only; below a tmpfs nobody gets to it.
    own = {*container.tmpfs, *container.targets("volume")}
    for mount in container.mounts:
        if mount.writable and not below(mount.target, own) and below(mount.target, container.targets("bind")):
            yield Violation(f"can write to the host's files at {mount.target}", of=mount.target)


def foreign(service: Service) -> Iterator[Violation]:
    for mount in service.binds:
        if not Path(mount["source"]).is_relative_to(service.root):
            problem = f"mounts {mount['source']} of the host"
            yield Violation(problem, ("volumes", mount["target"]), mount["target"])


def foreign_now(container: Container) -> Iterator[Violation]:
    checkout = container.labels.get("com.docker.compose.project.working_dir", "/nowhere")
    for target, source in container.targets("bind").items():
        if not Path(source).is_relative_to(checkout) and not below(target, SECRETS):
            yield Violation(f"mounts {source} of the host", of=target)


def spreading(service: Service) -> Iterator[Violation]:
    for mount in service.binds:
        if "shared" in mount.get("bind", {}).get("propagation", ""):
            target = mount["target"]
            yield Violation(f"what is mounted below {target} appears on the host", ("volumes", target), target)


def spreading_now(container: Container) -> Iterator[Violation]:
    for mount in container.mounts:
        if mount.shared and below(mount.target, container.targets("bind")):
            yield Violation(f"what is mounted below {mount.target} appears on the host", of=mount.target)


def socket(service: Service) -> Iterator[Violation]:
    hidden = [entry.partition(":")[0] for entry in service.config.get("tmpfs", [])]
    for mount in service.binds:
        if _shows_socket(mount["source"], mount["target"], hidden):
            yield Violation("sees the engine's socket, and so is the host", ("volumes", mount["target"]))


def socket_now(container: Container) -> Iterator[Violation]:
    for target, source in container.targets("bind").items():
        if _shows_socket(source, target, container.tmpfs):
            yield Violation("sees the engine's socket, and so is the host")


def _shows_socket(source: str, target: str, hidden: Iterable[str]) -> bool:
    """Whether a mount has the socket of an engine in it, where no tmpfs lies over."""
    folder = PurePath(real(source))
    inside = [PurePath(target) / socket.relative_to(folder) for socket in SOCKETS if socket.is_relative_to(folder)]
    return folder.name.endswith("docker.sock") or not all(below(str(path), hidden) for path in inside)


def below(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of the folders or in one of them."""
    return any(PurePath(path).is_relative_to(folder) for folder in folders)
