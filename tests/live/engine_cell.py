"""A restart of the engine under load: run on a machine of its own, where nobody else uses the engine.

``python -m tests.live.engine_cell`` in the checkout of a running production stack prints the outcome.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.live import pipeline
from tests.live.cells import Bench
from tests.live.fault_table import FAULTS, Expected
from tests.live.ledger import PROBED, TARGETS, Entrance
from tests.live.stack import Stack

SETTINGS = {"DOMAIN": "localhost", "PROXY_HTTP_PORT": "80", "PROXY_HTTPS_PORT": "443"}
"""The defaults of production."""


@contextlib.contextmanager
def engine_restarted() -> Iterator[None]:
    """Stop the engine, and start it."""
    for command in ("stop", "start"):
        subprocess.run(["scripts/engine.sh", command], check=True, timeout=180, stdout=subprocess.DEVNULL)
    yield


def main() -> None:
    """Restart the engine, and print the outcome."""
    stack = Stack(Path.cwd(), "network-monitor", SETTINGS)
    targets = pipeline.add_targets(stack, PROBED, TARGETS, enabled=False)
    bench = Bench(stack, Entrance.of(stack), targets)
    bench.require_health()
    print(bench.measure(engine_restarted(), Expected(recovery=FAULTS["engine"].recovery), "").encode())


if __name__ == "__main__":
    main()
