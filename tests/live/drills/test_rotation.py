"""Every credential rotated under load; one of each kind killed after each step, and completed by the next run."""

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
    "postgres_password", "postgres_app", "postgres_monitoring", "redis_password", "redis_app_password",
    "redis_monitoring_password", "rabbitmq_password", "rabbitmq_app", "rabbitmq_monitoring_password", "kafka_app",
    "kafka_monitoring_password", "grafana_admin_password", "api_token",
)  # fmt: skip
KINDS = ("api_token", "postgres_app", "redis_app_password", "rabbitmq_app", "kafka_app", "postgres_monitoring")
STEPS = {
    "begun": "▶ rotate",
    "accepted": "  {service} accepts",
    "written": " say it",
    "one client replaced": ", removed|: restarted",
    "all clients replaced": "  every client uses it",
    "refused": "  {service} refuses",
}
"""What a run says, as a pattern, once it has come so far; it is killed then."""
OF_CLIENTS = {"one client replaced", "all clients replaced"}
"""Not those of the token: its clients are not of the stack."""


@pytest.fixture
def load(prod_stack: Stack) -> Load:
    """Clients of the proxy."""
    proxy = prod_stack.front()
    return Load(proxy.address, prod_stack.access, session=proxy.session)


@pytest.fixture(autouse=True)
def _whole(prod_stack: Stack) -> Iterator[None]:
    """Whatever a drill has left undone is put right for the next one."""
    yield
    prod_stack.invoke("up", "--no-smoke")


def account_of(stack: Stack, name: str) -> Account:
    """The account, where its service runs."""
    account = rotations.all_of(stack)[name]
    if account.service in stack.absent():
        pytest.skip(f"{account.service} is not in the {stack.images} images")
    return account


def whole(stack: Stack, account: Account, before: Credential) -> None:
    """The new one opens, the old one is refused, nothing is left, and everything is healthy."""
    after = rotations.in_use(stack, account)
    assert after != before
    assert rotations.lets_in(stack, account, after)
    assert not rotations.lets_in(stack, account, before), "the old one is refused"
    assert not rotations.unfinished(stack)
    stack.invoke("secrets.check")
    stack.invoke("wait")


@pytest.mark.parametrize("name", NAMES)
def test_under_load(prod_stack: Stack, load: Load, record: Record, name: str) -> None:
    account = account_of(prod_stack, name)
    before = rotations.in_use(prod_stack, account)
    with load.running():
        begun = time.monotonic()
        prod_stack.invoke("secrets.rotate", f"--name={name}", "--yes")
        seconds = time.monotonic() - begun
        time.sleep(3)
    whole(prod_stack, account, before)
    assert load.unfinished(60) == []
    record(f"{load}; {seconds:.0f} s; old refused")
    assert load.failures == []


@pytest.mark.parametrize(
    ("name", "step"),
    [(name, step) for name in KINDS for step in STEPS if name != "api_token" or step not in OF_CLIENTS],
)
def test_killed(prod_stack: Stack, load: Load, record: Record, name: str, step: str) -> None:
    account = account_of(prod_stack, name)
    before = rotations.in_use(prod_stack, account)
    with load.running():
        process = prod_stack.start("secrets.rotate", f"--name={name}", "--yes")
        read_until(process, STEPS[step].format(service=account.service))
        kill(process)
        unfinished = rotations.unfinished(prod_stack)
        time.sleep(3)
        begun = time.monotonic()
        again = prod_stack.invoke("secrets.rotate", f"--name={name}", "--yes", check=False)
        seconds = time.monotonic() - begun
        time.sleep(3)
    assert again.returncode == 0, again.stdout + again.stderr
    whole(prod_stack, account, before)
    assert load.unfinished(60) == []
    record(f"{'unfinished' if unfinished else 'had ended'}; {load}; the next took {seconds:.0f} s; old refused")
    assert load.failures == []


def test_ctrl_c(prod_stack: Stack, load: Load, record: Record) -> None:
    """Says what is next; `up` and `secrets.check` do too; both credentials work meanwhile."""
    account = account_of(prod_stack, "postgres_app")
    before = rotations.in_use(prod_stack, account)
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
            told = prod_stack.invoke(*task, check=False).stdout
            assert f"the rotation of {account.name} is unfinished" in told, told
        for each in (before, rotations.in_use(prod_stack, account)):
            assert rotations.lets_in(prod_stack, account, each)
        prod_stack.invoke("secrets.rotate", f"--name={account.name}", "--yes")
    whole(prod_stack, account, before)
    record(f"{load}")
    assert load.failures == []


@pytest.mark.parametrize("service", ["db", "redis", "rabbitmq", "kafka"])
def test_a_service_that_starts_again_knows_the_new_ones(prod_stack: Stack, record: Record, service: str) -> None:
    """Its files and its data are those of the last rotation, not those of its last start."""
    mine = [account for account in rotations.all_of(prod_stack).values() if account.service == service]
    before = [rotations.in_use(prod_stack, account) for account in mine]
    for account in mine:
        prod_stack.invoke("secrets.rotate", f"--name={account.name}", "--yes")
    begun = time.monotonic()
    prod_stack.compose("restart", service)
    until(lambda: prod_stack.container(service)["State"]["Health"]["Status"] == "healthy", 120, f"{service} healthy")
    record(f"healthy after {time.monotonic() - begun:.0f} s")
    for account, old in zip(mine, before, strict=True):
        assert rotations.lets_in(prod_stack, account, rotations.in_use(prod_stack, account)), account.name
        assert not rotations.lets_in(prod_stack, account, old), account.name


def read_until(process: subprocess.Popen[str], sign: str) -> None:
    """Read what a run prints until a line in which this pattern is found."""
    assert process.stdout
    assert any(re.search(sign, line) for line in process.stdout), f"it has ended without saying '{sign.strip()}'"
