"""Running stacks for the live tests, one a profile; those that need one broken or gone make one of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.live.stack import Stack


def pytest_sessionstart() -> None:
    """Without an engine nothing here can be proven: that is a failure, not a skip."""
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


@pytest.fixture
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that is not up yet, removed afterwards."""
    stack = Stack.create(tmp_path_factory.mktemp("own") / "checkout", "netmon-own")
    try:
        yield stack
    finally:
        stack.destroy()
