"""The local images are what the published ones are, as far as the stack relies on that: each contract, clause by clause."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest

from tests.live.stack import Stack
from toolkit.compose import Docker
from toolkit.contracts.check import Result, check, images
from toolkit.contracts.contract import Break, Case, Contract, Folder, load
from toolkit.contracts.inspection import Image, inspect
from toolkit.project import LOCAL, Project

REDIS = "netmon-local/redis:8"


@pytest.fixture(scope="module")
def docker(idle_stack: Stack) -> Docker:
    """The docker of a checkout whose local images are here."""
    if Project.load(idle_stack.root).images != LOCAL:
        pytest.skip("the published images are in use: invoke images.check-contract checks those")
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


def test_every_local_image_keeps_its_contract(docker: Docker, local: list[Image]) -> None:
    with_folder = {path.parent.name for path in (docker.root / "images").glob("*/Dockerfile")}
    assert {image.contract.name for image in local} == with_folder & {each.name for each in load(docker.root)}
    results = check(docker, local)
    assert [result.image.name for result in results if result.verdicts is None] == []
    assert differences(results) == []


def test_redis_refuses_its_standard_input_behind_the_entry_script(redis: Image) -> None:
    """The start that no published image of Redis 8 accepts, and the one that each accepts."""
    assert isinstance(redis.contract.breaks[0], Break)

    def start(*entrypoint: str) -> subprocess.CompletedProcess[str]:
        name = f"contract-{uuid4().hex[:8]}"
        # A server that has started ends by itself: it is given an address that it cannot have.
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


def wrong(contract: Contract) -> Iterator[tuple[str, Contract]]:
    """Contracts of Redis that its image does not keep, and the clause in which that shows."""
    config = contract.config
    yield "user", replace(contract, config=replace(config, user="999:999"))
    yield "entry point", replace(contract, config=replace(config, entrypoint=("/entrypoint.sh",)))
    yield "command", replace(contract, config=replace(config, command=("valkey-server",)))
    yield "working directory", replace(contract, config=replace(config, workdir="/var/lib/redis"))
    yield "stop signal", replace(contract, config=replace(config, stop_signal="SIGINT"))
    yield "volumes", replace(contract, config=replace(config, volumes=frozenset({"/data", "/logs"})))
    yield "ports", replace(contract, config=replace(config, ports=frozenset({"6380/tcp"})))
    yield "variable LANG", replace(contract, config=replace(config, environment={"LANG": "de_AT"}))
    yield "account redis", replace(contract, accounts={"redis": "999:999"})
    yield "/data", replace(contract, writes={"/data": Folder("999:1000", 0o700)})
    yield "/srv/redis", replace(contract, writes={"/srv/redis": Folder()})
    yield "program curl", replace(contract, programs=(*contract.programs, "curl"))
    yield "no program bash", replace(contract, missing=("bash",))
    yield "redis-cli --nothing", replace(contract, commands=("redis-cli --nothing",))
    yield "start redis-server", replace(contract, cases=(Case("redis-server", becomes="redis-server"),))
    yield "start X redis-server", replace(contract, cases=(Case("redis-server", {"X": "1"}, exports=("Y",)),))
    yield "start true", replace(contract, cases=(Case("true", becomes="redis-server"),))
    yield "start redis-server a", replace(contract, cases=(Case("redis-server a", exits=1),))
    yield "exits without kafka", replace(contract, exits_without={"kafka": "true"})


def test_every_difference_is_found(docker: Docker, redis: Image) -> None:
    for clause, contract in wrong(redis.contract):
        found = [verdict.what for verdict in inspect(docker, replace(redis, contract=contract)) if verdict.problem]
        assert found == [clause]


def test_an_image_without_a_shell_is_looked_at_from_outside(docker: Docker, local: list[Image]) -> None:
    collector = next(image for image in local if image.contract.name == "otel-collector")
    programs = replace(collector.contract, programs=("/otelcol-contrib", "/otelcol"), missing=("/bin/sh",))
    found = inspect(docker, replace(collector, contract=programs))
    assert [verdict.what for verdict in found if verdict.problem] == ["program /otelcol"]


def test_published_images_that_are_not_here_are_named(docker: Docker, idle_stack: Stack) -> None:
    """Under the names of a mirror that nobody has pulled from: nothing, then one image that differs, then is alike."""
    mirror = f"localhost:9/contract-{uuid4().hex[:8]}"
    tag = f"{mirror}/otel/opentelemetry-collector-contrib:0.162.0"
    ask = {"REGISTRY": mirror, "REGISTRY_QUAY": mirror}
    none = idle_stack.invoke("images.check-contract", check=False, env=ask)
    assert none.returncode == 1
    assert "no contract was checked" in none.stderr
    try:
        idle_stack.docker("tag", REDIS, tag)
        other = idle_stack.invoke("images.check-contract", check=False, env=ask)
        assert other.returncode == 1
        assert f"{tag}  entry point" in " ".join(other.stdout.split(" ")).replace("   ", "  ")
        assert "images/otel-collector/contract.yml" in other.stderr
        idle_stack.docker("rmi", tag)
        idle_stack.docker("tag", "netmon-local/otel-collector:0", tag)
        alike = idle_stack.invoke("images.check-contract", env=ask)
        assert f"{mirror}/library/redis:8.10.2-alpine" in alike.stdout
        assert "skipped: it is not here" in alike.stdout
        assert "1 of 19 checked, without a difference" in alike.stdout
    finally:
        idle_stack.docker("rmi", "--force", tag, check=False)
