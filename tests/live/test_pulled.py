"""The published images from scratch: a machine without engine and images, a registry, the commands of the README."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.machine import REGISTRY, Machine
from tests.live.stack import Stack
from toolkit.checkout.project import Project

EXTRA = "jaegertracing/jaeger"
"""The repository of a disabled group: its image is missing in the tests of registry faults."""
STALL = 4
"""The stall and registry timeouts of these tests, in seconds."""
TIMEOUT = re.compile(r"^( +(?:stall|registry): )\d+$", re.MULTILINE)
CHECK = re.compile(r"^(?P<name>\S+) +(?:host|inside) +(?P<outcome>\S+) +[\d.]+ s", re.MULTILINE)
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


@pytest.fixture(scope="module")
def machine(idle_stack: Stack) -> Iterator[Machine]:
    """An unused machine; each test continues in the state of the previous one."""
    idle_stack.invoke("images.prepare", "--profile=prod", timeout=900)
    with Machine.running(Project.load(idle_stack.root), "netmon-pulled") as machine:
        assert machine.run("find", "/var/lib/netmon-engine", "-mindepth", "1", folder="/").stdout == ""
        yield machine


@pytest.fixture(scope="module")
def quickstart(machine: Machine) -> str:
    """The output of the first command of the README."""
    return machine.run("scripts/quickstart.sh", "--yes", timeout=500).stdout


def containers(machine: Machine) -> dict[str, dict[str, Any]]:
    """``docker inspect`` of the containers of the machine by their service."""
    listed = machine.engine("ps", "--all", "--quiet", "--filter", "label=com.docker.compose.oneoff=False").split()
    found = json.loads(machine.engine("inspect", *listed)) if listed else []
    return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}


def services(machine: Machine) -> set[str]:
    """The services of the effective configuration."""
    return set(machine.engine("compose", "config", "--services").split())


def published(machine: Machine) -> set[str]:
    """The images of the effective configuration that are pulled from the registry."""
    return {name for name in machine.engine("compose", "config", "--images").split() if name.startswith(REGISTRY)}


def test_quickstart_starts_everything_from_scratch(machine: Machine, quickstart: str) -> None:
    assert "images: pulled, because the registry is reachable" in quickstart
    assert "NETMON_IMAGES=pulled" in machine.read(".env")
    assert "images/compose" not in machine.read(".env")
    checks = {check["name"]: check["outcome"] for check in CHECK.finditer(quickstart)}
    assert set(checks.values()) == {"ok"}, quickstart
    assert services(machine) - checks.keys() <= {"app", "worker"}, "`probe` covers these two"
    assert {"probe", "targets", "signals"} <= checks.keys()
    machine.invoke("status")


def test_every_image_is_published_or_built_from_a_published_one(machine: Machine, quickstart: str) -> None:
    running = containers(machine)
    assert running.keys() == services(machine)
    built = {name for name, each in running.items() if not each["Config"]["Image"].startswith(f"{REGISTRY}/")}
    assert built == {"app", "worker", "container-exporter", "kafka"}
    assert "netmon-local" not in machine.engine("images", "--format", "{{.Repository}}")


@pytest.mark.parametrize("choice", ["auto", "pull"])
def test_a_complete_stack_is_not_changed(machine: Machine, quickstart: str, choice: str) -> None:
    before = {name: each["Id"] for name, each in containers(machine).items()}
    output = machine.invoke("up", "--no-smoke", f"--images={choice}").stdout
    assert not re.search(r"^ +(pulled|built) ", output, re.MULTILINE), output
    assert {name: each["Id"] for name, each in containers(machine).items()} == before


@pytest.fixture(scope="class")
def extra_image(machine: Machine, quickstart: str) -> Iterator[str]:
    """Enable the group and shorten the timeouts; yields the name of the group's image."""
    settings, env = machine.read("invoke.yaml"), machine.read(".env")
    machine.write("invoke.yaml", TIMEOUT.sub(rf"\g<1>{STALL}", settings))
    machine.write(".env", env.replace("COMPOSE_PROFILES=monitoring", "COMPOSE_PROFILES=monitoring,jaeger"))
    machine.invoke("setup")
    [name] = {name for name in published(machine) if EXTRA in name}
    yield name
    machine.write("invoke.yaml", settings)


class TestFaultyRegistry:
    """The image of one group is missing: running containers are not changed, and a later run pulls the image."""

    @pytest.fixture
    def missing(self, machine: Machine, extra_image: str) -> str:
        """Remove the image."""
        machine.engine("rmi", "--force", extra_image, check=False)  # it may be missing already
        return extra_image

    @pytest.mark.parametrize(
        ("fault", "why", "fix"),
        [
            pytest.param("lacks", "does not exist", "correct the tag in docker-compose.monitoring.yml", id="lacks"),
            pytest.param("limit", "the rate limit of the registry is exceeded", "docker login", id="limit"),
            pytest.param("login", "authentication required", f"docker login {REGISTRY}, then retry", id="login"),
            pytest.param("stall", f"stalled (no data for {STALL} s)", "set a mirror in .env", id="stall"),
            pytest.param("silent", "the registry ", "set a mirror in .env", id="silent"),
        ],
    )
    def test_a_permanent_fault_is_an_error(
        self, machine: Machine, missing: str, fault: str, why: str, fix: str
    ) -> None:
        before = {name: each["Id"] for name, each in containers(machine).items()}
        with machine.fault(fault, name="" if fault in {"login", "silent"} else EXTRA):
            started = time.monotonic()
            failed = machine.invoke("images.pull", timeout=120, check=False)
            assert time.monotonic() - started < 90
        assert failed.returncode == 1, failed.stdout + failed.stderr
        assert "error: cannot pull" in failed.stderr
        assert why in failed.stderr
        assert fix in failed.stderr
        assert "Traceback" not in failed.stderr
        assert {name: each["Id"] for name, each in containers(machine).items()} == before
        assert f"pulled {missing} " in machine.invoke("images.pull").stdout

    @pytest.mark.parametrize("fault", ["limit", "cut"])
    def test_a_transient_fault_is_retried(self, machine: Machine, missing: str, fault: str) -> None:
        with machine.fault(fault, name=EXTRA, times=1):
            output = machine.invoke("images.pull", timeout=120).stdout
        assert f"pulled {missing} " in output

    def test_a_login_is_used(self, machine: Machine, missing: str) -> None:
        with machine.fault("login"):
            machine.run("docker", "login", "--username=user", "--password-stdin", REGISTRY, text="password")
            try:
                output = machine.invoke("images.pull").stdout
            finally:
                machine.run("docker", "logout", REGISTRY)
        assert f"pulled {missing} " in output

    @pytest.mark.usefixtures("missing")
    def test_up_fails_before_it_changes_a_container(self, machine: Machine) -> None:
        before = {name: each["Id"] for name, each in containers(machine).items()}
        with machine.fault("lacks", name=EXTRA):
            failed = machine.invoke("up", timeout=120, check=False)
        assert failed.returncode == 1, failed.stdout + failed.stderr
        assert "the image does not exist in the registry" in failed.stderr
        assert {name: each["Id"] for name, each in containers(machine).items()} == before
        machine.invoke("up", "--no-smoke")
        assert containers(machine)["jaeger"]["State"]["Health"]["Status"] == "healthy"


def test_images_are_locked_and_started_by_digest(machine: Machine, quickstart: str) -> None:
    machine.invoke("images.lock")
    assert "up to date" in machine.invoke("images.lock", "--check").stdout
    assert all(map(DIGEST.search, published(machine)))
    machine.invoke("down")
    volumes = machine.engine("volume", "ls", "--quiet").split()
    machine.invoke("up", "--no-smoke")
    assert set(volumes) <= set(machine.engine("volume", "ls", "--quiet").split()), "volumes must be kept"
    named = {each["Config"]["Image"] for each in containers(machine).values()}
    assert published(machine) <= named
    digests = machine.engine("image", "inspect", "--format", '{{join .RepoDigests " "}}', *published(machine))
    for name in published(machine):
        assert name.rpartition("@")[2] in digests, name


def test_every_image_is_pulled_again(machine: Machine, quickstart: str) -> None:
    output = machine.invoke("images.pull").stdout
    assert published(machine) <= set(re.findall(r"^ +pulled (\S+) ", output, re.MULTILINE)), output


@pytest.fixture(scope="module")
def production(machine: Machine, quickstart: str) -> str:
    """The output of the first command of docs/deployment.md, after the removal of the development stack."""
    machine.invoke("down", "--volumes", "--yes")
    return machine.run("scripts/quickstart.sh", "--profile=prod", timeout=500).stdout


def test_production_starts(machine: Machine, production: str) -> None:
    """With passwords from files: the exporter of Kafka logs in."""
    checks = {check["name"]: check["outcome"] for check in CHECK.finditer(production)}
    assert set(checks.values()) == {"ok"}, production
    assert {"proxy", "kafka-exporter", "signals"} <= checks.keys()
    assert "SASL" in "".join(containers(machine)["kafka"]["Config"]["Env"])
    machine.invoke("status")


def test_an_image_of_the_registry_is_deployed(machine: Machine, production: str) -> None:
    names = [f"{REGISTRY}/team/monitor:{number}" for number in (1, 2)]
    for number, name in enumerate(names, 1):
        machine.publish(f"FROM network-monitor:dev\nENV RELEASED={number}\n", name)
    machine.write(".env", f"{machine.read('.env')}APP_IMAGE={names[0]}\n")
    machine.invoke("up", "--no-smoke")
    assert containers(machine)["app"]["Config"]["Image"] == names[0]
    machine.invoke("deploy", f"--image={names[1]}")
    assert f"APP_IMAGE={names[1]}\n" in machine.read(".env")
    app = containers(machine)["app"]
    assert app["Config"]["Image"] == names[1]
    assert "RELEASED=2" in app["Config"]["Env"]
