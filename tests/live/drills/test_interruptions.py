"""Interrupted tasks: the next `up` converges on a healthy, smoke-checked stack."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.stack import Stack, copy_checkout

Record = Callable[[str], None]


def converges(stack: Stack) -> float:
    """Run `up` with its smoke checks and return its seconds; secrets/ and .env must agree afterwards."""
    started = time.monotonic()
    stack.invoke("up", timeout=600)
    settings = (stack.root / ".env").read_text().splitlines()
    for name in ("postgres", "redis", "rabbitmq"):
        value = (stack.root / "secrets" / f"{name}_password.txt").read_text().strip()
        assert f"{name.upper()}_PASSWORD={value}" in settings
    return time.monotonic() - started


def is_complete(secret: Path) -> bool:
    """Whether the file has a complete password or account name."""
    value = secret.read_text().strip()
    return bool(re.fullmatch("(netmon|monitoring)_[ab]", value)) if secret.stem.endswith("_user") else len(value) >= 16


def test_the_second_of_two_concurrent_ups_waits_or_is_rejected(own_stack: Stack, record: Record) -> None:
    """One run starts the stack; the other waits or reports the first one."""
    both = [own_stack.start("up"), own_stack.start("up")]
    outputs = [each.communicate(timeout=600)[0] for each in both]
    codes = sorted(each.returncode for each in both)
    assert codes in ([0, 0], [0, 1]), outputs
    for each, output in zip(both, outputs, strict=True):
        assert "Traceback" not in output
        assert each.returncode == 0 or "another run" in output
    record(f"exit codes {codes}; next up {converges(own_stack):.1f} s")


@pytest.mark.parametrize("after", [0, 1.5, 3, 6, 10])
def test_up_recovers_from_ctrl_c(own_stack: Stack, record: Record, after: float) -> None:
    process = own_stack.start("up")
    assert process.stdout
    # Before the first output Python is still importing, and nothing handles the signal.
    first_line = process.stdout.readline()
    time.sleep(after)
    os.killpg(process.pid, signal.SIGINT)
    output = first_line + process.communicate(timeout=120)[0]
    assert "Traceback" not in output, output
    assert process.returncode in {0, 130}, output
    record(f"exit code {process.returncode}; next up {converges(own_stack):.1f} s")


@pytest.mark.parametrize("after", [0.3, 1.5, 3, 6, 10])
def test_up_recovers_from_a_kill(own_stack: Stack, record: Record, after: float) -> None:
    process = own_stack.start("up")
    time.sleep(after)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=120)
    record(f"next up {converges(own_stack):.1f} s")


def test_setup_recovers_from_a_kill(own_stack: Stack, record: Record) -> None:
    """Killed at 40 points of its run, it leaves no partial file, and the next run completes the setup."""
    started = time.monotonic()
    own_stack.invoke("setup")
    duration = time.monotonic() - started
    kills = 0
    for step in range(40):
        for path in [own_stack.root / ".env", *(own_stack.root / "secrets").glob("*.txt")]:
            path.unlink(missing_ok=True)
        (own_stack.root / ".env").write_text("".join(f"{key}={value}\n" for key, value in own_stack.settings.items()))
        process = own_stack.start("setup")
        time.sleep(duration * step / 40)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        kills += process.returncode == -signal.SIGKILL
        assert [path for path in (own_stack.root / "secrets").glob("*.txt") if not is_complete(path)] == []
        own_stack.invoke("setup")
    assert kills > 10
    record(f"{kills} kills, no partial file; next up {converges(own_stack):.1f} s")


def test_every_container_recovers_from_a_kill(own_stack: Stack, record: Record) -> None:
    """The main process of each container is killed, as by the OOM killer: the stack recovers without intervention."""
    own_stack.invoke("up")
    started = time.monotonic()
    for service in sorted(own_stack.services()):
        os.kill(int(own_stack.container(service)["State"]["Pid"]), signal.SIGKILL)
    own_stack.invoke("wait", "--timeout=120")
    own_stack.invoke("smoke")
    record(f"healthy and smoke green again after {time.monotonic() - started:.1f} s")


def test_up_recovers_from_a_concurrent_down(own_stack: Stack, record: Record) -> None:
    process = own_stack.start("up")
    time.sleep(4)
    down = own_stack.invoke("down", check=False, timeout=300)
    output = process.communicate(timeout=600)[0]
    assert "Traceback" not in output + down.stdout + down.stderr
    record(f"up ended with {process.returncode}, down with {down.returncode}; next up {converges(own_stack):.1f} s")


def test_down_does_not_affect_another_checkout(own_stack: Stack, stack: Stack, record: Record) -> None:
    """`down --volumes` beside the stack of another project."""
    own_stack.invoke("up")
    own_stack.invoke("down", "--volumes", "--yes")
    assert own_stack.leftovers() == []
    assert stack.health()[0] == 200
    record("the other stack is untouched")


def test_up_reports_an_interrupted_initialisation_of_the_database(own_stack: Stack, record: Record) -> None:
    """The database was killed during initialisation: `up` fails instead of starting on a partial schema."""
    own_stack.invoke("setup")
    own_stack.invoke("images.prepare", timeout=900)
    script = own_stack.root / "scripts" / "init-db.sql"
    original = script.read_text()
    script.write_text("SELECT pg_sleep(60);\n" + original)
    own_stack.compose("up", "--detach", "--no-deps", "db")
    time.sleep(8)
    own_stack.compose("kill", "db")
    script.write_text(original)
    done = own_stack.invoke("up", "--timeout=100", check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert "initialis" in output, output
    own_stack.invoke("down", "--volumes", "--yes")
    record(f"failed with an explanation; after down --volumes up takes {converges(own_stack):.1f} s")


def test_up_works_in_a_moved_checkout(own_stack: Stack, record: Record, tmp_path: object) -> None:
    """A checkout has no absolute paths."""
    own_stack.invoke("up")
    moved = own_stack.root.with_name("moved")
    copy_checkout(moved)
    for name in (".env", *(f"secrets/{name}_password.txt" for name in ("postgres", "redis", "rabbitmq"))):
        subprocess.run(["cp", "-p", own_stack.root / name, moved / name], check=True)
    second = Stack(moved, own_stack.name, own_stack.settings)
    record(f"up in the moved checkout {converges(second):.1f} s")
