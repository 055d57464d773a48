"""Hosts with a history: another profile, another clone, a moved checkout, orphans, and old data in volumes.

The tests share a stack without monitoring, in this order, and leave it running.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.stack import Stack, copy_checkout, start_lock, until

UP = ("up", "--without=monitoring", "--no-smoke")
DEAD = "http://127.0.0.2:9"
LEFT = "proxy (of the profile prod"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A development stack without monitoring; Docker passes a proxy to its containers on which nothing listens."""
    folder = tmp_path_factory.mktemp("history")
    stack = Stack.create(folder / "first", "netmon-history", DOMAIN="netmon.localhost")
    (folder / "config.json").write_text(json.dumps({"proxies": {"default": {"httpProxy": DEAD, "httpsProxy": DEAD}}}))
    try:
        stack.invoke("setup")
        for profile in ("dev", "prod"):  # a build needs the proxies of this machine
            stack.invoke("images.prepare", f"--profile={profile}", timeout=900)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_CONFIG", str(folder))
            with start_lock():
                stack.invoke(*UP, "--profile=dev", timeout=900)
            yield stack
    finally:
        stack.destroy()


@pytest.fixture
def clone(stack: Stack, tmp_path: Path) -> Stack:
    """A second checkout with the same project name and the same images."""
    root = tmp_path / "second"
    copy_checkout(root)
    settings = {**stack.settings, "NETMON_IMAGES": stack.images}
    (root / ".env").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return Stack(root, stack.name, settings)


def refused(stack: Stack, *task: str) -> str:
    """The output of a task that must fail, without a stack trace and without a change of the containers."""
    before = stack.containers()
    done = stack.invoke(*task, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert "Traceback" not in output, output
    assert stack.containers() == before, output
    return output


def in_volume(stack: Stack, volume: str, command: str) -> str:
    """Run a shell command as root in a volume of the project, which must exist."""
    name = f"{stack.name}_{volume}"
    assert name in stack.docker("volume", "ls", "--format", "{{.Name}}").split()
    image = stack.configuration()["db"]["image"]
    words = ("--rm", "--user", "0", "--volume", f"{name}:/old", "--workdir", "/old", "--entrypoint", "sh")
    return stack.docker("run", *words, image, "-c", command)


def test_containers_take_no_proxy_of_the_docker_client(stack: Stack) -> None:
    """It is healthy with one; a service that would use it for requests to others is found by `nox -s validate`."""
    for service in ("app", "worker"):
        variables = stack.exec(service, "printenv").splitlines()
        assert f"HTTP_PROXY={DEAD}" in variables
        assert "NO_PROXY=*" in variables


@pytest.mark.parametrize("task", ["up", "down"])
def test_second_clone_is_refused_with_the_folder_of_the_first(stack: Stack, clone: Stack, task: str) -> None:
    clone.invoke("setup")
    output = refused(clone, *(UP if task == "up" else (task,)))
    assert f"the project {stack.name} belongs to another folder" in output
    assert str(stack.root) in output
    assert f"COMPOSE_PROJECT_NAME={stack.name}-second" in output
    assert stack.health()[0] == 200


def test_orphan_is_listed_and_removed_after_confirmation(stack: Stack) -> None:
    override = stack.root / "docker-compose.override.yml"
    image = stack.configuration()["worker"]["image"]
    service = f"{{image: '{image}', entrypoint: [sleep, '900'], init: true}}"
    override.write_text(f"services:\n  web: {service}\n")
    try:
        stack.invoke("setup")
        stack.compose("up", "--detach", "--no-deps", "web")
    finally:
        override.unlink()
    stack.invoke("setup")
    assert "web is in no compose file" in stack.invoke("status").stdout
    findings = json.loads(stack.invoke("status", "--json").stdout)["findings"]
    left = [(each["subject"], each["outcome"]) for each in findings if each["check"] == "leftovers"]
    assert left == [("web", "warning")]
    assert "services that are in no compose file: web" in refused(stack, *UP)
    stack.invoke(*UP, "--yes")
    assert stack.containers("web") == []


def test_moved_checkout_takes_its_stack_over_after_confirmation(stack: Stack) -> None:
    former = stack.root
    probe = stack.probe("http://app:3000/api/health/live")
    stack.result(probe)
    stack.root = former.rename(former.with_name("moved"))
    output = refused(stack, *UP)
    assert f"{former}, which does not exist on this machine" in output
    with start_lock():
        stack.invoke(*UP, "--yes", timeout=900)
    until(lambda: stack.health()[0] == 200, 30, "health after the move")
    folders = {
        each["Config"]["Labels"]["com.docker.compose.project.working_dir"]
        for each in json.loads(stack.docker("inspect", *stack.containers()))
    }
    assert folders == {str(stack.root)}
    assert stack.result(probe)["status"] == "succeeded", "the data must be kept"


@pytest.fixture(scope="module")
def kept(stack: Stack) -> str:
    """The stack is down, with its volumes; a probe whose result is in them."""
    probe = stack.probe("http://app:3000/api/health/live")
    stack.result(probe)
    stack.invoke("down")
    return probe


def test_postgresql_of_another_layout_is_refused_and_nothing_starts_empty(stack: Stack, kept: str) -> None:
    assert kept
    in_volume(stack, "postgres_data", "mv 18/docker 18/old && mv 18/old/* . && rmdir 18/old 18")
    output = refused(stack, *UP)
    assert f"{stack.name}_postgres_data contains PostgreSQL 18 (PG_VERSION)" in output
    assert "docs/operations.md#data-of-another-version" in output
    assert in_volume(stack, "postgres_data", "ls -d 18 2>/dev/null || true") == "", "a refusal changes nothing"
    for task in ("status", "doctor"):
        assert "contains PostgreSQL 18 (PG_VERSION)" in refused(stack, task)
    move = "mkdir -p 18/docker && for each in *; do [ $each = 18 ] || mv $each 18/docker/; done"
    in_volume(stack, "postgres_data", f"{move}; chown 999:999 18 18/docker; chmod 700 18/docker")


def test_rabbitmq_of_another_host_name_is_refused(stack: Stack, kept: str) -> None:
    assert kept
    rename = "cd mnesia && for each in rabbit@{}*; do mv $each rabbit@{}${{each#rabbit@{}}}; done"
    in_volume(stack, "rabbitmq_data", rename.format("rabbitmq", "4f2a", "rabbitmq"))
    output = refused(stack, *UP)
    assert f"{stack.name}_rabbitmq_data contains RabbitMQ under another host name" in output
    in_volume(stack, "rabbitmq_data", rename.format("4f2a", "rabbitmq", "4f2a"))


def test_second_clone_does_not_start_on_the_data_of_the_first(stack: Stack, clone: Stack, kept: str) -> None:
    assert kept
    output = refused(clone, *UP)
    assert f"{stack.name}_postgres_data is older than its password in secrets/" in output
    assert clone.containers() == []


def test_production_starts_on_the_data_of_development(stack: Stack, kept: str) -> None:
    """The refusals above have changed nothing."""
    assert kept
    with start_lock():
        stack.invoke(*UP, "--profile=prod", timeout=900)
    socket.create_connection(("127.0.0.1", int(stack.settings["PROXY_HTTPS_PORT"])), timeout=5).close()


def test_development_after_production_removes_the_proxy_before_the_start(stack: Stack, kept: str) -> None:
    stack.invoke("setup", "--profile=dev")
    for task in ("status", "doctor", "deploy"):
        assert LEFT in refused(stack, task)
    with start_lock():
        output = stack.invoke(*UP, timeout=900).stdout
    assert LEFT in output
    assert "left over, stopped and removed" in output
    assert stack.containers("proxy") == []
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(stack.settings["PROXY_HTTPS_PORT"])), timeout=5).close()
    assert LEFT not in stack.invoke("doctor", check=False).stdout
    assert stack.result(kept)["status"] == "succeeded", "the data must be kept"
