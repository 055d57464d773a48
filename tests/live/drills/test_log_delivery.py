"""Log delivery during restarts of the collector and the log store."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from tests.live.logstore import lines, writer
from tests.live.stack import Stack, until

Record = Callable[[str], None]

LINES = 10_000
TRACES = 100
PROGRAM = """
import time
for number in range({count}):
    print(f"line {{number:06}} {{'-' * 150}}", flush=True)
    if number % {every} == {every} - 1:
        print(f'Traceback of {{number:06}}\\n  File "a.py", line 1, in work\\nValueError: {{number:06}}', flush=True)
    time.sleep({pause})
time.sleep(600)
"""
ROTATION = ("--log-opt", "max-size=600k", "--log-opt", "max-file=9")


def test_no_line_is_lost(own_stack: Stack, record: Record) -> None:
    """10,000 lines and 100 stack traces, while log files rotate and collector and log store are restarted."""
    own_stack.invoke("up", "--no-smoke", timeout=900)
    with writer(own_stack, PROGRAM.format(count=LINES, every=LINES // TRACES, pause=0.002), *ROTATION) as service:
        time.sleep(4)
        own_stack.compose("restart", "otel-collector")
        time.sleep(4)
        own_stack.compose("kill", "--signal", "KILL", "otel-collector")
        time.sleep(3)
        own_stack.compose("start", "otel-collector")
        time.sleep(2)
        own_stack.compose("restart", own_stack.store("logs"))
        time.sleep(2)
        own_stack.compose("kill", "--signal", "KILL", "otel-collector")
        own_stack.compose("start", "otel-collector")

        def complete() -> list[str] | None:
            found = lines(own_stack, service, 3 * LINES)
            return found if len(set(found)) >= LINES + TRACES else None

        found = until(complete, 120, f"{LINES} lines and {TRACES} stack traces")
    numbers = sorted(int(line.split()[1]) for line in set(found) if line.startswith("line"))
    assert numbers == list(range(LINES))
    traces = {int(number) for line in found for number in re.findall(r"ValueError: (\d+)", line)}
    assert traces == set(range(LINES // TRACES - 1, LINES, LINES // TRACES))
    duplicates = len(found) - len(set(found))
    record(
        f"{LINES} lines and {TRACES} traces written, {len(numbers)} and {len(traces)} found, {duplicates} duplicates"
    )


def test_a_graceful_restart_repeats_no_line(own_stack: Stack, record: Record) -> None:
    own_stack.invoke("up", "--no-smoke", timeout=900)
    count = 3000
    with writer(own_stack, PROGRAM.format(count=count, every=count + 1, pause=0.003), *ROTATION) as service:
        for _ in range(3):
            time.sleep(3)
            own_stack.compose("restart", "otel-collector")
        until(lambda: len(set(lines(own_stack, service))) >= count, 60, f"{count} lines")
        time.sleep(3)
        found = lines(own_stack, service)
    assert len(found) == len(set(found)) == count
    record(f"{count} lines, {len(found)} found, three restarts")
