"""Ten thousand jobs while every component on their way is killed: no job is lost, no result is counted twice."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable

from tests.live import pipeline
from tests.live.stack import Stack, until

JOBS = 10_000
TARGETS = 40
KILLED = ("worker", "rabbitmq", "db", "redis", "kafka", "worker")

ACCEPT = """
import asyncio, json, os, sys
from netmon.database import UNAVAILABLE_ERRORS, Database
from netmon.jobs import JobQueue, Link, QueueUnavailableError
from netmon.models import Job, Plan
from netmon.settings import load
from netmon.specs import HttpSpec
from netmon.supervision import deadline, running

url, wanted, *targets = sys.argv[1:]
accepted, refused = [], 0

async def accept(database, jobs, turns):
    # Like the API; a rejected job is submitted again.
    global refused
    for turn in turns:
        while True:
            job = Job.of(Plan(spec=HttpSpec(url=url)), targets[turn % len(targets)])
            async def attempt():
                async with database.queueing(job.probe):
                    await jobs.publish(job, urgent=turn % 2 == 0)
            try:
                await deadline(attempt(), 5)
            except (*UNAVAILABLE_ERRORS, QueueUnavailableError):
                refused += 1
                await asyncio.sleep(0.2)
            else:
                accepted.append(str(job.id))
                break

async def main():
    settings = load(os.environ)
    database, link = Database(settings.database_url, "drill"), Link(settings.rabbitmq_url, "drill")
    turns = iter(range(int(wanted)))
    async with running(link.run()):
        await database.prepare()
        await asyncio.gather(*(accept(database, JobQueue(link), turns) for _ in range(8)))
    print(json.dumps({"accepted": accepted, "refused": refused}))

asyncio.run(main())
"""


def test_no_job_is_lost_while_components_are_killed(own_stack: Stack, record: Callable[[str], None]) -> None:
    stack = own_stack
    stack.invoke(
        "up", "--profile=dev", "--without=monitoring", "--no-smoke", timeout=900
    )  # the probe of the smoke check has no target
    with pipeline.target_server(stack) as server:
        targets = [pipeline.add_target(stack, server.url, enabled=False) for _ in range(TARGETS)]
        began = time.monotonic()
        accepting = subprocess.Popen(
            ["docker", "exec", stack.container("app")["Id"], "python", "-c", ACCEPT, server.url, str(JOBS), *targets],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for service in KILLED:
            time.sleep(4)
            stack.compose("kill", "--signal", "KILL", service)
            time.sleep(2)
            stack.compose("start", service)
        output = accepting.communicate(timeout=600)[0]
        report = json.loads(output.splitlines()[-1])
        accepted = set(report["accepted"])
        assert len(accepted) == JOBS
        open_probes = "SELECT count(*) AS left FROM probes WHERE status = 'queued'"
        until(lambda: pipeline.sql(stack, open_probes)[0]["left"] == 0, 600, "every accepted job to have a result")
        until(lambda: pipeline.sql(stack, "SELECT FROM outbox LIMIT 1") == [], 60, "every event to be published")
        seconds = time.monotonic() - began
        results = {row["id"] for row in pipeline.sql(stack, "SELECT id FROM probes")}
        assert accepted <= results
        [counted] = pipeline.sql(stack, "SELECT sum(results) AS results FROM rollups")
        assert counted["results"] == len(results), "a result is missing or duplicate in the rollups"
        events = Counter(event["id"] for event in pipeline.events(stack, "probe.results"))
        assert results <= events.keys(), "a result has no event"
        record(
            f"{len(accepted)} accepted, {report['refused']} refused, {server.requests} requests to the target; "
            f"{len(results)} results, {counted['results']} counted, "
            f"{sum(events[result] for result in results)} events; "
            f"{', '.join(KILLED)} killed; {seconds:.0f} s"
        )


def test_probes_missed_without_the_broker_are_not_caught_up(own_stack: Stack) -> None:
    own_stack.invoke("up", "--profile=dev", "--without=monitoring", "--no-smoke", timeout=900)
    with pipeline.target_server(own_stack) as server:
        pipeline.require_no_catching_up(own_stack, server, "rabbitmq")
