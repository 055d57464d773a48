"""The watchdog: a process with a blocked event loop is ended, whatever blocks it; no other process is."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netmon import cli, watchdog

APP = Path(__file__).parents[3] / "app"
TIMEOUT = 60.0
"""Seconds within which a process must end, even on a busy machine."""
PROGRAM = """
import asyncio, ctypes, os, time
from netmon import logs, watchdog
logs.configure("test", "info")
watchdog.REPORT_SECONDS = 1.0

def hold_the_lock_of_the_interpreter():
    ctypes.PyDLL(None).sleep(1000)

def fill_standard_output():
    read, write = os.pipe()
    os.dup2(write, 1)
    os.set_blocking(1, False)
    try:
        while True:
            os.write(1, bytes(65536))
    except BlockingIOError:
        os.set_blocking(1, True)

async def main():
    with watchdog.watching({limit}, {tick}):
        await asyncio.sleep(3 * {tick})
        print("started", flush=True)
        {body}
    {after}
    print("ended", flush=True)

asyncio.run(main())
"""


def process(body: str, after: str = "pass", limit: float = 1.0, tick: float = 0.1) -> "subprocess.Popen[str]":
    program = PROGRAM.format(body=body, after=after, limit=limit, tick=tick)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(APP), "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.defpath},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(body: str, after: str = "pass", limit: float = 1.0) -> tuple[int, str, str]:
    """Exit code, standard output and error output of a process."""
    with process(body, after, limit) as running:
        try:
            out, err = running.communicate(timeout=TIMEOUT)
        finally:
            running.kill()
    return running.returncode, out, err


def test_blocked_loop_ends_the_process_with_a_line_that_names_the_place() -> None:
    code, out, _ = outcome("time.sleep(1000)")
    assert code == watchdog.EX_HUNG
    line = json.loads(out.splitlines()[-1])
    assert line["message"] == "event loop blocked, exiting"
    assert line["level"] == "critical"
    assert line["limit_seconds"] == 1.0
    assert "time.sleep(1000)" in line["stack"] or "in main" in line["stack"]


def test_code_that_holds_the_interpreter_is_ended_too() -> None:
    code, out, err = outcome("hold_the_lock_of_the_interpreter()")
    assert code == 1
    assert "ended" not in out
    assert "Timeout" in err
    assert "hold_the_lock_of_the_interpreter" in err


def test_log_that_hangs_does_not_keep_the_process() -> None:
    # The pipe of a log driver that hangs is full: whoever writes to it waits for ever.
    code, _, _ = outcome("fill_standard_output(); time.sleep(1000)")
    assert code == watchdog.EX_HUNG


@pytest.mark.parametrize("after", ["time.sleep(3)", "await asyncio.sleep(3)"])
def test_watch_ends_with_the_block(after: str) -> None:
    code, out, _ = outcome("pass", after)
    assert (code, out.split()) == (0, ["started", "ended"])


def test_slow_steps_below_the_limit_are_tolerated() -> None:
    code, out, _ = outcome("[(time.sleep(0.6), await asyncio.sleep(0.15)) for _ in range(6)]", limit=2.0)
    assert (code, out.split()) == (0, ["started", "ended"])


def test_frozen_process_is_not_taken_for_a_blocked_one() -> None:
    with process("await asyncio.sleep(3)", limit=2.0) as running:
        try:
            assert running.stdout
            assert running.stdout.readline() == "started\n"
            running.send_signal(signal.SIGSTOP)
            time.sleep(3)
            running.send_signal(signal.SIGCONT)
            out, _ = running.communicate(timeout=TIMEOUT)
        finally:
            running.kill()
    assert (running.returncode, out.split()) == (0, ["ended"])


@pytest.mark.anyio
@pytest.mark.parametrize("watched", [True, False])
async def test_a_service_is_watched_from_its_start_to_its_end(monkeypatch: pytest.MonkeyPatch, watched: bool) -> None:
    steps: list[object] = []

    @contextmanager
    def watching() -> Iterator[None]:
        steps.append("begin")
        yield
        steps.append("end")

    async def service() -> None:
        steps.append("service")

    monkeypatch.setattr(watchdog, "watching", watching)
    monkeypatch.setattr(os, "_exit", steps.append)
    await cli._run_and_exit(service(), watched=watched)
    assert steps == (["begin", "service", "end", 0] if watched else ["service", 0])


@pytest.mark.parametrize("reload", ["true", "false"])
def test_every_service_is_watched_unless_it_is_reloaded(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], reload: str
) -> None:
    found: list[bool] = []
    intervals: list[float] = []

    async def run(service: Coroutine[object, object, None], *, watched: bool) -> None:
        service.close()
        found.append(watched)

    for name, value in {**environ, "RELOAD": reload}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cli, "_run_and_exit", run)
    monkeypatch.setattr("netmon.logs.configure", lambda *_: None)
    monkeypatch.setattr("netmon.tracing.configure", lambda *_, **__: None)
    monkeypatch.setattr(sys, "setswitchinterval", intervals.append)
    cli.run_service("worker")
    assert found == [reload == "false"]
    assert intervals == [0.001], "a request would wait longer for threads"
