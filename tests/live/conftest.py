"""Running stacks for the live tests, one a profile; those that need one broken or gone make one of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.live.stack import WORKER, Stack, one_at_a_time

DEVELOPMENT, FAULTS, PRODUCTION = "development", "faults", "production"
SHARING = {
    "test_alerts": FAULTS,
    "test_application": FAULTS,
    "test_delivery": FAULTS,
    "test_faults": FAULTS,
    "test_signals": FAULTS,
    "test_deploy": PRODUCTION,
    "test_leaks": PRODUCTION,
    "test_prod": PRODUCTION,
    "test_rotation": PRODUCTION,
}
"""Which files share a stack with others: one that is broken and mended again and again, or that of production."""
ALONE = (
    "test_pulled", "test_broker_accounts", "test_lifecycle", "test_bad_input", "test_leak_search", "test_policy",
    "test_validate_programs", "test_images_lock", "test_image_pulls", "test_another_application", "test_contracts",
)  # fmt: skip
"""The files that need none of these stacks. All that are named nowhere share the development stack."""
ORDER = (DEVELOPMENT, FAULTS, PRODUCTION, *ALONE)
"""What takes longest comes first, so that the processes end together."""


def group(nodeid: str) -> str:
    """What a test belongs to: the tests of a group are done one after the other, in one process."""
    file = Path(nodeid.partition("::")[0]).stem
    if nodeid.endswith("[prod_stack]"):
        return PRODUCTION
    return file if file in ALONE and not nodeid.endswith("[stack]") else SHARING.get(file, DEVELOPMENT)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # without types it can be anything
    """Gives each process a group, and another one when it is through with that."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Where the tests run in several processes."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of the groups is that of their tests."""
    items.sort(key=lambda item: ORDER.index(group(item.nodeid)))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """A process that goes on to another group leaves no stack behind, which would take CPU time and networks."""
    if WORKER and nextitem and group(nextitem.nodeid) != group(item.nodeid):
        while UP:
            UP.pop().destroy()


UP: list[Stack] = []
"""The shared stacks of this process."""


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
        UP.append(stack)
        with one_at_a_time():
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
        UP.append(stack)
        stack.invoke("setup", "--profile=prod")
        stack.invoke("images.prepare", timeout=900)
        with one_at_a_time():
            stack.said = stack.invoke("up", timeout=900).stdout
        yield stack
    finally:
        stack.destroy()


@pytest.fixture(scope="session")
def idle_stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A development stack of which nothing runs: its checkout is set up, its images are here, of every group.

    Those of the production profile as well: its services have programs that validate.
    """
    stack = Stack.create(tmp_path_factory.mktemp("idle") / "checkout", "netmon-idle")
    stack.invoke("setup")
    for profile in ("dev", "prod"):
        stack.invoke("images.prepare", f"--profile={profile}", "--every-group", timeout=1800)
    return stack


@pytest.fixture
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that is not up yet, removed afterwards."""
    stack = Stack.create(tmp_path_factory.mktemp("own") / "checkout", "netmon-own")
    try:
        yield stack
    finally:
        stack.destroy()
