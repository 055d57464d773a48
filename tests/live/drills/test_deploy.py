"""Deploys under load: every kind of broken release, and deploys that are killed at each step.

Measured at the clients: requests sent, requests failed, and accepted probes without a result.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.live import releases
from tests.live.load import Load
from tests.live.releases import BrokenRelease
from tests.live.stack import Stack, kill

Record = Callable[[str], None]

LOGS = {releases.FAILS_REQUESTS: "app.log", releases.FAILS_JOBS: "worker.log"}
"""The log that has the reason."""
STEPS = ("images", "migrate", "silence", "replace", "verify")


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


def assert_consistent(stack: Stack) -> None:
    """All containers are healthy and have the live release, and nothing of a deploy is left."""
    assert releases.versions(stack) == {releases.release(stack)}
    assert not releases.journal(stack).exists()
    assert {stack.container(service)["State"]["Health"]["Status"] for service in ("app", "worker")} == {"healthy"}
    named = stack.docker("ps", "--all", "--format", "{{.Names}}").split()
    assert not {f"{stack.name}-app-candidate", f"{stack.name}-migrate"} & set(named)


def await_stopping(stack: Stack, service: str) -> None:
    """Wait until a container of the service gets the signal to stop."""
    project = f"label=com.docker.compose.project={stack.name}"
    filters = ("event=kill", project, f"label=com.docker.compose.service={service}",
               "label=com.docker.compose.oneoff=False")  # fmt: skip
    words = [word for each in filters for word in ("--filter", each)]
    with subprocess.Popen(["docker", "events", *words], stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout
        assert events.stdout.readline()
        events.kill()


def test_a_working_release_goes_live(prod_stack: Stack, load: Load, record: Record) -> None:
    before = releases.release(prod_stack)
    done = releases.deploy(prod_stack, load)
    assert done.code == 0, done.output
    assert releases.release(prod_stack) != before
    assert_consistent(prod_stack)
    assert load.unfinished(60) == []
    record(f"{load}; {done.seconds:.0f} s")
    assert load.failures == []


@pytest.mark.parametrize("broken", releases.ALL, ids=lambda broken: broken.name.replace(" ", "-"))
def test_a_broken_release_is_rolled_back(prod_stack: Stack, load: Load, record: Record, broken: BrokenRelease) -> None:
    before = releases.release(prod_stack)
    with releases.in_checkout(prod_stack, broken):
        done = releases.deploy(prod_stack, load, "--timeout=60")
    assert done.code == 1, done.output
    assert broken.error in done.output, done.output
    assert "Traceback" not in done.output.partition("its log")[0] or broken is not releases.BAD_MIGRATION
    if broken in LOGS:
        log = prod_stack.root / ".netmon" / LOGS[broken]
        assert str(log) in done.output
        assert "broken" in log.read_text()
    assert releases.release(prod_stack) == before
    assert_consistent(prod_stack)
    assert load.unfinished(60) == []
    record(f"{load}; {done.seconds:.0f} s")
    assert load.failures == []


def test_an_earlier_release_is_deployed(prod_stack: Stack, load: Load, record: Record) -> None:
    first = releases.release(prod_stack)
    prod_stack.invoke("deploy", timeout=900)
    done = releases.deploy(prod_stack, load, f"--release={first}")
    assert done.code == 0, done.output
    assert releases.release(prod_stack) == first
    assert_consistent(prod_stack)
    record(f"{load}; {done.seconds:.0f} s")
    assert load.failures == []


@pytest.mark.parametrize("resume", ["deploy", "up"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [0.2, 3.0], ids="after-{}-s".format)
def test_a_deploy_killed_after_a_step_is_completed(
    prod_stack: Stack, load: Load, record: Record, step: str, after: float, resume: str
) -> None:
    """SIGKILL some time after the start of a step; `deploy` or `up` completes the deploy."""
    with load.running():
        process = prod_stack.start("deploy")
        assert process.stdout
        output = []
        for line in process.stdout:
            output.append(line)
            if line.startswith(f"▶ {step}"):
                break
        time.sleep(after)
        output.append(kill(process))
        began = time.monotonic()
        resumed = prod_stack.invoke(resume, timeout=900, check=False)
        seconds = time.monotonic() - began
        time.sleep(3)
    assert resumed.returncode == 0, "".join(output) + resumed.stdout + resumed.stderr
    assert_consistent(prod_stack)
    assert load.unfinished(60) == []
    ended = "killed" if process.returncode == -signal.SIGKILL else "the deploy had ended"
    record(f"{ended}; {load}; the next {resume} took {seconds:.0f} s")
    assert load.failures == []


@pytest.mark.parametrize("resume", ["deploy", "up"])
@pytest.mark.parametrize("service", ["worker", "app"])
def test_a_deploy_killed_while_an_old_container_stops_is_completed(
    prod_stack: Stack, load: Load, record: Record, service: str, resume: str
) -> None:
    """The old container is still healthy, and about to be removed."""
    before = releases.release(prod_stack)
    with load.running():
        process = prod_stack.start("deploy")
        await_stopping(prod_stack, service)
        output = kill(process)
        resumed = prod_stack.invoke(resume, timeout=900, check=False)
        time.sleep(3)
    assert resumed.returncode == 0, output + resumed.stdout + resumed.stderr
    assert (releases.release(prod_stack) == before) == (resume == "up")
    assert_consistent(prod_stack)
    assert load.unfinished(60) == []
    record(f"{load}")
    assert load.failures == []


@pytest.mark.parametrize("service", ["worker", "app"])
def test_ctrl_c_while_an_old_container_stops_rolls_back(
    prod_stack: Stack, load: Load, record: Record, service: str
) -> None:
    before = releases.release(prod_stack)
    with load.running():
        process = prod_stack.start("deploy")
        await_stopping(prod_stack, service)
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate(timeout=300)[0]
        time.sleep(3)
    assert process.returncode == 130, output
    assert releases.release(prod_stack) == before
    assert_consistent(prod_stack)
    assert load.unfinished(60) == []
    record(f"{load}")
    assert load.failures == []


def test_the_second_of_two_concurrent_deploys_is_rejected(prod_stack: Stack, load: Load, record: Record) -> None:
    with load.running():
        both = [prod_stack.start("deploy"), prod_stack.start("deploy")]
        outputs = [each.communicate(timeout=900)[0] for each in both]
    assert sorted(each.returncode for each in both) == [0, 1], outputs
    assert any("another run of the toolkit" in output for output in outputs)
    assert_consistent(prod_stack)
    record(f"one deploy has succeeded, one was rejected; {load}")
    assert load.failures == []


def test_ctrl_c_rolls_back(prod_stack: Stack, load: Load, record: Record) -> None:
    """The rollback is immediate and reported."""
    before = releases.release(prod_stack)
    with load.running():
        process = prod_stack.start("deploy")
        assert process.stdout
        for line in process.stdout:
            if line.startswith("▶ replace"):
                break
        time.sleep(2)
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate(timeout=300)[0]
    assert process.returncode == 130, output
    assert "Traceback" not in output, output
    assert releases.release(prod_stack) == before
    assert_consistent(prod_stack)
    record(f"{load}")
    assert load.failures == []
