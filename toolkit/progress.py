"""Doing the same to several things side by side, with the time that each takes in view."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from toolkit.console import console, say


def side_by_side(names: Sequence[str], work: Callable[[str], None], done: str) -> None:
    """Call ``work`` with each name, as many at a time as there are processors.

    A terminal shows a spinner and the running seconds of each; elsewhere each is a line when it is finished. After a
    failure those that run are waited for, and no other is begun.

    Args:
        names: What to work on.
        work: Does it for one name, or raises.
        done: The verb for what is finished, such as ``built``.

    Raises:
        Exception: the first one that ``work`` raised.
    """
    if not names:
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    terminal = console().is_terminal
    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console(), disable=not terminal) as progress:
        rows = {name: progress.add_task(name, start=False, total=1) for name in names}

        def one(name: str) -> None:
            progress.start_task(rows[name])
            started = time.monotonic()
            work(name)
            progress.update(rows[name], advance=1)
            if not terminal:
                say(f"  {done} {name} ({time.monotonic() - started:.0f} s)")

        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            try:
                for future in as_completed([pool.submit(one, name) for name in names]):
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
