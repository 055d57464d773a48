"""The local images fulfil the contracts of the published ones, clause by clause."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from uuid import uuid4

import pytest

from tests.live.stack import Stack
from toolkit.checkout.project import LOCAL, Project
from toolkit.engine.compose import Docker
from toolkit.images.contracts.check import Result, check, images
from toolkit.images.contracts.contract import Break, Case, Config, Folder, load
from toolkit.images.contracts.inspection import Image, inspect

REDIS = "netmon-local/redis:8"


@pytest.fixture(scope="module")
def docker(idle_stack: Stack) -> Docker:
    """The docker of a checkout whose local images are present."""
    if Project.load(idle_stack.root).images != LOCAL:
        pytest.skip("the published images are in use: check them with invoke images.check-contract")
    return Docker(idle_stack.root)


@pytest.fixture(scope="module")
def local(docker: Docker) -> list[Image]:
    """Every local image that has a contract."""
    return images(Project.load(docker.root), docker, LOCAL)


@pytest.fixture(scope="module")
def redis(local: list[Image]) -> Image:
    """The local Redis."""
    return next(image for image in local if image.contract.name == "redis")


def differences(results: list[Result]) -> list[str]:
    return [f"{result.image.name}: {each.what}: {each.problem}" for result in results for each in result.problems]


def test_every_local_image_fulfils_its_contract(docker: Docker, local: list[Image]) -> None:
    with_folder = {path.parent.name for path in (docker.root / "images").glob("*/Dockerfile")}
    assert {image.contract.name for image in local} == with_folder & {each.name for each in load(docker.root)}
    results = check(docker, local)
    assert [result.image.name for result in results if result.verdicts is None] == []
    assert differences(results) == []


def test_redis_rejects_configuration_from_standard_input_after_the_entry_script(redis: Image) -> None:
    """A start that every published image of Redis 8 rejects, and one that every image accepts."""
    assert isinstance(redis.contract.breaks[0], Break)

    def start(*entrypoint: str) -> subprocess.CompletedProcess[str]:
        name = f"contract-{uuid4().hex[:8]}"
        # A started server exits: it cannot bind the configured address.
        return subprocess.run(
            ["docker", "run", "--rm", "--interactive", "--name", name, "--network", "none", "--user", redis.user,
             *entrypoint, "/dev/null", "-"],
            input="bind 203.0.113.1\n", capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    broken = start(redis.name, "redis-server")
    assert broken.returncode == 1
    assert "FATAL CONFIG FILE ERROR" in broken.stderr
    right = start("--entrypoint", "redis-server", redis.name)
    assert "FATAL CONFIG FILE ERROR" not in right.stderr
    assert "203.0.113.1" in right.stdout


def test_every_violated_clause_is_found(docker: Docker, redis: Image) -> None:
    """A contract of which the image fulfils one clause only."""
    config = Config(
        user="999:999",
        entrypoint=("/entrypoint.sh",),
        command=("valkey-server",),
        workdir="/var/lib/redis",
        stop_signal="SIGINT",
        volumes=frozenset({"/data", "/logs"}),
        ports=frozenset({"6380/tcp"}),
        environment={"LANG": "de_AT"},
    )
    contract = replace(
        redis.contract,
        config=config,
        accounts={"redis": "999:999"},
        writes={"/data": Folder("999:1000", 0o700), "/srv/redis": Folder()},
        programs=("sh", "curl"),
        tasks=(),
        missing=("bash",),
        commands=("redis-cli --nothing",),
        cases=(
            Case("redis-server", becomes="redis-server"),
            Case("redis-server", {"X": "1"}, exports=("Y",)),
            Case("true", becomes="redis-server"),
            Case("redis-server a", exits=1),
        ),
        exits_without={"kafka": "true"},
    )
    verdicts = inspect(docker, replace(redis, contract=contract))
    assert [verdict.what for verdict in verdicts if not verdict.problem] == ["program sh"]
    assert len(verdicts) == 20


def test_an_image_without_a_shell_is_inspected_from_outside(docker: Docker, local: list[Image]) -> None:
    collector = next(image for image in local if image.contract.name == "otel-collector")
    programs = replace(collector.contract, programs=("/otelcol-contrib", "/otelcol"), missing=("/bin/sh",))
    found = inspect(docker, replace(collector, contract=programs))
    assert [verdict.what for verdict in found if verdict.problem] == ["program /otelcol"]


def test_missing_published_images_are_reported(docker: Docker, idle_stack: Stack) -> None:
    """With the names of an unused mirror: no image, then one that violates its contract, then one that fulfils it."""
    mirror = f"localhost:9/contract-{uuid4().hex[:8]}"
    tag = f"{mirror}/otel/opentelemetry-collector-contrib:0.162.0"
    env = {"REGISTRY": mirror, "REGISTRY_QUAY": mirror}
    none = idle_stack.invoke("images.check-contract", check=False, env=env)
    assert none.returncode == 1
    assert "no contract was checked" in none.stderr
    try:
        idle_stack.docker("tag", REDIS, tag)
        other = idle_stack.invoke("images.check-contract", check=False, env=env)
        assert other.returncode == 1
        assert re.search(rf"^failed +{re.escape(tag)} +entry point ", other.stdout, re.MULTILINE), other.stdout
        assert "images/otel-collector/contract.yml" in other.stderr
        idle_stack.docker("rmi", tag)
        idle_stack.docker("tag", "netmon-local/otel-collector:0", tag)
        same = idle_stack.invoke("images.check-contract", env=env)
        rows = [line.split()[:2] for line in same.stdout.splitlines()]
        assert ["ok", tag] in rows
        assert ["skipped", f"{mirror}/library/redis:8.10.2-alpine"] in rows
        assert [outcome for outcome, _ in rows].count("skipped") == 18, same.stdout
    finally:
        idle_stack.docker("rmi", "--force", tag, check=False)
