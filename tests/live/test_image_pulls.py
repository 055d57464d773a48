"""Pulls of a real engine from a faulty registry: retries, errors, and the state afterwards."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.registry import PASSWORD, USER, Registry, Trouble, serving
from tests.live.stack import Stack

NAME = "netmon-pulls"
REDIS = "library/redis"
TAG = f"{REDIS}:8.10.2-alpine"
STALL = 3
"""The stall timeout in these checkouts, in seconds."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Stack]]:
    """A registry, and a checkout that pulls from it; pulled images are removed."""
    stack = Stack.create(tmp_path_factory.mktemp("pulls") / "checkout", NAME)
    settings = stack.root / "invoke.yaml"
    settings.write_text(
        settings.read_text().replace("stall: 60", f"stall: {STALL}").replace("try: 15", f"try: {STALL}")
    )
    with serving(stack.docker("version", "--format", "{{.Server.Arch}}").strip(), size=200_000) as registry:
        mirrors = f"REGISTRY={registry.address}\nREGISTRY_QUAY={registry.address}\nNETMON_IMAGES=pulled\n"
        (stack.root / ".env").write_text((stack.root / ".env").read_text() + mirrors)
        stack.invoke("setup")
        yield registry, stack
        remove(stack, registry)


def remove(stack: Stack, registry: Registry) -> None:
    """Remove the images that were pulled from the registry."""
    listed = [line.split() for line in stack.docker("images", "--format", "{{.ID}} {{.Repository}}").splitlines()]
    if pulled := {image for image, name in listed if name.startswith(f"{registry.address}/")}:
        stack.docker("rmi", "--force", *pulled)


@pytest.fixture
def served(checkout: tuple[Registry, Stack]) -> tuple[Registry, Stack]:
    """The same without pulled images and troubles, with images of Redis and PostgreSQL that share no layer."""
    registry, stack = checkout
    remove(stack, registry)
    registry.troubles.clear()
    registry.moved = {name: registry.publish(name, 500_000) for name in (REDIS, "library/postgres")}
    registry.requests.clear()
    return registry, stack


def test_transient_errors_are_retried(served: tuple[Registry, Stack]) -> None:
    registry, stack = served
    registry.troubles = {
        REDIS: Trouble("cuts", 1),
        "library/postgres": Trouble("limits", 1),
        "library/rabbitmq": Trouble("fails", 3),
    }
    output = stack.invoke("images.pull").stdout
    assert "images, up to 716.8 kB, 2 of them of unknown size" in output, (
        "the first response of two repositories was an error"
    )
    assert f"{registry.address}/library/rabbitmq:4.3.6-management-alpine: the registry fails" in output
    for name in (f"{TAG} (", "library/python:3.14-slim-trixie (", "library/maven:", "apache/kafka:4.3.1 ("):
        assert f"pulled {registry.address}/{name}" in output, "base images of builds are pulled too"
    assert f"pulled {registry.address}/{TAG} (512.0 kB, " in output
    published = [image for image in stack.compose("config", "--images").split() if image.startswith(registry.address)]
    assert len(published) > 5
    stack.docker("image", "inspect", *published)


def test_sizes_are_listed(served: tuple[Registry, Stack]) -> None:
    registry, stack = served
    registry.troubles = {REDIS: Trouble("lacks")}
    lines = stack.invoke("images.list", "--sizes").stdout.splitlines()
    [redis], [postgres] = ([line for line in lines if f"/{name}:" in line] for name in (REDIS, "library/postgres"))
    assert redis.endswith("unknown")
    assert postgres.endswith("512.0 kB")
    assert lines[-1] == "to download: 716.8 kB for 16 images, shared layers counted once, and 1 of unknown size"


@pytest.mark.parametrize(
    ("kind", "why", "fix"),
    [
        ("lacks", "the image does not exist in the registry (manifest", "correct the tag in docker-compose.yml"),
        ("denies", "access denied", "docker login {address} with another account"),
        ("login", "authentication required", "docker login {address}, then retry"),
        ("stalls", f"the registry stalled (no data for {STALL} s)", "set a mirror in .env"),
    ],
)
def test_a_permanent_error_fails_fast(served: tuple[Registry, Stack], kind: str, why: str, fix: str) -> None:
    registry, stack = served
    registry.troubles = {REDIS: Trouble(kind)}
    started = time.monotonic()
    failed = stack.invoke("images.pull", check=False)
    assert failed.returncode == 1
    # A login is for the whole registry.
    name = f"{registry.address}/" if kind == "login" else f"{registry.address}/{TAG}: "
    assert f"error: cannot pull {name}" in failed.stderr
    assert why in failed.stderr
    assert fix.format(address=registry.address) in failed.stderr
    assert "Traceback" not in failed.stderr
    assert time.monotonic() - started < 60
    registry.troubles.clear()
    stack.invoke("images.pull")


def test_a_build_uses_local_base_images_without_a_registry(served: tuple[Registry, Stack], tmp_path: Path) -> None:
    registry, stack = served
    stack.docker("pull", f"{registry.address}/{TAG}")
    registry.requests.clear()
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nLABEL built=here\n")
    build = {"context": str(tmp_path), "args": {"BASE_IMAGE": f"{registry.address}/{TAG}"}}
    (tmp_path / "compose.yml").write_text(
        json.dumps({"services": {"built": {"image": f"{NAME}-built", "build": build}}})
    )
    stack.docker("compose", "--file", str(tmp_path / "compose.yml"), "build", "--no-cache", "built")
    assert registry.requests == []
    stack.docker("rmi", f"{NAME}-built")


def test_quickstart_pulls_the_same_images_as_the_tasks(served: tuple[Registry, Stack]) -> None:
    registry, stack = served
    script = "here=scripts; root=$PWD; . scripts/lib.sh; . scripts/phases.sh; published_images"
    listed = stack.run("bash", "-c", script, env={"PROFILE": "dev"}).stdout.split()
    rows = [line for line in stack.invoke("images.list").stdout.splitlines() if registry.address in line]
    assert sorted(listed) == sorted(word for row in rows for word in row.split() if word.startswith(registry.address))
    assert listed[0] == f"{registry.address}/library/python:3.14-slim-trixie"


def test_a_login_is_used(served: tuple[Registry, Stack], tmp_path: Path) -> None:
    registry, stack = served
    registry.troubles = {REDIS: Trouble("login")}
    plugins = Path.home() / ".docker" / "cli-plugins"
    if plugins.exists():
        (tmp_path / "cli-plugins").symlink_to(plugins)
    env = {"DOCKER_CONFIG": str(tmp_path)}
    (tmp_path / "config.json").write_text("{}")
    stack.run("docker", "login", "--username", USER, "--password", PASSWORD, registry.address, env=env)
    output = stack.invoke("images.pull", env=env).stdout
    assert f"pulled {registry.address}/{TAG}" in output
    assert "unknown size" not in output, "the login must be used for the sizes too"


def test_ctrl_c_stops_running_pulls(served: tuple[Registry, Stack]) -> None:
    registry, stack = served
    registry.troubles = {REDIS: Trouble("stalls")}
    process = stack.start("images.pull")
    deadline = time.monotonic() + 60
    while not any(f"/{REDIS}/blobs/" in line for line in registry.requests) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode not in {0, None}
    assert "Traceback" not in output
    listed = stack.run("ps", "-e", "-o", "args").stdout
    assert f"docker pull {registry.address}/" not in listed


@pytest.mark.parametrize(
    ("trouble", "verdict"),
    [
        (None, "usable"),
        (Trouble("limits", 1), "usable"),
        (Trouble("stalls"), "unreachable: the registry stalled"),
        (Trouble("fails"), "unreachable: the registry fails"),
        (Trouble("lacks"), "refused: the image does not exist in the registry"),
        (Trouble("login"), "refused: authentication required"),
        (Trouble("limits"), "refused: the rate limit of the registry is exceeded"),
    ],
)
def test_the_registry_probe_distinguishes_refusals_from_unreachable_registries(
    served: tuple[Registry, Stack], trouble: Trouble | None, verdict: str
) -> None:
    registry, stack = served
    registry.troubles = {REDIS: trouble} if trouble else {}
    found = stack.run(sys.executable, "-c", PROBE, json.dumps(f"{registry.address}/{TAG}"), str(STALL)).stdout
    assert found.startswith(verdict)


PROBE = """
import json, sys
from toolkit.images import pulls
from toolkit.images.failures import PullError
from toolkit.tasks import checkout
from invoke.context import Context
try:
    pulls.probe(*checkout(Context()), json.loads(sys.argv[1]), float(sys.argv[2]))
    print("usable")
except PullError as error:
    print(f"{'unreachable' if error.unreachable else 'refused'}: {error.why}")
"""
