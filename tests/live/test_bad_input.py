"""A user's mistake causes an error message and an exit code, no stack trace, and no change."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.stack import PORTS, Stack, copy_checkout, free_ports

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout that is set up, as a template."""
    root = tmp_path_factory.mktemp("bad") / "checkout"
    copy_checkout(root)
    stack = Stack(root, "netmon-bad")
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    settings = {"COMPOSE_PROJECT_NAME": "netmon-bad"} | ports
    (root / ".env").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    stack.invoke("setup")
    return root


@pytest.fixture
def checkout(prepared: Path, tmp_path: Path) -> Stack:
    """A checkout that is set up and has no running stack."""
    return Stack(shutil.copytree(prepared, tmp_path / "checkout"), "netmon-bad")


def expect_failure(
    stack: Stack, task: list[str], *messages: str, code: int = 1, env: dict[str, str] | None = None
) -> str:
    """Run a task that must fail with an exit code and messages, without a stack trace or a changed file."""
    before = fingerprint(stack.root)
    done = stack.invoke(*task, check=False, env=env, timeout=120)
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    assert "Traceback" not in output, output
    for message in messages:
        assert message.lower() in output.lower(), f"{message!r} is missing in:\n{output}"
    assert fingerprint(stack.root) == before, "a failed task changed the checkout"
    return output


def fingerprint(root: Path) -> dict[str, str]:
    """Digests of the files of a checkout, except caches, locks and logs of the toolkit."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not {".netmon", "__pycache__"} & set(path.relative_to(root).parts)
    }


@pytest.mark.parametrize(
    ("task", "messages", "code"),
    [
        (["up", "--profile=staging"], ["unknown profile 'staging'", "dev", "prod"], 2),
        (["setup", "--profile=staging"], ["unknown profile 'staging'", "dev", "prod"], 2),
        (["up", "--with=jaguar"], ["unknown group 'jaguar'", "monitoring"], 2),
        (["up", "--without=db"], ["db", "monitoring"], 2),
        (["up", "--images=both"], ["both", "auto", "pull", "local"], 2),
        (["up", "--timeout=soon"], ["timeout", "soon"], 2),
        (["up", "--timeout=-5"], ["timeout", "-5"], 2),
        (["wait", "--timeout=soon"], ["timeout", "soon"], 2),
        (["logs", "--service=datenbank"], ["unknown service 'datenbank'", "db", "redis"], 2),
        (["wait", "--service=datenbank"], ["unknown service 'datenbank'", "db", "redis"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_an_invalid_argument_is_an_error(checkout: Stack, task: list[str], messages: list[str], code: int) -> None:
    expect_failure(checkout, task, *messages, code=code)


@pytest.mark.parametrize("task", [["up"], ["status"], ["wait"], ["smoke"], ["logs"]], ids=" ".join)
def test_a_missing_engine_is_an_error(checkout: Stack, task: list[str]) -> None:
    expect_failure(checkout, task, "error:", "Docker", "fix:", env=NO_ENGINE)


def test_doctor_without_an_engine_runs_the_other_checks(checkout: Stack) -> None:
    expect_failure(checkout, ["doctor"], "engine", "secrets", env=NO_ENGINE)


@pytest.mark.parametrize(
    ("engine", "compose", "messages"),
    [("24.0.9", "2.40.3", ["24.0.9", "25"]), ("28.5.2", "2.23.3", ["2.23.3", "2.24"])],
    ids=["engine", "compose"],
)
def test_an_outdated_engine_or_compose_is_an_error(
    checkout: Stack, tmp_path: Path, engine: str, compose: str, messages: list[str]
) -> None:
    """A stub of docker on PATH prints versions only; every other command fails."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    plugins = [{"Name": "compose", "Version": f"v{compose}"}]
    info = json.dumps({"ServerVersion": engine, "ClientInfo": {"Plugins": plugins}})
    docker.write_text(
        f'#!/bin/sh\n[ "$1" = info ] && exec echo {shlex.quote(info)}\necho "too old for: $*" >&2; exit 1\n'
    )
    docker.chmod(0o755)
    expect_failure(checkout, ["up"], *messages, "fix:", env={"PATH": f"{docker.parent}:{os.environ['PATH']}"})


def test_a_missing_docker_command_is_an_error(checkout: Stack, tmp_path: Path) -> None:
    expect_failure(checkout, ["up"], "docker", "not installed", "fix:", env={"PATH": str(tmp_path)})


def test_a_used_port_is_reported_with_its_process(checkout: Stack) -> None:
    [port] = free_ports(1)
    path = checkout.root / ".env"
    path.write_text(re.sub(r"^APP_PORT=.*$", f"APP_PORT={port}", path.read_text(), flags=re.MULTILINE))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        output = expect_failure(checkout, ["up"], str(port), "APP_PORT", "fix:")
        assert str(os.getpid()) in output, "the process that uses the port is missing"
    assert checkout.containers() == []


# Other kinds are tested in tests/unit/toolkit/checks/test_secretcheck.py.
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_text(""), "empty"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00 0123456789012345"), "redis_password"),
        (lambda path: path.write_text("0123456789$0123456789"), "letters, digits"),
    ],
    ids=["empty", "not text", "$"],
)
def test_an_unsupported_password_is_an_error(checkout: Stack, damage: Callable[[Path], object], message: str) -> None:
    path = checkout.root / "secrets" / "redis_password.txt"
    damage(path)
    content = path.read_bytes().decode(errors="replace")
    for task in (["up"], ["setup"]):
        output = expect_failure(checkout, task, "redis_password.txt", message, "fix:")
        assert len(content) < 6 or content not in output, "the password is printed"


def test_an_unreadable_secret_is_an_error(checkout: Stack) -> None:
    path = checkout.root / "secrets" / "redis_password.txt"
    path.unlink()
    path.mkdir()
    expect_failure(checkout, ["up"], "redis_password.txt", "fix:")


def test_a_missing_secret_is_restored_from_the_settings(checkout: Stack) -> None:
    """The volume has the old password: a new one would break every login, and .env still has the old one."""
    path = checkout.root / "secrets" / "redis_password.txt"
    before = path.read_text()
    path.unlink()
    checkout.invoke("setup")
    assert path.read_text().strip() == before.strip()


@pytest.mark.parametrize(
    ("layer", "broken"),
    [
        ("docker-compose.yml", "services: ["),
        ("docker-compose.dev.yml", "services:\n\tapp:\n"),
        ("images/compose.yml", "services:\n  app:\n    imgae: x\n"),
    ],
)
def test_invalid_yaml_in_a_layer_is_an_error(checkout: Stack, layer: str, broken: str) -> None:
    (checkout.root / layer).write_text(broken)
    expect_failure(checkout, ["up", "--images=local"], "error:")


@pytest.mark.parametrize("concern", ["prod", "secrets", "security"])
def test_invalid_yaml_in_a_production_layer_is_an_error(checkout: Stack, concern: str) -> None:
    layer = f"docker-compose.{concern}.yml"
    (checkout.root / layer).write_text("services: [")
    expect_failure(checkout, ["setup", "--profile=prod"], "error:", layer)


def test_invalid_invoke_yaml_is_reported_by_validate(checkout: Stack) -> None:
    """Invoke reads the file before any task runs, so `validate` has to report the error."""
    (checkout.root / "invoke.yaml").write_text("stack: [")
    done = checkout.run(sys.executable, "-m", "toolkit.validate", check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "invoke.yaml" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_an_override_with_an_unknown_service_is_an_error(checkout: Stack) -> None:
    (checkout.root / "docker-compose.override.yml").write_text("services:\n  ap:\n    environment:\n      A: b\n")
    checkout.invoke("setup")
    expect_failure(checkout, ["config"], "error:", "ap")


def test_an_unknown_variable_is_reported_with_the_closest_name(checkout: Stack) -> None:
    with (checkout.root / ".env").open("a") as settings:
        settings.write("APP_PROT=3333\n")
    output = checkout.invoke("doctor", check=False).stdout
    assert "APP_PROT" in output
    assert "APP_PORT" in output


def test_a_public_bind_address_is_an_error(checkout: Stack) -> None:
    with (checkout.root / ".env").open("a") as settings:
        settings.write("BIND_ADDRESS=0.0.0.0\n")
    expect_failure(checkout, ["up"], "BIND_ADDRESS", "loopback", "fix:")


def failed_setup(stack: Stack, mount: str) -> str:
    """Run `setup` in a new mount namespace after the shell commands ``mount``; it must fail. Returns its output."""
    task = shlex.join(stack.invoke_argv("setup"))
    done = stack.run("unshare", "--mount", "sh", "-c", f"{mount} && cd . && exec {task}", check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return (done.stdout + done.stderr).lower()


def test_setup_in_a_read_only_checkout_changes_nothing(tmp_path: Path) -> None:
    copy_checkout(tmp_path / "checkout")
    stack = Stack(tmp_path / "checkout", "netmon-bad")
    before = fingerprint(stack.root)
    root = stack.root
    output = failed_setup(stack, f"mount --bind {root} {root} && mount -o remount,bind,ro {root} && cd {root}")
    assert "read-only" in output
    assert fingerprint(root) == before


def test_setup_fails_on_a_full_disk_and_succeeds_afterwards(tmp_path: Path) -> None:
    copy_checkout(tmp_path / "checkout")
    stack = Stack(tmp_path / "checkout", "netmon-bad")
    secrets = stack.root / "secrets"
    full = f"mount -t tmpfs -o size=64k tmpfs {secrets}; head -c 1M /dev/zero >{secrets}/fill; true"
    output = failed_setup(stack, full)
    assert "no space left" in output
    assert not (stack.root / ".env").exists(), ".env must not exist without secrets"
    stack.invoke("setup")
    assert (stack.root / ".env").exists()
