"""Running containers are hardened: the policy rules are checked against the kernel's and the engine's data."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from tests.live.network import from_container, reached, unroutable
from tests.live.stack import Stack, until
from toolkit.checkout.project import Project
from toolkit.checkout.reachability import Matrix
from toolkit.policy import exemptions
from toolkit.policy.rule import unexempted
from toolkit.policy.rules import RULES
from toolkit.policy.running import Container, inspect

Flags = Mapping[str, str | list[str] | None]

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")


@pytest.fixture(params=["stack", "prod_stack"])
def running(request: pytest.FixtureRequest) -> Stack:
    """A stack of each profile."""
    stack: Stack = request.getfixturevalue(request.param)
    return stack


def containers(stack: Stack) -> list[Container]:
    """The running containers of a stack."""
    return [inspect(engine) for engine in json.loads(stack.docker("inspect", *stack.containers()))]


def is_hardened(stack: Stack) -> bool:
    """Whether the security layer is in use."""
    project = Project.load(stack.root)
    return project.data["security_layer"] in project.env["COMPOSE_FILE"].split(":")


def test_every_container_obeys_every_rule(running: Stack) -> None:
    exempt = exemptions.load(running.root)
    found = [
        f"{container.name} {violation.problem} ({rule.name})"
        for container in containers(running)
        for rule, violation in unexempted(RULES, container, exempt, hardened=is_hardened(running))
    ]
    assert found == []


@root_only
def test_blackbox_exporter_probes_for_prometheus_only(running: Stack) -> None:
    """It fetches any address, so none of its addresses is open to another service."""
    listed = json.loads(running.docker("inspect", *running.containers()))
    others = {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in listed}
    exporter = others.pop("blackbox-exporter")
    targets = sorted((each["IPAddress"], 9115) for each in exporter["NetworkSettings"]["Networks"].values())
    with unroutable([exporter]), ThreadPoolExecutor(len(others)) as pool:
        opened = list(pool.map(lambda other: len(reached(from_container(other), targets)), others.values()))
    asked = dict(zip(others, opened, strict=True))
    assert asked.keys() == running.configured() - {"blackbox-exporter"}
    assert {service for service, count in asked.items() if count} == {"prometheus"}
    assert asked["prometheus"] == 1


def test_every_container_listens_on_exactly_the_declared_ports(running: Stack) -> None:
    """Neither an undeclared port nor a declared port that is closed."""
    matrix = Matrix.load(running.root)
    listening = {container.name: container.listening for container in containers(running)}
    assert listening == {name: matrix.ports(name) for name in listening}


@root_only
def test_sockets_and_engine_files_of_the_host_are_hidden(running: Stack) -> None:
    """node-exporter sees the host's files, except the sockets in /run and the engine's files."""
    main = running.container("node-exporter")["State"]["Pid"]
    host = Path(f"/proc/{main}/root/host")
    assert (host / "etc").is_dir()
    assert list((host / "run").iterdir()) == []
    engine = running.docker("info", "--format", "{{.DockerRootDir}}").strip().lstrip("/")
    assert list((host / engine).iterdir()) == []


# A container that obeys every rule, as flags of `docker run`.
COMPLIANT: Flags = {
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
"""The checkout of the containers, by their label: none of their mounts is in it."""
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
    """The name of a present image."""
    name: str = json.loads(idle_stack.compose("config", "--format", "json"))["services"]["worker"]["image"]
    return name


@contextmanager
def run_container(image: str, flags: Flags) -> Iterator[Container]:
    """Run a container with these flags, and remove it afterwards."""
    with run_containers(image, (flags,)) as [container]:
        yield container


@contextmanager
def run_containers(image: str, every: Sequence[Flags]) -> Iterator[list[Container]]:
    """Run a container for each of the sets of flags, and remove them afterwards; four start at a time."""
    names = [f"weak-{uuid4().hex[:8]}" for _ in every]
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(partial(start_container, image), names, every))
        yield [inspect(engine) for engine in json.loads(docker("inspect", *names))]
    finally:
        docker("rm", "--force", "--volumes", *names)


def start_container(image: str, name: str, flags: Flags) -> None:
    """Start a container with these flags."""
    words = ["--detach", "--name", name, "--label", f"com.docker.compose.project.working_dir={CHECKOUT}"]
    for flag, values in {**COMPLIANT, **flags}.items():
        words += [f"--{flag}={value}" for value in ([values] if isinstance(values, str) else values or [])]
    docker("run", *words, "--entrypoint", "sleep", image, "300")


def docker(*words: str) -> str:
    """The output of a docker command."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def violated_rules(container: Container, *, hardened: bool = True) -> set[str]:
    return {rule.name for rule, _ in unexempted(RULES, container, (), hardened=hardened)}


def test_a_compliant_container_violates_no_rule(image: str) -> None:
    with run_container(image, {}) as container:
        assert violated_rules(container) == set()
        assert violated_rules(container, hardened=False) == set()


@pytest.fixture(scope="module")
def weak(image: str) -> Iterator[list[Container]]:
    """The containers of `WEAK`."""
    with run_containers(image, [flags for _, flags in WEAK]) as containers:
        yield containers


@pytest.mark.parametrize("number", range(len(WEAK)), ids=[f"{rule}-{flags}" for rule, flags in WEAK])
def test_a_weak_container_violates_its_rule(weak: list[Container], number: int) -> None:
    container, rule = weak[number], WEAK[number][0]
    assert rule in violated_rules(container) | violated_rules(container, hardened=False)


def test_an_image_by_id_violates_the_image_rule(image: str) -> None:
    number = docker("image", "inspect", "--format", "{{.Id}}", image).strip().removeprefix("sha256:")
    with run_container(number, {}) as container:
        assert violated_rules(container) == {"image"}


@root_only
def test_shared_mount_propagation_is_a_violation(image: str, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    try:
        subprocess.run(["mount", "--make-shared", tmp_path], check=True)
        with run_container(image, {"volume": f"{tmp_path}:/mnt:ro,rshared"}) as container:
            assert violated_rules(container) == {"host-mounts", "mount-propagation"}
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_an_undeclared_port_is_detected(image: str) -> None:
    listener = "import socket, time; s = socket.create_server(('', 4000)); time.sleep(300)"
    with run_container(image, {}) as container:
        assert container.listening == frozenset()
        docker("exec", "--detach", container.engine["Id"], "python3", "-c", listener)
        found = until(lambda: inspect(container.engine).listening, 10, "the listening port")
        assert found == {"4000/tcp"}


def test_every_rule_has_a_violating_container() -> None:
    assert {rule.name for rule in RULES} == {rule for rule, _ in WEAK} | {"image", "mount-propagation"}
