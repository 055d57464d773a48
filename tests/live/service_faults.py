"""Faults of one service, whichever it is: context managers that inject a fault on entry and end it on exit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.live.faults import frozen
from tests.live.stack import Stack, until
from toolkit.checkout.project import Project

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
"""The library of Debian's package libfaketime, which also works with the C library of a newer release."""
STEP = 3600
"""Seconds by which a clock is set forward, and back again."""
ALLOCATE = """
import os, sys, time
group, process, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(group, "w") as file:
    file.write(str(os.getpid()))
taken = []
for _ in range(0, limit, 4 << 20):
    try:
        with open(f"/proc/{process}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] in "ZX":
                break
    except OSError:
        break
    taken.append(bytearray(os.urandom(4096)) * 1024)
"""
"""Joins a memory cgroup and takes memory in it until a process is dead."""


@contextlib.contextmanager
def killed_from_outside(stack: Stack, service: str) -> Iterator[None]:
    """Kill the main process, as a crash would; the engine restarts it at once."""
    container = stack.container(service)
    os.kill(container["State"]["Pid"], signal.SIGKILL)
    until(lambda: stack.container(service)["RestartCount"] > container["RestartCount"], 30, f"a restart of {service}")
    yield


@contextlib.contextmanager
def hanging(stack: Stack, service: str) -> Iterator[None]:
    """Stop every process with SIGSTOP."""
    with frozen(stack.container(service)):
        yield


@contextlib.contextmanager
def partitioned(stack: Stack, service: str) -> Iterator[None]:
    """Disconnect a service from all of its networks, and connect it again with its aliases, its names in them."""
    container = stack.container(service)
    networks = container["NetworkSettings"]["Networks"]
    for name in networks:
        stack.docker("network", "disconnect", name, container["Id"])
    try:
        yield
    finally:
        for name, endpoint in networks.items():
            aliases = [word for alias in endpoint["Aliases"] or () for word in ("--alias", alias)]
            stack.docker("network", "connect", *aliases, name, container["Id"])


def memory_group(process: int) -> Path:
    """The list of the processes in the memory cgroup of a process, of version 1 or 2."""
    for line in Path(f"/proc/{process}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "memory" in controllers.split(","):
            root = Path("/sys/fs/cgroup") / ("memory" if controllers else "")
            return root / path.lstrip("/") / "cgroup.procs"
    raise LookupError(f"process {process} has no memory cgroup")


@contextlib.contextmanager
def memory_exhausted(stack: Stack, service: str) -> Iterator[None]:
    """The cgroup reaches its memory limit, and the kernel chooses the main process. Works in images without a shell."""
    container = stack.container(service)
    main, limit = container["State"]["Pid"], container["HostConfig"]["Memory"]
    assert limit, f"{service} has no memory limit"
    Path(f"/proc/{main}/oom_score_adj").write_text("1000")
    command = [sys.executable, "-c", ALLOCATE, str(memory_group(main)), str(main), str(2 * limit)]
    subprocess.run(command, check=False, timeout=120)
    until(lambda: stack.container(service)["RestartCount"] > container["RestartCount"], 30, f"a restart of {service}")
    yield


@contextlib.contextmanager
def settable_clock(stack: Stack, service: str) -> Iterator[Path]:
    """Recreate a service with a clock whose offset is read from the file that the block gets.

    libfaketime is in ``LD_PRELOAD``, for this test only; monotonic clocks are unaffected.
    """
    if not FAKETIME.exists():
        pytest.skip(f"{FAKETIME} is missing: apt-get install libfaketime")
    with tempfile.TemporaryDirectory(prefix="netmon-clock-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        library, offset, layer = folder / FAKETIME.name, folder / "offset", folder / "clock.yml"
        library.write_bytes(FAKETIME.read_bytes())
        library.chmod(0o755)
        offset.write_text("+0\n")
        inside = "/opt/faketime"
        settings = {
            "environment": {
                "LD_PRELOAD": f"{inside}/{library.name}",
                "FAKETIME_TIMESTAMP_FILE": f"{inside}/{offset.name}",
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                # Timed waits on monotonic clocks return at once otherwise: the JVM would spin.
                "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            },
            "volumes": [{"type": "bind", "source": name, "target": inside, "read_only": True}],
        }
        layer.write_text(yaml.safe_dump({"services": {service: settings}}))
        files = Project.load(stack.root).env["COMPOSE_FILE"]
        recreate = ("docker", "compose", "up", "--detach", "--no-deps", "--no-build", service)
        try:
            stack.run(*recreate, env={"COMPOSE_FILE": f"{files}:{layer}"})
            until(lambda: service not in stack.unhealthy(), 240, f"{service} to be healthy")
            maps = Path(f"/proc/{stack.container(service)['State']['Pid']}/maps").read_text()
            assert library.name in maps, f"the main process of {service} has not loaded the library"
            yield offset
        finally:
            stack.run(*recreate)


@contextlib.contextmanager
def clock_stepped(stack: Stack, service: str, offset: Path) -> Iterator[None]:
    """Set a settable clock forward by an hour, and back at the end."""
    offset.write_text(f"+{STEP}\n")
    time.sleep(1.5)
    ahead = int(stack.exec(service, "date", "+%s")) - time.time()
    assert abs(ahead - STEP) < 60, f"the clock of {service} is {ahead:.0f} s ahead"
    try:
        yield
    finally:
        offset.write_text("+0\n")
        time.sleep(1.5)
