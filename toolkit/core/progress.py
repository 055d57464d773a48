"""Run the same work on several items in parallel and show the progress of each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.core.console import console, say, spinner

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

REFRESH_SECONDS = 0.25
"""Seconds between two refreshes of the progress display."""


@dataclass(frozen=True)
class Rows:
    """The rows of the progress display, which only a terminal shows."""

    progress: Progress
    ids: Mapping[str, TaskID]

    @property
    def terminal(self) -> bool:
        """Whether the output is a terminal, which shows the rows."""
        return not self.progress.disable

    def show(self, name: str, completed: float, total: float | None) -> None:
        """Set the progress of a row; ``total`` is None while it is unknown."""
        self.progress.update(self.ids[name], completed=completed, total=total)


def run_in_parallel(
    names: Sequence[str],
    work: Callable[[str], str | None],
    done: str,
    *,
    workers: int | None = None,
    columns: Sequence[ProgressColumn] = (),
    refresh: Callable[[Rows], None] | None = None,
    cancel: Callable[[], None] = lambda: None,
) -> None:
    """Call ``work`` with each name, in order, several in parallel.

    A terminal shows a spinner and the elapsed time of each item; elsewhere each finished item is a line. After a
    failure, running items are completed and no further one is started.

    Args:
        names: The items.
        work: Processes one item or raises. Its return value is appended to the line of the finished item.
        done: The verb for a finished item, such as ``built``.
        workers: The number of parallel items; default: the number of processors.
        columns: Additional columns between name and elapsed time.
        refresh: Called every `REFRESH_SECONDS` to update the rows.
        cancel: Called on Ctrl-C to stop running items.

    Raises:
        Exception: the first exception that ``work`` raised.
    """
    if not names:
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    terminal = console().is_terminal
    shown = (SpinnerColumn(spinner(), finished_text="✓"), TextColumn("{task.description}"), *columns)
    with Progress(*shown, TimeElapsedColumn(), console=console(), disable=not terminal) as progress:
        rows = Rows(progress, {name: progress.add_task(name, start=False, total=1) for name in names})

        def run(name: str) -> None:
            progress.start_task(rows.ids[name])
            started = time.monotonic()
            details = work(name)
            progress.update(rows.ids[name], completed=1, total=1)
            if not terminal:
                say(f"  {done} {name} ({f'{details}, ' if details else ''}{time.monotonic() - started:.0f} s)")

        with ThreadPoolExecutor(max_workers=workers or os.cpu_count()) as pool:
            try:
                _wait_for_all([pool.submit(run, name) for name in names], lambda: refresh(rows) if refresh else None)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                cancel()
                raise


def _wait_for_all(running: Sequence[Future[None]], refresh: Callable[[], None]) -> None:
    """Wait for all futures; after a failure, only for those already started."""
    failure: BaseException | None = None
    pending = set(running)
    while pending:
        finished, pending = wait(pending, timeout=REFRESH_SECONDS, return_when=FIRST_COMPLETED)
        refresh()
        for future in finished:
            if not future.cancelled() and (error := future.exception()) and failure is None:
                failure = error
                for each in pending:
                    each.cancel()
    if failure:
        raise failure
