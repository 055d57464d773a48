"""Doing the same to several things side by side, with the time that each takes in view."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.core.console import console, say

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

REFRESH_SECONDS = 0.25
"""Seconds between two looks at what runs."""


@dataclass(frozen=True)
class Rows:
    """The rows that a terminal shows; elsewhere there are none to see, and ``terminal`` is false."""

    progress: Progress
    ids: Mapping[str, TaskID]

    @property
    def terminal(self) -> bool:
        """Whether anybody sees them move."""
        return not self.progress.disable

    def show(self, name: str, completed: float, total: float | None) -> None:
        """Set how far a row has come; ``total`` is None while it is unknown."""
        self.progress.update(self.ids[name], completed=completed, total=total)


def run_in_parallel(
    names: Sequence[str],
    work: Callable[[str], str | None],
    done: str,
    *,
    workers: int | None = None,
    columns: Sequence[ProgressColumn] = (),
    look: Callable[[Rows], None] | None = None,
    cancel: Callable[[], None] = lambda: None,
) -> None:
    """Call ``work`` with each name, in their order, several at a time.

    A terminal shows a spinner and the running seconds of each; elsewhere each is a line when it is finished. After a
    failure those that run are waited for, and no other is begun.

    Args:
        names: What to work on.
        work: Does it for one name, or raises. What it returns is added to the line of what is finished.
        done: The verb for what is finished, such as ``built``.
        workers: How many at a time; default: as many as there are processors.
        columns: Shown between the name and the seconds.
        look: Called several times a second, to bring the rows up to date.
        cancel: Called on Ctrl-C, so that those that run end.

    Raises:
        Exception: the first one that ``work`` raised.
    """
    if not names:
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    terminal = console().is_terminal
    shown = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), *columns, TimeElapsedColumn())
    with Progress(*shown, console=console(), disable=not terminal) as progress:
        rows = Rows(progress, {name: progress.add_task(name, start=False, total=1) for name in names})

        def one(name: str) -> None:
            progress.start_task(rows.ids[name])
            started = time.monotonic()
            details = work(name)
            progress.update(rows.ids[name], completed=1, total=1)
            if not terminal:
                say(f"  {done} {name} ({f'{details}, ' if details else ''}{time.monotonic() - started:.0f} s)")

        with ThreadPoolExecutor(max_workers=workers or os.cpu_count()) as pool:
            try:
                _wait_for_all([pool.submit(one, name) for name in names], lambda: look(rows) if look else None)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                cancel()
                raise


def _wait_for_all(running: Sequence[Future[None]], look: Callable[[], None]) -> None:
    """Look until all of them are done; after a failure, until those are that had begun."""
    failure: BaseException | None = None
    pending = set(running)
    while pending:
        finished, pending = wait(pending, timeout=REFRESH_SECONDS, return_when=FIRST_COMPLETED)
        look()
        for future in finished:
            if not future.cancelled() and (error := future.exception()) and failure is None:
                failure = error
                for each in pending:
                    each.cancel()
    if failure:
        raise failure
