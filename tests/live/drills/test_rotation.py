"""Rotation of every credential under load; rotations of each kind are killed after each step and completed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.live import rotations
from tests.live.load import Load
from tests.live.stack import Stack, kill, until
from toolkit.checkout.accounts import Account, Credential

Record = Callable[[str], None]

NAMES = (
    "postgres_password", "postgres_app", "postgres_monitoring", "postgres_backup_password", "redis_password",
    "redis_app_password",
    "redis_monitoring_password", "rabbitmq_password", "rabbitmq_app", "rabbitmq_monitoring_password", "kafka_app",
    "kafka_monitoring_password", "grafana_admin_password", "api_token",
)  # fmt: skip
KINDS = ("api_token", "postgres_app", "redis_app_password", "rabbitmq_app", "kafka_app", "postgres_monitoring")
STEPS = {
    "begun": "▶ rotate",
    "accepted": "  {service} accepts",
    "written": "  updated ",
    "one client replaced": ", removed|: restarted",
    "all clients replaced": "  every client uses the new credential",
    "refused": "  {service} rejects",
}
"""Patterns of the output after each step; the run is killed there."""
CLIENT_STEPS = {"one client replaced", "all clients replaced"}
"""Steps that a rotation of the token does not have: its clients are outside the stack."""


@pytest.fixture
def load(prod_stack: Stack) -> Load:
    """Clients of the proxy."""
    proxy = prod_stack.proxy()
    return Load(proxy.address, prod_stack.authorization, session=proxy.session)


@pytest.fixture(autouse=True)
def _repair(prod_stack: Stack) -> Iterator[None]:
    """Repair the stack after a drill."""
    yield
    prod_stack.invoke("up", "--no-smoke")


def account_of(stack: Stack, name: str) -> Account:
    """The account with this name; skips the test if its service is unavailable."""
    account = rotations.all_accounts(stack)[name]
    if account.service in stack.unavailable():
        pytest.skip(f"{account.service} is not in the {stack.images} images")
    return account


def assert_rotated(stack: Stack, account: Account, before: Credential) -> None:
    """The new credential is accepted, the old one is rejected, no journal is left, and every service is healthy."""
    after = rotations.current_credential(stack, account)
    assert after != before
    assert rotations.accepts(stack, account, after)
    assert not rotations.accepts(stack, account, before), "the old credential is still accepted"
    assert not rotations.unfinished(stack)
    stack.invoke("secrets.check")
    stack.wait_until_recovered()


@pytest.mark.parametrize("name", NAMES)
def test_a_rotation_fails_no_request(prod_stack: Stack, load: Load, record: Record, name: str) -> None:
    account = account_of(prod_stack, name)
    before = rotations.current_credential(prod_stack, account)
    with load.running():
        started = time.monotonic()
        prod_stack.invoke("secrets.rotate", f"--name={name}", "--yes")
        seconds = time.monotonic() - started
        time.sleep(3)
    assert_rotated(prod_stack, account, before)
    assert load.unfinished(60) == []
    record(f"{load}; {seconds:.0f} s; old refused")
    assert load.failures == []


def test_rotation_of_the_token_fails_no_write(prod_stack: Stack) -> None:
    """No container is restarted; a client that reads the file for each request is never rejected."""
    account = rotations.all_accounts(prod_stack)["api_token"]
    proxy = prod_stack.proxy()
    load = Load(proxy.address, prod_stack.authorization, rate=100, session=proxy.session)
    before, containers = rotations.current_credential(prod_stack, account), prod_stack.containers()
    prod_stack.compose("up", "--detach", "--no-deps", "--scale", "app=2", "--no-recreate", "app")
    prod_stack.invoke("wait")
    try:
        with load.running():
            done = prod_stack.invoke("secrets.rotate", "--name=api_token", "--yes")
        replicas, containers_after = prod_stack.containers("app"), prod_stack.containers()
    finally:
        prod_stack.invoke("up", "--no-smoke")
    after = rotations.current_credential(prod_stack, account)
    assert load.failures == []
    assert len(load.accepted) > 20
    assert len(replicas) == 2
    assert set(containers_after) >= set(containers), "a container was recreated"
    assert rotations.accepts(prod_stack, account, after)
    assert not rotations.accepts(prod_stack, account, before)
    output = done.stdout + done.stderr + prod_stack.compose("logs", "app", "proxy")
    assert not any(each.password in output for each in (before, after))
    prod_stack.invoke("secrets.check")


@pytest.mark.parametrize(
    ("name", "step"),
    [(name, step) for name in KINDS for step in STEPS if name != "api_token" or step not in CLIENT_STEPS],
)
def test_a_killed_rotation_is_completed(prod_stack: Stack, load: Load, record: Record, name: str, step: str) -> None:
    account = account_of(prod_stack, name)
    before = rotations.current_credential(prod_stack, account)
    with load.running():
        process = prod_stack.start("secrets.rotate", f"--name={name}", "--yes")
        read_until(process, STEPS[step].format(service=account.service))
        kill(process)
        unfinished = rotations.unfinished(prod_stack)
        time.sleep(3)
        started = time.monotonic()
        resumed = prod_stack.invoke("secrets.rotate", f"--name={name}", "--yes", check=False)
        seconds = time.monotonic() - started
        time.sleep(3)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert_rotated(prod_stack, account, before)
    assert load.unfinished(60) == []
    record(f"{'unfinished' if unfinished else 'finished'}; {load}; the next took {seconds:.0f} s; old refused")
    assert load.failures == []


def test_ctrl_c_leaves_both_credentials_valid(prod_stack: Stack, load: Load, record: Record) -> None:
    """The task prints the next command, and `up`, `secrets.check` and `doctor` report the unfinished rotation."""
    account = account_of(prod_stack, "postgres_app")
    before = rotations.current_credential(prod_stack, account)
    with load.running():
        process = prod_stack.start("secrets.rotate", f"--name={account.name}", "--yes")
        read_until(process, STEPS["written"])
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate(timeout=120)[0]
        assert process.returncode == 130, output
        assert "Traceback" not in output, output
        assert f"run: invoke secrets.rotate --name={account.name}" in output
        for task in (("secrets.check",), ("up", "--no-smoke"), ("doctor",)):
            output = prod_stack.invoke(*task, check=False).stdout
            assert f"the rotation of {account.name} is unfinished" in output, output
        for each in (before, rotations.current_credential(prod_stack, account)):
            assert rotations.accepts(prod_stack, account, each)
        prod_stack.invoke("secrets.rotate", f"--name={account.name}", "--yes")
    assert_rotated(prod_stack, account, before)
    record(f"{load}")
    assert load.failures == []


@pytest.mark.parametrize("service", ["db", "redis", "rabbitmq", "kafka"])
def test_a_restarted_service_has_the_new_credentials(prod_stack: Stack, record: Record, service: str) -> None:
    """Its files and data are those of the last rotation, not those of the last start."""
    own = [account for account in rotations.all_accounts(prod_stack).values() if account.service == service]
    before = [rotations.current_credential(prod_stack, account) for account in own]
    for account in own:
        prod_stack.invoke("secrets.rotate", f"--name={account.name}", "--yes")
    started = time.monotonic()
    prod_stack.compose("restart", service)
    until(lambda: prod_stack.container(service)["State"]["Health"]["Status"] == "healthy", 120, f"{service} healthy")
    record(f"healthy after {time.monotonic() - started:.0f} s")
    for account, old in zip(own, before, strict=True):
        assert rotations.accepts(prod_stack, account, rotations.current_credential(prod_stack, account)), account.name
        assert not rotations.accepts(prod_stack, account, old), account.name


def read_until(process: subprocess.Popen[str], pattern: str) -> None:
    """Read the output of a run until a line matches the pattern."""
    assert process.stdout
    assert any(re.search(pattern, line) for line in process.stdout), f"no line matches '{pattern.strip()}'"
