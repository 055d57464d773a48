"""Jobs while every component on their way is killed: no job is lost, no result is counted twice."""

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
SCHEDULED_TARGETS = 100
INTERVAL = 5
"""Seconds, of the targets of the pipeline."""

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
        kill_each(stack)
        output = accepting.communicate(timeout=600)[0]
        report = json.loads(output.splitlines()[-1])
        accepted = set(report["accepted"])
        assert len(accepted) == JOBS
        open_probes = "SELECT count(*) AS left FROM probes WHERE status = 'queued'"
        until(lambda: pipeline.sql(stack, open_probes)[0]["left"] == 0, 600, "every accepted job to have a result")
        results, counts = require_consistent_results(stack)
        seconds = time.monotonic() - began
        assert accepted <= results
        record(
            f"{len(accepted)} accepted, {report['refused']} refused, {server.requests} requests to the target; "
            f"{counts}; {', '.join(KILLED)} killed; {seconds:.0f} s"
        )


def test_no_scheduled_probe_is_lost_while_components_are_killed(
    own_stack: Stack, record: Callable[[str], None]
) -> None:
    """Their jobs share messages; a worker is lost with a part of a batch done, and the rest in flight."""
    stack = own_stack
    stack.invoke("up", "--profile=dev", "--without=monitoring", "--no-smoke", timeout=900)
    with pipeline.target_server(stack) as server:
        server.delay = 0.3
        targets = [pipeline.add_target(stack, server.url) for _ in range(SCHEDULED_TARGETS)]
        until(lambda: all_recent(stack, state="up"), 30, "every target to be up")
        kill_each(stack)
        until(lambda: all_recent(stack), 60, "every target to be probed again")
        pipeline.execute(stack, "UPDATE targets SET enabled = false")
        open_probes = "SELECT count(*) AS left FROM probes WHERE status = 'queued'"
        until(lambda: pipeline.sql(stack, open_probes)[0]["left"] == 0, 60, "every scheduled probe to have a result")
        results, counts = require_consistent_results(stack)
        separated = stack.compose("logs", "worker").count('"message": "batch separated"')
        assert separated, "no batch was redelivered, so the test proves nothing"
        record(
            f"{len(targets)} targets every {INTERVAL} s, {server.requests} requests; {counts}; "
            f"{separated} batches redelivered; {', '.join(KILLED)} killed"
        )
        assert len(results) >= SCHEDULED_TARGETS * 6


def kill_each(stack: Stack) -> None:
    """Kill the components, one after another."""
    for service in KILLED:
        time.sleep(4)
        stack.compose("kill", "--signal", "KILL", service)
        time.sleep(2)
        stack.compose("start", service)


def all_recent(stack: Stack, state: str = "%") -> bool:
    """Whether every target has a result of this state, or of any, from the last two intervals."""
    query = f"""SELECT count(*) AS recent FROM standings
        WHERE state LIKE '{state}' AND stored_at > now() - interval '{2 * INTERVAL} s'"""  # noqa: S608
    return bool(pipeline.sql(stack, query)[0]["recent"] == SCHEDULED_TARGETS)


def require_consistent_results(stack: Stack) -> tuple[set[str], str]:
    """Each result must be counted once and have an event; returns the results, and the counts for the record."""
    until(lambda: pipeline.sql(stack, "SELECT FROM outbox LIMIT 1") == [], 60, "every event to be published")
    results = {row["id"] for row in pipeline.sql(stack, "SELECT id FROM probes")}
    [counted] = pipeline.sql(stack, "SELECT sum(results) AS results FROM rollups")
    assert counted["results"] == len(results), "a result is missing or duplicate in the rollups"
    events = Counter(event["id"] for event in pipeline.events(stack, "probe.results"))
    assert results <= events.keys(), "a result has no event"
    published = sum(events[result] for result in results)
    return results, f"{len(results)} results, {counted['results']} counted, {published} events"


def test_probes_missed_without_the_broker_are_not_caught_up(own_stack: Stack) -> None:
    own_stack.invoke("up", "--profile=dev", "--without=monitoring", "--no-smoke", timeout=900)
    with pipeline.target_server(own_stack) as server:
        pipeline.require_no_catching_up(own_stack, server, "rabbitmq")
