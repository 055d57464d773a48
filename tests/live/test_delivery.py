"""Delivery guarantees: probes on schedule, one result for each, state changes in order, despite outages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest

from tests.live import pipeline
from tests.live.stack import Stack, until

QUEUE_COUNTS = 6
"""Seconds after which the counts of a quorum queue are current: RabbitMQ updates them every 5 s."""


@pytest.fixture
def server(stack: Stack) -> Iterator[pipeline.TargetServer]:
    """A target on the host."""
    with pipeline.target_server(stack) as server:
        yield server


def queued(stack: Stack) -> tuple[int, int]:
    """Messages in the work queues: ready, and unacknowledged."""
    command = ("rabbitmqctl", "-q", "list_queues", "name", "messages_ready", "messages_unacknowledged")
    lines = stack.exec("rabbitmq", *command).splitlines()
    counts = [line.split("\t")[1:] for line in lines if line.startswith(("probes\t", "probes.batches\t"))]
    assert len(counts) == 2
    ready, unacknowledged = zip(*counts, strict=True)
    return sum(map(int, ready)), sum(map(int, unacknowledged))


def published(stack: Stack, topic: str, target: str) -> list[dict[str, Any]]:
    """The events of a target."""
    return [event for event in pipeline.events(stack, topic) if event["target"] == target]


def test_state_changes_of_a_target_are_stored_and_published(stack: Stack, server: pipeline.TargetServer) -> None:
    target = pipeline.add_target(stack, server.url, failures=2, window=2)
    try:
        until(lambda: pipeline.state(stack, target) == "up", 10, "the first probe, which is due immediately")
        server.status = 500
        until(lambda: pipeline.state(stack, target) == "down", 4 * pipeline.INTERVAL, "two failures")
        server.status = 200
        until(lambda: pipeline.state(stack, target) == "up", 4 * pipeline.INTERVAL, "two successes")
        [incident] = pipeline.sql(stack, f"SELECT * FROM incidents WHERE target = '{target}'")  # noqa: S608
        assert (incident["state"], incident["cause"]) == ("down", "http_status")
        assert incident["started_at"] < incident["ended_at"]

        def state_events() -> list[dict[str, Any]] | None:
            found = published(stack, "monitor.state", target)
            return found if len(found) >= 3 else None

        changes = until(state_events, 10, "the changes to be published")
        assert [change["state"] for change in changes] == ["up", "down", "up"]
        [counted] = pipeline.sql(
            stack,
            f"""SELECT sum(results) AS results, sum(failed) AS failed,
            sum((SELECT sum(each) FROM unnest(latency) AS each)) AS timed FROM rollups WHERE target = '{target}'""",  # noqa: S608
        )
        done = pipeline.finished(stack, target)
        assert counted["results"] == len(done)
        assert counted["failed"] == sum(probe["status"] == "failed" for probe in done) >= 2
        assert counted["timed"] == counted["results"] - counted["failed"]
        results = published(stack, "probe.results", target)
        assert results[-1]["standing"]["state"] == "up"
        assert len(results[-1]["standing"]["recent"]) == len(results)
    finally:
        pipeline.delete_targets(stack, target)


def test_a_paused_target_is_not_probed(stack: Stack, server: pipeline.TargetServer) -> None:
    paused, watched = (pipeline.add_target(stack, server.url, enabled=enabled) for enabled in (False, True))
    try:
        until(
            lambda: len(pipeline.finished(stack, watched)) >= 2,
            3 * pipeline.INTERVAL,
            "the other target to be probed twice",
        )
        assert pipeline.probes(stack, paused) == []
    finally:
        pipeline.delete_targets(stack, paused, watched)


def test_workers_share_the_schedule_and_store_each_job_once(stack: Stack, server: pipeline.TargetServer) -> None:
    """Three workers follow the schedule, and get each of 60 jobs three times: they finish a probe concurrently."""
    scale(stack, 3)
    targets = []
    try:
        stack.wait_until_recovered()
        targets = pipeline.add_targets(stack, server.url, 30)
        with pipeline.target_server(stack) as other:
            targets.append(pipeline.add_target(stack, other.url, enabled=False))
            require_one_result_for_each_job(stack, targets[-1], other)
        require_a_shared_schedule(stack, targets[:-1])
    finally:
        pipeline.delete_targets(stack, *targets)
        scale(stack, 1)


def scale(stack: Stack, workers: int) -> None:
    """Set the number of workers; running ones are kept."""
    stack.compose("up", "--detach", "--no-recreate", "--no-deps", "--scale", f"worker={workers}", "worker")


def require_one_result_for_each_job(stack: Stack, target: str, server: pipeline.TargetServer) -> None:
    """Publish each job three times; it must have one result, which is counted once and published once."""
    jobs = [
        f'{{"id": "{uuid4()}", "url": "{server.url}", "target": "{target}", "requested_at": "2026-01-01T00:00:00Z",'
        f' "plan": {{"spec": {{"kind": "http", "url": "{server.url}"}}}}}}'
        for _ in range(60)
    ]
    pipeline.publish(stack, *(job for job in jobs for _ in range(3)))
    until(lambda: len(pipeline.finished(stack, target)) >= len(jobs), 60, "every job to have a result")
    time.sleep(QUEUE_COUNTS)
    until(lambda: queued(stack) == (0, 0), 60, "every message to be acknowledged")
    assert server.requests > len(jobs), "no job was executed twice, so the test proves nothing"
    assert len(pipeline.finished(stack, target)) == len(jobs)
    [counted] = pipeline.sql(stack, f"SELECT sum(results) AS results FROM rollups WHERE target = '{target}'")  # noqa: S608
    assert counted["results"] == len(jobs)
    until(lambda: len(published(stack, "probe.results", target)) >= len(jobs), 10, "the events to be published")
    assert len(published(stack, "probe.results", target)) == len(jobs)


def require_a_shared_schedule(stack: Stack, targets: list[str]) -> None:
    """Every target must be probed at its interval, and every worker must have scheduled some of the probes."""
    until(lambda: all(len(pipeline.finished(stack, target)) >= 4 for target in targets[-3:]), 60, "four rounds")
    for target, probes in pipeline.probes_of(stack, targets).items():
        at = [datetime.fromisoformat(probe["requested_at"]) for probe in probes]
        # The first probe is immediate, the others follow every 5 s.
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(at[1:])]
        assert all(abs(gap - pipeline.INTERVAL) < 2 for gap in gaps), f"{target} was probed at {at}"
    shares = [scheduled(stack, worker) for worker in stack.containers("worker")]
    assert min(shares) > 0, f"one of the workers scheduled nothing: {shares}"


def scheduled(stack: Stack, worker: str) -> float:
    """The number of probes that a worker has scheduled, by its own metric."""
    program = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:3000/api/metrics').read().decode())"
    page = stack.docker("exec", worker, "python", "-c", program)
    [value] = [line.split()[1] for line in page.splitlines() if line.startswith("netmon_scheduled_probes_total ")]
    return float(value)


def test_results_are_stored_while_kafka_is_down_and_published_afterwards(
    stack: Stack, server: pipeline.TargetServer
) -> None:
    target = pipeline.add_target(stack, server.url)
    try:
        until(lambda: pipeline.state(stack, target) == "up", 10, "the first probe")
        stack.control("stop", "kafka")
        try:
            before = len(pipeline.finished(stack, target))
            server.status = 500
            until(lambda: pipeline.state(stack, target) == "down", 3 * pipeline.INTERVAL, "a failure to be stored")
            server.status = 200
            until(lambda: pipeline.state(stack, target) == "up", 3 * pipeline.INTERVAL, "a success to be stored")
            single = stack.probe(server.url)
            assert stack.result(single)["status"] == "succeeded"
            # Further jobs may be in flight whenever RabbitMQ counts, which it does at the interval of the target.
            pipeline.execute(stack, f"UPDATE targets SET enabled = false WHERE id = '{target}'")  # noqa: S608
            until(lambda: queued(stack)[1] == 0, 2 * QUEUE_COUNTS, "the jobs to be acknowledged")
            [waiting] = pipeline.sql(stack, "SELECT count(*) AS events FROM outbox")
            assert waiting["events"] >= 5, "results and changes since the stop must be in the outbox"
            assert len(pipeline.finished(stack, target)) >= before + 2
        finally:
            stack.control("start", "kafka")
        stack.wait_until_recovered()
        until(lambda: pipeline.sql(stack, "SELECT FROM outbox LIMIT 1") == [], 30, "the outbox to be published")
        changes = published(stack, "monitor.state", target)
        assert [change["state"] for change in changes] == ["up", "down", "up"]
        results = published(stack, "probe.results", target)
        at = [result["finished_at"] for result in results]
        assert at == sorted(at), "the events of a target must have the order of its results"
        assert {result["id"] for result in results} >= {probe["id"] for probe in pipeline.finished(stack, target)[:-1]}
    finally:
        pipeline.delete_targets(stack, target)


def test_probes_missed_without_a_worker_are_not_caught_up(stack: Stack, server: pipeline.TargetServer) -> None:
    pipeline.require_no_catching_up(stack, server, "worker")


def test_a_job_that_cannot_be_done_is_dead_lettered_with_its_reason_and_harms_no_other(
    stack: Stack, server: pipeline.TargetServer
) -> None:
    """Jobs alone in a message, and among others in one: malformed, or with a result that PostgreSQL cannot store."""
    pipeline.take_dead_letters(stack)

    def job(mark: str = "") -> tuple[str, str]:
        probe = str(uuid4())
        return probe, (
            f'{{"id": "{probe}", "url": "{server.url}{mark}", "target": "t", "requested_at": "2026-01-01T00:00:00Z",'
            f' "plan": {{"spec": {{"kind": "http", "url": "{server.url}"}}}}}}'
        )

    good, failing = [job() for _ in range(3)], [job("\\u0000") for _ in range(2)]
    malformed, before = ['{"nonsense": 1}', '{"nonsense": 2}'], server.requests
    pipeline.publish(stack, malformed[0], failing[0][1])
    batch = (good[0][1], failing[1][1], malformed[1], good[1][1], good[2][1])
    pipeline.publish(stack, "\n".join(batch), queue="probes.batches")
    assert stack.result(stack.probe(server.url))["status"] == "succeeded", "other jobs must not be affected"
    listed = ", ".join(f"'{probe}'" for probe, _ in good)
    done = f"SELECT FROM probes WHERE id IN ({listed}) AND status = 'succeeded'"
    until(lambda: len(pipeline.sql(stack, done)) == len(good), 20, "the other jobs of the message to be done")
    letters: list[dict[str, Any]] = []

    def every() -> bool:
        letters.extend(pipeline.take_dead_letters(stack))
        return len(letters) >= len(malformed) + len(failing)

    until(every, 60, "the jobs to be dead-lettered")
    reasons = {letter["body"]: letter["headers"]["x-reason"] for letter in letters}
    assert len(letters) == len(reasons) == len(malformed) + len(failing), letters
    for body in malformed:
        assert reasons[body].startswith("malformed: ValidationError")
    for probe, _ in failing:
        [reason] = [reason for body, reason in reasons.items() if probe in body]
        assert reason.startswith("failed 20 times"), reason
    assert not any(probe in body for probe, _ in good for body in reasons)
    assert server.requests >= before + len(good) + 20 * len(failing)
    time.sleep(QUEUE_COUNTS)
    until(lambda: queued(stack) == (0, 0), 10, "every message to be acknowledged")


RETAIN = """
import asyncio, os
from netmon.database import Database
from netmon.retention import Retention
from netmon.settings import load

async def main():
    database = Database(load(os.environ).database_url, "test")
    await database.prepare()
    return sum(await asyncio.gather(*(Retention(database, 14).delete() for _ in range(2))))

print("deleted", asyncio.run(main()))
"""


def test_expired_results_are_deleted_and_their_rollups_are_kept(stack: Stack, server: pipeline.TargetServer) -> None:
    target = pipeline.add_target(stack, server.url)
    try:
        until(lambda: pipeline.finished(stack, target), 10, "a result")
        pipeline.execute(stack, f"UPDATE targets SET enabled = false WHERE id = '{target}'")  # noqa: S608
        rows = "INSERT INTO probes (id, target, url, status, requested_at, finished_at) SELECT gen_random_uuid(), "
        for days, count in ((15, 4500), (13, 3)):
            at = f"now() - interval '{days} days'"
            pipeline.execute(stack, f"{rows} '{target}', 'u', 'failed', {at}, {at} FROM generate_series(1, {count})")
        output = stack.exec("worker", "python", "-c", RETAIN).splitlines()[-1]
        assert int(output.split()[1]) >= 4500
        left = [probe["status"] for probe in pipeline.probes(stack, target)]
        assert left[:3] == ["failed"] * 3
        assert "succeeded" in left[3:]
        assert pipeline.sql(stack, f"SELECT FROM rollups WHERE target = '{target}'")
    finally:
        pipeline.delete_targets(stack, target)


ABANDON = """
import asyncio, os
from datetime import timedelta
from netmon.database import Database
from netmon.settings import load

async def main():
    database = Database(load(os.environ).database_url, "test")
    await database.prepare()
    print(await database.abandon_older_than(timedelta(hours=20), "it was lost"))
    await database.close()

asyncio.run(main())
"""


def queue_row(stack: Stack, requested_at: str) -> str:
    """Store a queued probe without a job."""
    probe = str(uuid4())
    columns = "id, target, url, kind, status, requested_at"
    values = f"'{probe}', 't', 'http://t/', 'http', 'queued', {requested_at}"
    pipeline.execute(stack, f"INSERT INTO probes ({columns}) VALUES ({values})")  # noqa: S608
    return probe


def test_a_dead_lettered_probe_on_demand_ends_as_failed(stack: Stack) -> None:
    pipeline.take_dead_letters(stack)
    probe, scheduled = queue_row(stack, "now()"), queue_row(stack, "now()")
    try:
        pipeline.publish(stack, f'{{"id": "{probe}", "nonsense": 1}}', priority=5)
        pipeline.publish(stack, f'{{"id": "{scheduled}", "nonsense": 1}}')
        result = stack.result(probe)
        assert (result["status"], result["error"]) == ("failed", "not_executed")
        assert result["detail"].startswith("the probe was not executed: malformed: ")
        until(lambda: len(pipeline.take_dead_letters(stack)) > 0, 10, "the dead letters")
        [row] = pipeline.sql(stack, f"SELECT status FROM probes WHERE id = '{scheduled}'")  # noqa: S608
        assert row["status"] == "queued", "its target must not be scheduled again at once"
    finally:
        pipeline.execute(stack, f"DELETE FROM probes WHERE id IN ('{probe}', '{scheduled}')")  # noqa: S608


def test_an_abandoned_probe_ends_as_failed_until_it_is_executed_after_all(
    stack: Stack, server: pipeline.TargetServer
) -> None:
    old, recent = queue_row(stack, "now() - interval '21 hours'"), queue_row(stack, "now() - interval '19 hours'")
    try:
        assert stack.exec("worker", "python", "-c", ABANDON).split()[-1] == "1"
        assert stack.result(old)["error"] == "not_executed"
        [row] = pipeline.sql(stack, f"SELECT status FROM probes WHERE id = '{recent}'")  # noqa: S608
        assert row["status"] == "queued"
        job = (
            f'{{"id": "{old}", "url": "{server.url}", "target": "t", "requested_at": "2026-01-01T00:00:00Z",'
            f' "plan": {{"spec": {{"kind": "http", "url": "{server.url}"}}}}}}'
        )
        pipeline.publish(stack, job, queue="probes.batches")
        succeeded = f"SELECT FROM probes WHERE id = '{old}' AND status = 'succeeded' AND error IS NULL"
        until(lambda: pipeline.sql(stack, succeeded), 20, "the result")
    finally:
        pipeline.execute(stack, f"DELETE FROM probes WHERE id IN ('{old}', '{recent}')")  # noqa: S608
