"""Shared stacks of the live tests, one for each profile; destructive tests create their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.live.machine import Machine
from tests.live.stack import WORKER, Stack, start_lock
from toolkit.checkout.project import Project

DEVELOPMENT, FAULTS, PRODUCTION = "development", "faults", "production"
SHARING = {
    "test_application": FAULTS,
    "test_delivery": FAULTS,
    "test_durability": FAULTS,
    "test_alerts": FAULTS,
    "test_faults": FAULTS,
    "test_fault_cells": FAULTS,
    "test_log_backlog": FAULTS,
    "test_signals": FAULTS,
    "test_target_alerts": FAULTS,
    "test_maintenance": FAULTS,
    "test_heartbeats": FAULTS,
    "test_deploy": PRODUCTION,
    "test_leaks": PRODUCTION,
    "test_prod": PRODUCTION,
    "test_rotation": PRODUCTION,
    "test_broker_accounts": PRODUCTION,
}
"""The files that share a stack: the one for faults, which their tests repair, or the one of production.

In the order of their execution.
"""
ALONE = (
    "test_pulled", "test_lifecycle", "test_bad_input", "test_policy", "test_backup",
    "test_validate_programs", "test_images_lock", "test_image_pulls", "test_another_application", "test_contracts",
    "test_history", "test_broken_data",
)  # fmt: skip
"""The files that use no shared stack. All other files share the development stack."""
ORDER = (DEVELOPMENT, FAULTS, PRODUCTION, *ALONE)
"""The longest groups first, so that all processes finish at about the same time."""


def group(nodeid: str) -> str:
    """The group of a test: the tests of a group run sequentially, in one process."""
    file = Path(nodeid.partition("::")[0]).stem
    if nodeid.endswith("[prod_stack]"):
        return PRODUCTION
    return file if file in ALONE and not nodeid.endswith("[stack]") else SHARING.get(file, DEVELOPMENT)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Assigns a group to each process, and the next group when the process has finished it."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Schedule by groups if the tests run in several processes."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by their groups, and by their files in the order of `SHARING`."""
    files = list(SHARING)

    def place(item: pytest.Item) -> tuple[int, int]:
        return ORDER.index(group(item.nodeid)), files.index(item.path.stem) if item.path.stem in files else -1

    items.sort(key=place)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Destroy the stacks of a finished group, which would use CPU time and networks."""
    if WORKER and nextitem and group(nextitem.nodeid) != group(item.nodeid):
        while RUNNING:
            RUNNING.pop().destroy()


RUNNING: list[Stack] = []
"""The running shared stacks of this process."""


def pytest_sessionstart() -> None:
    """Fail, instead of skipping every test, if no Docker Engine answers."""
    if WORKER:
        return  # checked by the controller process
    version = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True,
                            check=False)  # fmt: skip
    if version.returncode:
        pytest.exit(f"live tests need a Docker Engine: {version.stderr.strip()}\n"
                    "fix: scripts/engine.sh start, or run scripts/test.sh", returncode=1)  # fmt: skip


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A development stack, healthy and smoke-checked; shared, so a test repairs what it breaks."""
    stack = Stack.create(tmp_path_factory.mktemp("live") / "checkout", "netmon-live")
    try:
        RUNNING.append(stack)
        with start_lock():
            stack.invoke("up", "--profile=dev", timeout=900)
        yield stack
    finally:
        stack.destroy()


@pytest.fixture(scope="session")
def prod_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A production stack, healthy and smoke-checked; shared, so a test repairs what it breaks."""
    root = tmp_path_factory.mktemp("prod") / "checkout"
    # Not published in production; Kafka advertises this port to its own tools in its container.
    settings = {"DOMAIN": "netmon.localhost", "CLIENT_REQUESTS_PER_SECOND": "10000", "KAFKA_PORT": "9092"}
    stack = Stack.create(root, "netmon-prod", **settings)
    try:
        RUNNING.append(stack)
        stack.invoke("setup", "--profile=prod")
        stack.invoke("images.prepare", timeout=900)
        with start_lock():
            stack.up_output = stack.invoke("up", timeout=900).stdout
        yield stack
    finally:
        stack.destroy()


@pytest.fixture(scope="session")
def idle_stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A development stack that is set up but not started, with the images of every group.

    The images of the production profile are present too: validators run in them.
    """
    stack = Stack.create(tmp_path_factory.mktemp("idle") / "checkout", "netmon-idle")
    stack.invoke("setup")
    for profile in ("dev", "prod"):
        stack.invoke("images.prepare", f"--profile={profile}", "--every-group", timeout=1800)
    return stack


@pytest.fixture
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of the test's own that is not started yet, removed afterwards."""
    stack = Stack.create(tmp_path_factory.mktemp("own") / "checkout", "netmon-own")
    try:
        yield stack
    finally:
        stack.destroy()


@pytest.fixture(scope="module")
def machine(idle_stack: Stack) -> Iterator[Machine]:
    """A machine without engine and images beside a registry; each test continues in the state of the previous one."""
    idle_stack.invoke("images.prepare", "--profile=prod", timeout=900)
    with Machine.running(Project.load(idle_stack.root), "netmon-pulled") as machine:
        assert machine.run("find", "/var/lib/netmon-engine", "-mindepth", "1", folder="/").stdout == ""
        yield machine


@pytest.fixture(scope="module")
def quickstart(machine: Machine) -> str:
    """The output of the first command of the README."""
    return machine.run("scripts/quickstart.sh", "--yes", timeout=500).stdout
