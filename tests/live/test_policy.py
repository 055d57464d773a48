"""What runs is hardened as it is written: the rules are held against what kernel and engine say of each container."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.live.stack import Stack, until
from toolkit.checkout.reachability import Matrix
from toolkit.policy import exemptions
from toolkit.policy.rule import unexempted
from toolkit.policy.rules import RULES
from toolkit.policy.running import Container, inspect
from toolkit.validate.policy import SECURITY_LAYER

Flags = Mapping[str, str | list[str] | None]

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")


@pytest.fixture(params=["stack", "prod_stack"])
def running(request: pytest.FixtureRequest) -> Stack:
    """A stack of each profile."""
    stack: Stack = request.getfixturevalue(request.param)
    return stack


def containers(stack: Stack) -> list[Container]:
    """Every container of a stack, looked at now."""
    return [inspect(engine) for engine in json.loads(stack.docker("inspect", *stack.containers()))]


def is_hardened(stack: Stack) -> bool:
    """Whether the security layer is in use."""
    return SECURITY_LAYER in (stack.root / ".env").read_text()


def test_every_container_keeps_every_rule(running: Stack) -> None:
    exempt = exemptions.load(running.root)
    found = [
        f"{container.name} {violation.problem} ({rule.name})"
        for container in containers(running)
        for rule, violation in unexempted(RULES, container, exempt, hardened=is_hardened(running))
    ]
    assert found == []


def test_every_container_listens_where_it_may_be_reached_and_nowhere_else(running: Stack) -> None:
    """A port that nobody knows of, and one that is known and closed."""
    matrix = Matrix.load(running.root)
    listening = {container.name: container.listening for container in containers(running)}
    assert listening == {name: matrix.ports(name) for name in listening}


@root_only
def test_sockets_and_containers_of_the_host_are_hidden(running: Stack) -> None:
    """Who sees the host's files sees none of the sockets in /run, and none of the engine's files."""
    main = running.container("node-exporter")["State"]["Pid"]
    seen = Path(f"/proc/{main}/root/host")
    assert (seen / "etc").is_dir()
    assert list((seen / "run").iterdir()) == []
    engine = running.docker("info", "--format", "{{.DockerRootDir}}").strip().lstrip("/")
    assert list((seen / engine).iterdir()) == []


# A container that keeps every rule, as flags of `docker run`.
SOUND: Flags = {
    "user": "10001:10001",
    "cap-drop": "ALL",
    "security-opt": "no-new-privileges:true",
    "read-only": "true",
    "memory": "64m",
    "cpus": "0.5",
    "pids-limit": "20",
    "restart": "unless-stopped",
    "log-driver": "json-file",
    "log-opt": ["max-size=1m", "max-file=2"],
    "health-cmd": "true",
    "tmpfs": "/tmp:size=1m",
}
CHECKOUT = "/opt/checkout"
"""Where the checkout of the containers is said to be: nothing that they mount lies there."""
WEAK: tuple[tuple[str, Flags], ...] = (
    ("user", {"user": "0:0"}),
    ("log", {"log-driver": "local"}),
    ("log", {"log-opt": "max-file=2"}),
    ("confinement", {"security-opt": ["no-new-privileges:true", "seccomp=unconfined"]}),
    ("confinement", {"security-opt": ["no-new-privileges:true", "systempaths=unconfined"]}),
    ("capabilities", {"cap-add": "NET_RAW"}),
    ("capabilities", {"cap-drop": "NET_RAW"}),
    ("default-capabilities", {"cap-add": "SYS_PTRACE"}),
    ("privileged", {"privileged": "true"}),
    ("host-mounts", {"volume": "/etc:/mnt:ro"}),
    ("read-only-mounts", {"volume": "/etc:/mnt"}),
    ("published-ports", {"publish": "127.0.0.1::3000"}),
    ("public-ports", {"publish": "3000"}),
    ("namespaces", {"pid": "host"}),
    ("namespaces", {"network": "host"}),
    ("namespaces", {"ipc": "host"}),
    ("namespaces", {"uts": "host"}),
    ("memory-limit", {"memory": None}),
    ("cpu-limit", {"cpus": None}),
    ("pids-limit", {"pids-limit": None}),
    ("read-only-root", {"read-only": None}),
    ("writable-paths", {"tmpfs": "/tmp"}),
    ("writable-paths", {"tmpfs": "/tmp:size=1m,exec"}),
    ("named-volumes", {"volume": "/scratch"}),
    ("restart", {"restart": None}),
    ("devices", {"device": "/dev/null:/dev/other"}),
    ("no-new-privileges", {"security-opt": None}),
    ("health", {"health-cmd": None}),
    ("engine-socket", {"volume": "/var/run/docker.sock:/var/run/docker.sock:ro"}),
    ("engine-socket", {"volume": "/:/host:ro"}),
)


@pytest.fixture(scope="module")
def image(idle_stack: Stack) -> str:
    """An image that is there."""
    name: str = json.loads(idle_stack.compose("config", "--format", "json"))["services"]["worker"]["image"]
    return name


@contextmanager
def started(of: str, flags: Flags) -> Iterator[Container]:
    """A container with these flags, looked at and removed."""
    name = f"weak-{uuid4().hex[:8]}"
    words = ["--detach", "--name", name, "--label", f"com.docker.compose.project.working_dir={CHECKOUT}"]
    for flag, values in {**SOUND, **flags}.items():
        words += [f"--{flag}={value}" for value in ([values] if isinstance(values, str) else values or [])]
    try:
        docker("run", *words, "--entrypoint", "sleep", of, "300")
        engine: list[dict[str, Any]] = json.loads(docker("inspect", name))
        yield inspect(engine[0])
    finally:
        docker("rm", "--force", "--volumes", name)


def docker(*words: str) -> str:
    """The output of a docker command."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rules_broken(container: Container, *, hardened: bool = True) -> set[str]:
    return {rule.name for rule, _ in unexempted(RULES, container, (), hardened=hardened)}


def test_a_sound_container_breaks_no_rule(image: str) -> None:
    with started(image, {}) as container:
        assert rules_broken(container) == set()
        assert rules_broken(container, hardened=False) == set()


@pytest.mark.parametrize(("rule", "weakness"), WEAK, ids=str)
def test_a_weak_container_is_seen(image: str, rule: str, weakness: Flags) -> None:
    with started(image, weakness) as container:
        assert rule in rules_broken(container) | rules_broken(container, hardened=False)


def test_an_image_by_its_id_is_seen(image: str) -> None:
    number = docker("image", "inspect", "--format", "{{.Id}}", image).strip().removeprefix("sha256:")
    with started(number, {}) as container:
        assert rules_broken(container) == {"image"}


@root_only
def test_mounts_that_spread_are_seen(image: str, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    try:
        subprocess.run(["mount", "--make-shared", tmp_path], check=True)
        with started(image, {"volume": f"{tmp_path}:/mnt:ro,rshared"}) as container:
            assert rules_broken(container) == {"host-mounts", "mount-propagation"}
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_an_unknown_port_is_seen(image: str) -> None:
    listener = "import socket, time; s = socket.create_server(('', 4000)); time.sleep(300)"
    with started(image, {}) as container:
        assert container.listening == frozenset()
        docker("exec", "--detach", container.engine["Id"], "python3", "-c", listener)
        found = until(lambda: inspect(container.engine).listening, 10, "something to listen")
        assert found == {"4000/tcp"}


def test_every_rule_has_been_seen_to_be_broken() -> None:
    assert {rule.name for rule in RULES} == {rule for rule, _ in WEAK} | {"image", "mount-propagation"}
