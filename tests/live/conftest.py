"""Running stacks for the live tests, one a profile; those that need one broken or gone make one of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.live.stack import WORKER, Stack

PRODUCTION = ("test_deploy", "test_leaks", "test_prod", "test_rotation")
"""The files whose tests share the production stack."""
ALONE = (
    "test_another_application", "test_bad_input", "test_broker_accounts", "test_images_lock", "test_lifecycle",
    "test_policy", "test_validate_programs",
)  # fmt: skip
"""The files that need none of the running stacks; all others share the development stack."""


class Scheduling(LoadScopeScheduling):
    """What shares a stack is done in one process, one test after the other; what is alone fills up the others."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0]).stem
        if file in PRODUCTION or nodeid.endswith("[prod_stack]"):
            return "production"
        return file if file in ALONE and not nodeid.endswith("[stack]") else "development"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Where the tests run in several processes."""
    return Scheduling(config, log)


def pytest_sessionstart() -> None:
    """Without an engine nothing here can be proven: that is a failure, not a skip."""
    if WORKER:
        return  # the process that started this one has asked
    answer = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True,
                            check=False)  # fmt: skip
    if answer.returncode:
        pytest.exit(f"live tests need a Docker Engine: {answer.stderr.strip()}\n"
                    "fix: scripts/engine.sh start, or run scripts/test.sh", returncode=1)  # fmt: skip


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A development stack, up, healthy and smoke-checked; shared, so whoever breaks it mends it."""
    stack = Stack.create(tmp_path_factory.mktemp("live") / "checkout", "netmon-live")
    try:
        stack.invoke("up", "--profile=dev", timeout=900)
        yield stack
    finally:
        stack.destroy()


@pytest.fixture(scope="session")
def prod_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A production stack, up, healthy and smoke-checked; shared, so whoever breaks it mends it."""
    root = tmp_path_factory.mktemp("prod") / "checkout"
    stack = Stack.create(root, "netmon-prod", DOMAIN="netmon.localhost")
    try:
        stack.invoke("setup", "--profile=prod")
        stack.invoke("images.prepare", timeout=900)
        stack.said = stack.invoke("up", timeout=900).stdout
        yield stack
    finally:
        stack.destroy()


@pytest.fixture(scope="session")
def idle_stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A development stack of which nothing runs: its checkout is set up, its images are here."""
    stack = Stack.create(tmp_path_factory.mktemp("idle") / "checkout", "netmon-idle")
    stack.invoke("setup")
    stack.invoke("images.prepare", timeout=900)
    return stack


@pytest.fixture
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that is not up yet, removed afterwards."""
    stack = Stack.create(tmp_path_factory.mktemp("own") / "checkout", "netmon-own")
    try:
        yield stack
    finally:
        stack.destroy()
