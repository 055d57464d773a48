"""Two variants under the same load: they alternate, take turns at going first, and ratios are taken per pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench.figure import Better, Figure
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


def under_load(
    base: str, paths: Sequence[str], tls: Tls | None = None, between: Callable[[], object] = lambda: None
) -> Measurement:
    """Warm up a server and measure it; ``between`` is called before the load at a constant rate."""
    closed_loop(base, paths, CONNECTIONS, SECONDS / 2, tls)
    closed = closed_loop(base, paths, CONNECTIONS, SECONDS, tls)
    between()
    return Measurement(closed, constant_rate(base, paths, RATE, 2 * SECONDS, tls))


def alternate(measure: Callable[[bool], T]) -> Pairs[T]:
    """The measurements with and without, in this order, of each round."""
    pairs = []
    for number in range(ROUNDS):
        order = (True, False) if number % 2 else (False, True)
        measured = {each: measure(each) for each in order}
        pairs.append((measured[True], measured[False]))
    return pairs


def figures_of(key: str, name: str, rounds: Sequence[Measurement]) -> Iterator[Figure]:
    """The figures of one variant."""
    rates = [each.closed_loop.rate for each in rounds]
    yield Figure(f"{key}-rate", f"requests per second, {name}", "per s", rates, "more")
    for quantile, share in (("p50", 0.5), ("p99", 0.99)):
        label = f"{quantile} latency at {RATE:.0f} requests per second, {name}"
        yield Figure(f"{key}-{quantile}", label, "ms", [each.latency_ms(share) for each in rounds])


def ratio(key: str, label: str, pairs: Pairs[T], value: Callable[[T], float], better: Better = "less") -> Figure:
    """The first of a pair ÷ the second."""
    return Figure(key, label, "", [value(first) / value(second) for first, second in pairs], better)


def difference(key: str, label: str, pairs: Pairs[Measurement], share: float) -> Figure:
    """The latency of the first of a pair minus that of the second."""
    return Figure(key, label, "ms", [first.latency_ms(share) - second.latency_ms(share) for first, second in pairs])
