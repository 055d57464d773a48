"""The published images of a machine that was empty: faults of the registry, the digest lock, production, a deploy."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tests.live.machine import REGISTRY, Machine, checks

EXTRA = "jaegertracing/jaeger"
"""The repository of a disabled group: its image is missing in the tests of registry faults."""
STALL = 4
"""The stall and registry timeouts of these tests, in seconds."""
TIMEOUT = re.compile(r"^( +(?:stall|registry): )\d+$", re.MULTILINE)
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


@pytest.fixture(scope="class")
def extra_image(machine: Machine, quickstart: str) -> Iterator[str]:
    """Enable the group and shorten the timeouts; yields the name of the group's image."""
    settings, env = machine.read("invoke.yaml"), machine.read(".env")
    machine.write("invoke.yaml", TIMEOUT.sub(rf"\g<1>{STALL}", settings))
    machine.write(".env", env.replace("COMPOSE_PROFILES=monitoring", "COMPOSE_PROFILES=monitoring,jaeger"))
    machine.invoke("setup")
    [name] = {name for name in machine.published() if EXTRA in name}
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
        before = {name: each["Id"] for name, each in machine.containers().items()}
        with machine.fault(fault, name="" if fault in {"login", "silent"} else EXTRA):
            started = time.monotonic()
            failed = machine.invoke("images.pull", timeout=120, check=False)
            assert time.monotonic() - started < 90
        assert failed.returncode == 1, failed.stdout + failed.stderr
        assert "error: cannot pull" in failed.stderr
        assert why in failed.stderr
        assert fix in failed.stderr
        assert "Traceback" not in failed.stderr
        assert {name: each["Id"] for name, each in machine.containers().items()} == before
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
        before = {name: each["Id"] for name, each in machine.containers().items()}
        with machine.fault("lacks", name=EXTRA):
            failed = machine.invoke("up", timeout=120, check=False)
        assert failed.returncode == 1, failed.stdout + failed.stderr
        assert "the image does not exist in the registry" in failed.stderr
        assert {name: each["Id"] for name, each in machine.containers().items()} == before
        machine.invoke("up", "--no-smoke")
        assert machine.containers()["jaeger"]["State"]["Health"]["Status"] == "healthy"


def test_images_are_locked_and_started_by_digest(machine: Machine, quickstart: str) -> None:
    machine.invoke("images.lock")
    assert "up to date" in machine.invoke("images.lock", "--check").stdout
    assert all(map(DIGEST.search, machine.published()))
    machine.invoke("down")
    volumes = machine.engine("volume", "ls", "--quiet").split()
    machine.invoke("up", "--no-smoke")
    assert set(volumes) <= set(machine.engine("volume", "ls", "--quiet").split()), "volumes must be kept"
    named = {each["Config"]["Image"] for each in machine.containers().values()}
    assert machine.published() <= named
    digests = machine.engine("image", "inspect", "--format", '{{join .RepoDigests " "}}', *machine.published())
    for name in machine.published():
        assert name.rpartition("@")[2] in digests, name


def test_every_image_is_pulled_again(machine: Machine, quickstart: str) -> None:
    output = machine.invoke("images.pull").stdout
    assert machine.published() <= set(re.findall(r"^ +pulled (\S+) ", output, re.MULTILINE)), output


@pytest.fixture(scope="module")
def production(machine: Machine, quickstart: str) -> str:
    """The output of the first command of docs/deployment.md, after the removal of the development stack."""
    machine.invoke("down", "--volumes", "--yes")
    return machine.run("scripts/quickstart.sh", "--profile=prod", timeout=500).stdout


def test_production_starts(machine: Machine, production: str) -> None:
    """With passwords from files: the exporter of Kafka logs in."""
    found = checks(production)
    assert set(found.values()) == {"ok"}, production
    assert {"proxy", "kafka-exporter", "signals"} <= found.keys()
    assert "SASL" in "".join(machine.containers()["kafka"]["Config"]["Env"])
    machine.invoke("status")


def test_an_image_of_the_registry_is_deployed(machine: Machine, production: str) -> None:
    names = [f"{REGISTRY}/team/monitor:{number}" for number in (1, 2)]
    for number, name in enumerate(names, 1):
        machine.publish(f"FROM network-monitor:dev\nENV RELEASED={number}\n", name)
    machine.write(".env", f"{machine.read('.env')}APP_IMAGE={names[0]}\n")
    machine.invoke("up", "--no-smoke")
    assert machine.containers()["app"]["Config"]["Image"] == names[0]
    machine.invoke("deploy", f"--image={names[1]}")
    assert f"APP_IMAGE={names[1]}\n" in machine.read(".env")
    app = machine.containers()["app"]
    assert app["Config"]["Image"] == names[1]
    assert "RELEASED=2" in app["Config"]["Env"]
