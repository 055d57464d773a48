"""The watchdog: ends a process whose event loop is blocked, so that the engine restarts it.

A health check reports such a process, but no engine restarts a container for it: the process would hold its jobs, its
partitions and its locks for ever.
"""

import asyncio
import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from netmon import metrics
from netmon.logs import logger

EX_HUNG = 70
"""Exit code of a process that was ended by its watchdog (sysexits.h: an internal error)."""
LIMIT_SECONDS = 60.0
"""How long the event loop may be blocked. The longest block in normal operation is that of reading and comparing a
configuration of 8 MB: a few seconds, also with a fraction of a CPU."""
TICK_SECONDS = 1.0
STDERR = 2
REPORT_SECONDS = 5.0
"""How long the last log line may take: the log itself may be what hangs."""

log = logger(__name__)


@contextmanager
def watching(limit_seconds: float = LIMIT_SECONDS, tick_seconds: float = TICK_SECONDS) -> Iterator[None]:
    """Watch the running event loop during the block, and exit the process if the loop is blocked.

    Time is counted in ticks of the watching thread, which stops together with the process: a frozen container
    (`docker pause`, SIGSTOP, a suspended host) is not taken for a blocked one.

    Args:
        limit_seconds: how long the loop may be blocked.
        tick_seconds: how often that is checked.
    """
    watchdog = _Watchdog(limit_seconds, tick_seconds)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()


class _Watchdog:
    def __init__(self, limit_seconds: float, tick_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit_seconds
        self._tick = tick_seconds
        self._silent_ticks = 0
        """Ticks since the loop last ran."""
        self._due = 0.0
        self._beat: asyncio.TimerHandle | None = None
        self._watched = threading.get_ident()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._schedule()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._beat:
            self._beat.cancel()
        self._thread.join(self._tick)

    def _schedule(self) -> None:
        self._due = time.monotonic() + self._tick
        self._beat = self._loop.call_later(self._tick, self._run)

    def _run(self) -> None:
        """Run in the loop: it is not blocked."""
        metrics.EVENT_LOOP_BLOCKED.inc(max(time.monotonic() - self._due, 0))
        self._silent_ticks = 0
        self._schedule()

    def _watch(self) -> None:
        try:
            # Code that holds the interpreter's lock blocks this thread too. The timer of `faulthandler` needs no lock;
            # it does count the time of a frozen process, so it comes later.
            while not self._stopped.is_set():
                faulthandler.dump_traceback_later(2 * self._limit, exit=True, file=STDERR)
                self._stopped.wait(self._tick)
                self._silent_ticks += 1
                if self._silent_ticks * self._tick > self._limit and not self._stopped.is_set():
                    self._end()
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _end(self) -> None:
        reporting = threading.Thread(target=self._report, daemon=True)
        reporting.start()
        reporting.join(REPORT_SECONDS)
        os._exit(EX_HUNG)

    def _report(self) -> None:
        frame = sys._current_frames().get(self._watched)
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        log.critical("event loop blocked, exiting", limit_seconds=self._limit, stack=stack)
        sys.stdout.flush()
