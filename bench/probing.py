"""Throughput of one worker in probes a second, compared with a bare loop of the same HTTP client; cost of a probe.

Worker and loop run in the worker's container, under its limits, with the same concurrency, against the same target on
the host. The worker's time begins with its first request and ends when every result is stored and every event is
published.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from bench import probe_cost
from bench.fast_target import Target, answering
from bench.figure import Figure
from bench.pairs import ratio
from tests.live import pipeline
from tests.live.stack import Stack, until

JOBS = 3000
ROUNDS = 5
TARGETS = 50
SETTINGS = {"LOG_LEVEL": "info", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}
"""As in production; without traces, since the stack has no trace store."""

BARE = """
import asyncio, os, sys, time
import pycurl, uvloop
from netmon.probing.transfers import Transfers
from netmon.settings import load

async def main(url, requests):
    turns, transfers = iter(range(requests)), Transfers()
    options = {pycurl.URL: url, pycurl.FRESH_CONNECT: 1, pycurl.FORBID_REUSE: 1, pycurl.NOSIGNAL: 1,
               pycurl.WRITEFUNCTION: len}
    async def ask():
        curl = pycurl.Curl()
        for option, value in options.items():
            curl.setopt(option, value)
        for _ in turns:
            await transfers.run(curl)
    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(load(os.environ).worker_concurrency)))
    print(requests / (time.perf_counter() - began))

uvloop.run(main(sys.argv[1], int(sys.argv[2])))
"""

PUBLISH = """
import asyncio, os, sys
from netmon.database import Database, queue
from netmon.jobs import JobQueue, Link, QueueUnavailableError
from netmon.models import Job, Plan
from netmon.settings import load
from netmon.specs import HttpSpec
from netmon.supervision import running

async def main(url, count, targets):
    settings = load(os.environ)
    database, link = Database(settings.database_url, "bench"), Link(settings.rabbitmq_url, "bench")
    made = [Job.of(Plan(spec=HttpSpec(url=url)), targets[turn % len(targets)]) for turn in range(count)]
    async with running(link.run()):
        await database.prepare()
        async with database.transaction() as connection:
            await queue(connection, [job.probe for job in made])
        turns = iter(made)
        async def publish():
            for job in turns:
                await JobQueue(link).publish(job)
        while True:
            try:
                await link.check()
                break
            except QueueUnavailableError:
                await asyncio.sleep(0.05)
        await asyncio.gather(*(publish() for _ in range(50)))

asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
"""


def figures(stack: Stack) -> Iterator[Figure]:
    """The throughput of a worker, and what each probe costs."""
    stack.invoke("setup", "--profile=dev")
    stack.invoke("images.prepare", "--every-group", timeout=900)
    stack.invoke("up", "--profile=dev", "--without=monitoring", "--no-smoke", timeout=900)
    with answering(stack) as target:
        yield from throughput(stack, target)
        yield from probe_cost.figures(stack, target)


def throughput(stack: Stack, target: Target) -> Iterator[Figure]:
    """The bare loop, the worker, and their ratio."""
    pairs: list[tuple[float, float]] = []
    watched = [pipeline.add_target(stack, target.url, enabled=False) for _ in range(TARGETS)]
    for _ in range(ROUNDS):
        worker = stack.container("worker")["Id"]
        bare = float(stack.docker("exec", worker, "python", "-c", BARE, target.url, str(JOBS)))
        pairs.append((jobs_per_second(stack, target, watched), bare))
    bare_label = "probes per second, bare loop of the same HTTP client"
    yield Figure("worker", "probes per second, one worker", "per s", [worker for worker, _ in pairs], "more")
    yield Figure("bare", bare_label, "per s", [bare for _, bare in pairs], "more")
    yield ratio("ratio", "worker ÷ bare loop", pairs, float, "more")


def jobs_per_second(stack: Stack, target: Target, watched: Sequence[str]) -> float:
    """Jobs that the worker completes a second; all of them are queued when it starts."""
    stack.compose("pause", "worker")
    stack.docker("exec", stack.container("app")["Id"], "python", "-c", PUBLISH, target.url, str(JOBS), *watched)
    target.first.value = 0
    stack.compose("unpause", "worker")
    left = "SELECT (SELECT count(*) FROM probes WHERE status = 'queued') + (SELECT count(*) FROM outbox) AS left"
    until(lambda: pipeline.sql(stack, left)[0]["left"] == 0, 120, "every result to be stored and published")
    return JOBS / (time.time() - target.first.value)
