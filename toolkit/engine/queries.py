"""Results of commands that change nothing: each runs once, in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Queries(Generic[T]):
    """The results by key; failed ones are forgotten as soon as they are read."""

    def __init__(self, succeeded: Callable[[T], bool]) -> None:
        self._succeeded = succeeded
        self._pool = ThreadPoolExecutor(thread_name_prefix="query")
        self._lock = threading.Lock()
        self._started: dict[Hashable, Future[T]] = {}

    def start(self, key: Hashable, run: Callable[[], T]) -> Future[T]:
        """Call ``run`` in the background, unless this key was started before."""
        with self._lock:
            if key not in self._started:
                self._started[key] = self._pool.submit(run)
            return self._started[key]

    def result(self, key: Hashable, run: Callable[[], T]) -> T:
        """The result of a key; ``run`` is called unless it was started before.

        Raises:
            Exception: what ``run`` raised.
        """
        started = self.start(key, run)
        found = None
        try:
            found = started.result()
        finally:
            if found is None or not self._succeeded(found):
                self.forget(key)
        return found

    def forget(self, key: Hashable) -> None:
        """Run the next query of this key again."""
        with self._lock:
            self._started.pop(key, None)

    def clear(self) -> None:
        """Forget all results."""
        with self._lock:
            self._started.clear()
