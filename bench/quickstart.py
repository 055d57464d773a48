"""`scripts/quickstart.sh` on a machine without images and without Python environment, and a warm start.

Each round has a machine of its own (tests/live/machine.py): an engine that is installed but not running, and a registry
on the same machine, so that the network to a distant registry is not part of the figures. Pip's downloads are cached
between rounds.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterator

from bench.figure import Figure
from tests.live.machine import Machine
from tests.live.stack import Stack
from toolkit.checkout.project import Project

ROUNDS = 3
WAYS = {"pull": "images pulled from a registry on the same machine", "local": "images built from packages"}
"""The values of ``--images`` of quickstart.sh, and what they measure."""
PHASE = re.compile(r"^ +(setup|images|up|smoke): ([\d.]+) s$", re.MULTILINE)
"""The line at the end of each phase of `invoke up`."""


def figures(stack: Stack) -> Iterator[Figure]:
    """The time of the command and of its phases for both image sets; the warm start is that of the published images."""
    stack.invoke("setup")
    stack.invoke("images.prepare", "--profile=prod", timeout=1800)
    project = Project.load(stack.root)
    warm: list[float] = []
    for way, images in WAYS.items():
        total: list[float] = []
        phases: dict[str, list[float]] = defaultdict(list)
        for _ in range(ROUNDS):
            with Machine.running(project, "netmon-bench-quickstart") as machine:
                began = time.monotonic()
                output = machine.run("scripts/quickstart.sh", "--yes", f"--images={way}", timeout=3600).stdout
                total.append(time.monotonic() - began)
                found = durations(output)
                phases["engine and Python environment"].append(total[-1] - sum(found.values()))
                for name, seconds in found.items():
                    phases[name].append(seconds)
                if way == "pull":
                    machine.invoke("down")
                    began = time.monotonic()
                    machine.invoke("up")
                    warm.append(time.monotonic() - began)
        yield Figure(way, f"`scripts/quickstart.sh --yes`, {images}", "s", total)
        for name, samples in phases.items():
            key = f"{way}-{name.partition(' ')[0]}"
            yield Figure(key, f"{name}, {images}", "s", samples, detail=True)
    yield Figure("warm", "`invoke down`, then `invoke up`: all services healthy, every smoke check passed", "s", warm)


def durations(output: str) -> dict[str, float]:
    """Seconds of each phase of `invoke up` in the output of quickstart.sh.

    Raises:
        ValueError: the output has no phases.
    """
    found = {name: float(seconds) for name, seconds in PHASE.findall(output)}
    if not found:
        raise ValueError(f"no phases in the output of quickstart.sh:\n{output[-2000:]}")
    return found
