"""The largest number of targets, each probed every 60 s, that one worker of this machine keeps up with.

The number is doubled until the worker lags, and then halfway between the last two. The targets are inserted as the
application would store them, all of them up, so that a step begins in the steady state.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import requests
import yaml

from bench import cpu
from bench.fast_target import Target, answering
from bench.figure import Figure
from bench.probe_cost import service_containers
from bench.statistics import ONE_PROCESS
from tests.live import pipeline
from tests.live.stack import Stack

SETTINGS = {"LOG_LEVEL": "info", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}
"""As in production; without traces, since the stack has no trace store."""
FIRST, LAST = 1000, 40_000
HALVINGS = 2
INTERVAL = 60
SETTLING_SECONDS, SECONDS, PERIOD = 15.0, 60.0, 3.0
MAX_LAG_SECONDS = 5.0
LAGS = {
    "schedule": "netmon_schedule_lag_seconds",
    "unfinished": "netmon_oldest_unfinished_probe_seconds",
    "outbox": "netmon_outbox_oldest_event_seconds",
}
"""How old the oldest is that is due, queued or not published."""
SKIPPED = "netmon_skipped_probes_total"
ENOUGH = 0.98
"""The least share of the probes that a step requires."""
CALM_SECONDS = 1.0
DRAIN_SECONDS = 90.0

FILL = """
import asyncio, os, sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from netmon.database import Database
from netmon.schedule import grid_origin, next_due
from netmon.settings import load

STATEMENT = '''
    WITH added AS (
        INSERT INTO targets (
            id, name, spec, interval_seconds, timeout_seconds, retries, failures, "window", enabled, created_at,
            updated_at, due_at)
        SELECT id, 'Target ' || to_char(number, 'FM00000'),
            jsonb_build_object('kind', 'http', 'url', %(url)s::text || '?' || number),
            %(interval)s, 2, 0, 2, 3, true, now(), now(), due_at
        FROM unnest(%(ids)s::uuid[], %(numbers)s::integer[], %(due)s::timestamptz[]) AS made (id, number, due_at)
        RETURNING id)
    INSERT INTO standings (target, state, since, recent, observed_state, observed_from, overdue_at)
    SELECT id, 'up', now(), '[]', 'up', now(), now() + interval '10 min' FROM added'''

async def main(url, interval, first, last):
    database = Database(load(os.environ).database_url, "bench")
    await database.prepare()
    numbers = list(range(first, last + 1))
    ids, now, every = [uuid4() for _ in numbers], datetime.now(UTC), timedelta(seconds=interval)
    due = [next_due(grid_origin(each), every, now) for each in ids]
    values = {"url": url, "interval": interval, "ids": ids, "numbers": numbers, "due": due}
    await database.run(STATEMENT, values)

asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
"""
"""With the due times that the scheduler gives them, so that each is probed once in an interval from the start."""


@dataclass(frozen=True)
class Step:
    """What was seen with a number of targets.

    Attributes:
        targets: Their number.
        lags: The highest age of the oldest that waits, in seconds, by what it waits for.
        unmeasured: How often the worker could not measure them.
        skipped: Probes that were due while the former one of their target was running.
        rate: Probes a second.
        cores: CPU seconds a second of the stack.
    """

    targets: int
    lags: Mapping[str, float]
    unmeasured: int
    skipped: float
    rate: float
    cores: float

    @property
    def holds(self) -> bool:
        """Whether nothing lagged, no probe was skipped, and none is missing."""
        enough = self.rate >= ENOUGH * self.targets / INTERVAL
        return enough and self.lag < MAX_LAG_SECONDS and not self.unmeasured and not self.skipped

    @property
    def lag(self) -> float:
        """The largest lag in seconds."""
        return max(self.lags.values(), default=SECONDS)


def figures(stack: Stack) -> Iterator[Figure]:
    """The largest number that holds, and each step."""
    (stack.root / "docker-compose.override.yml").write_text(yaml.safe_dump(ONE_PROCESS))
    stack.invoke("up", "--profile=dev", "--without=monitoring", "--no-smoke", timeout=900)
    with answering(stack) as target:
        steps = search(lambda count: step(stack, target, count))
    yield Figure("targets", f"targets every {INTERVAL} s without lag", "", [largest(steps)], "more")
    for each in sorted(steps, key=lambda each: each.targets):
        name, label = f"at-{each.targets}", f"{each.targets:,} targets every {INTERVAL} s"
        yield Figure(f"{name}-rate", f"{label}, probes per second", "per s", [each.rate], "more")
        yield Figure(f"{name}-lag", f"{label}, largest lag", "s", [each.lag])
        yield Figure(f"{name}-cpu", f"{label}, CPU of the stack", "% of a core", [each.cores * 100])
        for lag, seconds in each.lags.items():
            yield Figure(f"{name}-{lag}", f"{label}, lag: {lag}", "s", [seconds], detail=True)
        yield Figure(f"{name}-skipped", f"{label}, skipped probes", "", [each.skipped], detail=True)


def search(measure: Callable[[int], Step]) -> list[Step]:
    """Double the number of targets until a step does not hold, then halve the distance."""
    steps: list[Step] = []
    count = FIRST
    while not steps or (steps[-1].holds and steps[-1].targets < LAST):
        steps.append(measure(count))
        count = min(2 * count, LAST)
    if steps[-1].holds or len(steps) == 1:
        return steps
    low, high = steps[-2].targets, steps[-1].targets
    for _ in range(HALVINGS):
        steps.append(measure((low + high) // 2))
        low, high = (steps[-1].targets, high) if steps[-1].holds else (low, steps[-1].targets)
    return steps


def largest(steps: Sequence[Step]) -> int:
    """The largest number that held.

    Raises:
        ValueError: none did.
    """
    held = [each.targets for each in steps if each.holds]
    if not held:
        raise ValueError(f"not even {FIRST} targets: {steps}")
    return max(held)


def step(stack: Stack, target: Target, count: int) -> Step:
    """Store so many targets, and watch the worker."""
    store(stack, target.url, count)
    worker = WorkerMetrics(stack)
    settle(worker)
    seen = list[Mapping[str, float] | None]()
    skipped, containers, before = worker.value(SKIPPED), service_containers(stack), cpu.containers_cpu()
    answered, began = target.requests(), time.monotonic()
    while time.monotonic() < began + SECONDS:
        time.sleep(PERIOD)
        seen.append(worker.lags())
    passed = time.monotonic() - began
    used = cpu.between(containers, before, cpu.containers_cpu())
    measured = [each for each in seen if each]
    return Step(
        targets=count,
        lags={name: max(each[name] for each in measured) for name in LAGS} if measured else {},
        unmeasured=len(seen) - len(measured),
        skipped=worker.value(SKIPPED) - skipped,
        rate=(target.requests() - answered) / passed,
        cores=sum(used.values()) / passed,
    )


def settle(worker: WorkerMetrics) -> None:
    """Wait until the worker has worked off what the former step has left, or does not: then it will lag."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while max((worker.lags() or {"unmeasured": MAX_LAG_SECONDS}).values()) > CALM_SECONDS:
        if time.monotonic() > deadline:
            return
        time.sleep(PERIOD)
    time.sleep(SETTLING_SECONDS)


def store(stack: Stack, url: str, count: int) -> None:
    """Add targets, or delete some, until there are so many."""
    [row] = pipeline.sql(stack, "SELECT count(*) AS number FROM targets")
    if row["number"] < count:
        numbers = map(str, (INTERVAL, row["number"] + 1, count))
        stack.docker("exec", stack.container("app")["Id"], "python", "-c", FILL, url, *numbers)
    else:
        pipeline.execute(stack, f"DELETE FROM targets WHERE name > 'Target {count:05}'")  # noqa: S608 - a number
    pipeline.execute(stack, "VACUUM (ANALYZE) targets, standings")


class WorkerMetrics:
    """The metrics of the only worker, read without a process in its container."""

    def __init__(self, stack: Stack) -> None:
        networks = stack.container("worker")["NetworkSettings"]["Networks"]
        self._url = f"http://{networks[f'{stack.name}_egress-network']['IPAddress']}:3000/api/metrics"

    def lags(self) -> Mapping[str, float] | None:
        """The age of the oldest that waits, in seconds, by what it waits for; None if the worker cannot measure it."""
        text = requests.get(self._url, timeout=10).text
        found = {name: sample(text, metric) for name, metric in LAGS.items()}
        return None if any(map(isnan, found.values())) else found

    def value(self, metric: str) -> float:
        """The value of a metric without labels."""
        return sample(requests.get(self._url, timeout=10).text, metric)


def sample(text: str, metric: str) -> float:
    """The value of a metric without labels in an exposition.

    Raises:
        LookupError: it has no such metric.
    """
    found = re.search(rf"^{metric} (\S+)", text, re.MULTILINE)
    if not found:
        raise LookupError(f"no metric {metric}")
    return float(found[1])
