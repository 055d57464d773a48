"""Two ways under the same load: they take turns, each begins as often, and ratios are taken pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from bench.load import Answers, Tls, most, paced

ROUNDS = 5
SECONDS = 10.0
CONNECTIONS = 8
RATE = 100.0
"""Requests a second when latencies are measured: what one process of the application bears easily."""

T = TypeVar("T")
Pairs = Sequence[tuple[T, T]]


@dataclass(frozen=True)
class Loaded:
    """As many requests as are answered, and so many a second."""

    fast: Answers
    steady: Answers

    def milliseconds(self, share: float) -> float:
        """What this share of the steady requests did not exceed."""
        return self.steady.quantile(share) * 1000


def under_load(base: str, paths: Sequence[str], tls: Tls | None = None) -> Loaded:
    """Warm a server up, and measure it."""
    most(base, paths, CONNECTIONS, SECONDS / 2, tls)
    return Loaded(most(base, paths, CONNECTIONS, SECONDS, tls), paced(base, paths, RATE, SECONDS, tls))


def in_turns(measure: Callable[[bool], T]) -> Pairs[T]:
    """What is measured with and without, in this order, of each round."""
    pairs = []
    for number in range(ROUNDS):
        order = (True, False) if number % 2 else (False, True)
        measured = {each: measure(each) for each in order}
        pairs.append((measured[True], measured[False]))
    return pairs


def figures(name: str, rounds: Sequence[Loaded]) -> Iterator[tuple[str, str]]:
    """The lines about one of the two ways."""
    yield f"requests a second, {name}", f"{median(each.fast.rate for each in rounds):.0f}"
    p50, p99 = (median(each.milliseconds(share) for each in rounds) for share in (0.5, 0.99))
    yield f"latency at {RATE:.0f} requests a second, {name}", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"


def ratio(pairs: Pairs[T], figure: Callable[[T], float]) -> str:
    """How many times the second of a pair the first one is: the median, and the range."""
    ratios = [figure(first) / figure(second) for first, second in pairs]
    return f"{median(ratios):.3f} x (of {len(ratios)}: {min(ratios):.3f} to {max(ratios):.3f})"


def added(pairs: Pairs[Loaded], share: float) -> str:
    """What the latency of the first of a pair is above that of the second: the median, and the range."""
    more = [first.milliseconds(share) - second.milliseconds(share) for first, second in pairs]
    return f"{median(more):+.2f} ms (of {len(more)}: {min(more):+.2f} to {max(more):+.2f})"
