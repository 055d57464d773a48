"""Two variants under the same load: they alternate, take turns at going first, and ratios are taken per pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from bench.load import LoadResult, Tls, closed_loop, constant_rate

ROUNDS = 5
SECONDS = 10.0
CONNECTIONS = 8
RATE = 100.0
"""Requests a second when latency is measured: well below the capacity of one application process."""

T = TypeVar("T")
Pairs = Sequence[tuple[T, T]]


@dataclass(frozen=True)
class Measurement:
    """A server under closed-loop load and at a constant rate."""

    closed_loop: LoadResult
    constant_rate: LoadResult

    def latency_ms(self, share: float) -> float:
        """The latency that this share of the requests at a constant rate did not exceed."""
        return self.constant_rate.quantile(share) * 1000


def under_load(base: str, paths: Sequence[str], tls: Tls | None = None) -> Measurement:
    """Warm up a server and measure it."""
    closed_loop(base, paths, CONNECTIONS, SECONDS / 2, tls)
    return Measurement(
        closed_loop(base, paths, CONNECTIONS, SECONDS, tls), constant_rate(base, paths, RATE, SECONDS, tls)
    )


def alternate(measure: Callable[[bool], T]) -> Pairs[T]:
    """The measurements with and without, in this order, of each round."""
    pairs = []
    for number in range(ROUNDS):
        order = (True, False) if number % 2 else (False, True)
        measured = {each: measure(each) for each in order}
        pairs.append((measured[True], measured[False]))
    return pairs


def figures(name: str, rounds: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    """The lines about one variant."""
    yield f"requests a second, {name}", f"{median(each.closed_loop.rate for each in rounds):.0f}"
    p50, p99 = (median(each.latency_ms(share) for each in rounds) for share in (0.5, 0.99))
    yield f"latency at {RATE:.0f} requests a second, {name}", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"


def ratio(pairs: Pairs[T], figure: Callable[[T], float]) -> str:
    """The first of a pair ÷ the second: median and range."""
    ratios = [figure(first) / figure(second) for first, second in pairs]
    return f"{median(ratios):.3f} x (of {len(ratios)}: {min(ratios):.3f} to {max(ratios):.3f})"


def difference(pairs: Pairs[Measurement], share: float) -> str:
    """The latency of the first of a pair minus that of the second: median and range."""
    differences = [first.latency_ms(share) - second.latency_ms(share) for first, second in pairs]
    return f"{median(differences):+.2f} ms (of {len(differences)}: {min(differences):+.2f} to {max(differences):+.2f})"
