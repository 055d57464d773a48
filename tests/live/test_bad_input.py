"""A user's mistake ends with a message that names it and an exit code, never a stack trace, and changes nothing."""

from __future__ import annotations

import hashlib
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
    """A checkout that was set up, to be copied."""
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
    """A checkout that was set up and has nothing running."""
    return Stack(shutil.copytree(prepared, tmp_path / "checkout"), "netmon-bad")


def fails(stack: Stack, task: list[str], *said: str, code: int = 1, env: dict[str, str] | None = None) -> str:
    """Run a task that must fail: its exit code, the words that it must say, no stack trace, no file changed."""
    before = fingerprint(stack.root)
    done = stack.invoke(*task, check=False, env=env, timeout=120)
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    assert "Traceback" not in output, output
    for words in said:
        assert words.lower() in output.lower(), f"{words!r} is missing in:\n{output}"
    assert fingerprint(stack.root) == before, "a failed task changed the checkout"
    return output


def fingerprint(root: Path) -> dict[str, str]:
    """Digest of every file of a checkout but caches, locks and logs of the toolkit."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not {".netmon", "__pycache__"} & set(path.relative_to(root).parts)
    }


@pytest.mark.parametrize(
    ("task", "said", "code"),
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
def test_wrong_words(checkout: Stack, task: list[str], said: list[str], code: int) -> None:
    fails(checkout, task, *said, code=code)


@pytest.mark.parametrize("task", [["up"], ["status"], ["wait"], ["smoke"], ["logs"]], ids=" ".join)
def test_no_engine(checkout: Stack, task: list[str]) -> None:
    fails(checkout, task, "error:", "Docker", "fix:", env=NO_ENGINE)


def test_doctor_without_an_engine_says_what_it_can(checkout: Stack) -> None:
    fails(checkout, ["doctor"], "engine", "secrets", env=NO_ENGINE)


@pytest.mark.parametrize(
    ("engine", "compose", "said"),
    [("24.0.9", "2.40.3", ["24.0.9", "25"]), ("28.5.2", "2.23.3", ["2.23.3", "2.24"])],
    ids=["engine", "compose"],
)
def test_too_old(checkout: Stack, tmp_path: Path, engine: str, compose: str, said: list[str]) -> None:
    """A docker that only knows its versions stands first on PATH; whatever else is asked of it fails."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *compose*version*) echo {compose} ;; *version*|*info*) echo {engine} ;;\n'
        '*) echo "too old for: $*" >&2; exit 1 ;; esac\n'
    )
    docker.chmod(0o755)
    fails(checkout, ["up"], *said, "fix:", env={"PATH": f"{docker.parent}:{os.environ['PATH']}"})


def test_no_docker_program(checkout: Stack, tmp_path: Path) -> None:
    fails(checkout, ["up"], "docker", "not installed", "fix:", env={"PATH": str(tmp_path)})


def test_port_taken(checkout: Stack) -> None:
    [port] = free_ports(1)
    path = checkout.root / ".env"
    path.write_text(re.sub(r"^APP_PORT=.*$", f"APP_PORT={port}", path.read_text(), flags=re.MULTILINE))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        output = fails(checkout, ["up"], str(port), "APP_PORT", "fix:")
        assert str(os.getpid()) in output, "the holder is named"
    assert checkout.containers() == []


# Every other kind is a unit test's, see test_secretcheck.py.
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_text(""), "empty"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00 0123456789012345"), "redis_password"),
        (lambda path: path.write_text("0123456789$0123456789"), "letters, digits"),
    ],
    ids=["empty", "not text", "$"],
)
def test_a_password_that_cannot_work_everywhere_is_refused(
    checkout: Stack, damage: Callable[[Path], object], said: str
) -> None:
    path = checkout.root / "secrets" / "redis_password.txt"
    damage(path)
    content = path.read_bytes().decode(errors="replace")
    for task in (["up"], ["setup"]):
        output = fails(checkout, task, "redis_password.txt", said, "fix:")
        assert len(content) < 6 or content not in output, "the password itself is never printed"


def test_an_unreadable_secret(checkout: Stack) -> None:
    path = checkout.root / "secrets" / "redis_password.txt"
    path.unlink()
    path.mkdir()
    fails(checkout, ["up"], "redis_password.txt", "fix:")


def test_a_missing_secret_is_not_replaced_behind_a_known_password(checkout: Stack) -> None:
    """The volume knows the old password, so a fresh one would lock everybody out: .env still has it."""
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
def test_broken_yaml_in_a_layer(checkout: Stack, layer: str, broken: str) -> None:
    (checkout.root / layer).write_text(broken)
    fails(checkout, ["up", "--images=local"], "error:")


@pytest.mark.parametrize("concern", ["prod", "secrets", "security"])
def test_broken_yaml_in_a_production_layer(checkout: Stack, concern: str) -> None:
    layer = f"docker-compose.{concern}.yml"
    (checkout.root / layer).write_text("services: [")
    fails(checkout, ["setup", "--profile=prod"], "error:", layer)


def test_broken_invoke_yaml(checkout: Stack) -> None:
    """Invoke reads it before any task runs, so `validate` is what can name the mistake."""
    (checkout.root / "invoke.yaml").write_text("stack: [")
    done = checkout.run(sys.executable, "-m", "toolkit.validate", check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "invoke.yaml" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_an_override_with_an_unknown_service(checkout: Stack) -> None:
    (checkout.root / "docker-compose.override.yml").write_text("services:\n  ap:\n    environment:\n      A: b\n")
    checkout.invoke("setup")
    fails(checkout, ["config"], "error:", "ap")


def test_an_unknown_variable_is_named_with_its_neighbour(checkout: Stack) -> None:
    with (checkout.root / ".env").open("a") as settings:
        settings.write("APP_PROT=3333\n")
    output = checkout.invoke("doctor", check=False).stdout
    assert "APP_PROT" in output
    assert "APP_PORT" in output


def test_a_public_bind_address_is_refused(checkout: Stack) -> None:
    with (checkout.root / ".env").open("a") as settings:
        settings.write("BIND_ADDRESS=0.0.0.0\n")
    fails(checkout, ["up"], "BIND_ADDRESS", "loopback", "fix:")


def setup_after(stack: Stack, mount: str) -> str:
    """Run `setup`, which must fail, in a mount namespace of its own after the shell commands ``mount``."""
    task = shlex.join(stack.invoke_argv("setup"))
    done = stack.run("unshare", "--mount", "sh", "-c", f"{mount} && cd . && exec {task}", check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return (done.stdout + done.stderr).lower()


def test_setup_in_a_read_only_checkout(tmp_path: Path) -> None:
    copy_checkout(tmp_path / "checkout")
    stack = Stack(tmp_path / "checkout", "netmon-bad")
    before = fingerprint(stack.root)
    root = stack.root
    said = setup_after(stack, f"mount --bind {root} {root} && mount -o remount,bind,ro {root} && cd {root}")
    assert "read-only" in said
    assert fingerprint(root) == before


def test_setup_on_a_full_disk_then_with_space(tmp_path: Path) -> None:
    copy_checkout(tmp_path / "checkout")
    stack = Stack(tmp_path / "checkout", "netmon-bad")
    secrets = stack.root / "secrets"
    said = setup_after(stack, f"mount -t tmpfs -o size=64k tmpfs {secrets}; head -c 1M /dev/zero >{secrets}/fill; true")
    assert "no space left" in said
    assert not (stack.root / ".env").exists(), ".env comes last, so there is none without its secrets"
    stack.invoke("setup")
    assert (stack.root / ".env").exists()
