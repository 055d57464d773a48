"""The probe pipeline of a running stack: targets and results in PostgreSQL, jobs in RabbitMQ, events in Kafka."""

from __future__ import annotations

import http.server
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import requests
from kafka import KafkaConsumer, TopicPartition

from tests.live.stack import Stack, until

INTERVAL = 5
"""Seconds between the probes of a target by default."""

PUBLISH = """
import asyncio, json, sys
import aio_pika

async def main():
    from netmon.settings import load
    import os
    async with await aio_pika.connect(load(os.environ).rabbitmq_url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        queue, bodies, priority = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
        messages = [aio_pika.Message(body.encode(), priority=priority) for body in bodies]
        await asyncio.gather(*(channel.default_exchange.publish(each, routing_key=queue) for each in messages))

asyncio.run(main())
"""
TAKE = """
import asyncio, json
import aio_pika

async def main():
    from netmon.settings import load
    import os
    async with await aio_pika.connect(load(os.environ).rabbitmq_url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("probes.dead", ensure=False)
        taken = []
        while message := await queue.get(fail=False, no_ack=True):
            taken.append({"body": message.body.decode(), "headers": {k: str(v) for k, v in message.headers.items()}})
        print(json.dumps(taken))

asyncio.run(main())
"""


@dataclass
class TargetServer:
    """A target on the host, with a variable status, a count of requests, and the headers of the last one.

    `delay` is the median of the seconds until it answers.
    """

    url: str
    status: int = 200
    delay: float = 0
    requests: int = 0
    headers: dict[str, str] = field(default_factory=dict)


def gateway(stack: Stack) -> str:
    """The address of this host at which the workers reach it."""
    address = "{{(index .IPAM.Config 0).Gateway}}"
    return stack.docker("network", "inspect", f"{stack.name}_egress-network", "--format", address).strip()


@contextmanager
def target_server(stack: Stack) -> Iterator[TargetServer]:
    """Run a target on the host, at an address that the workers reach."""
    host = gateway(stack)
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                target.requests += 1
                target.headers = dict(self.headers)
            time.sleep(target.delay * random.lognormvariate(0, 0.2))
            self.send_response(target.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer((host, 0), Handler)
    target = TargetServer(f"http://{host}:{server.server_port}/")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield target
    finally:
        server.shutdown()
        server.server_close()


def sql(stack: Stack, query: str) -> Any:
    """The rows of a query's result, each a dict."""
    command = ("psql", "-U", "postgres", "-d", "network_monitor", "-tAc",
               f"SELECT coalesce(json_agg(result), '[]') FROM ({query}) AS result")  # noqa: S608  # fmt: skip
    return json.loads(stack.exec("db", *command))


def execute(stack: Stack, statement: str) -> None:
    """Execute a statement as the superuser."""
    command = ("psql", "-U", "postgres", "-d", "network_monitor", "-v", "ON_ERROR_STOP=1", "-qc", statement)
    stack.exec("db", *command)


def add_target(
    stack: Stack, url: str, *, name: str = "", failures: int = 1, window: int = 1, enabled: bool = True
) -> str:
    """Add a target with the interval INTERVAL and return its id, which is its name too unless another one is given."""
    return add_targets(stack, url, 1, name=name, failures=failures, window=window, enabled=enabled)[0]


def add_targets(stack: Stack, url: str, count: int, *, name: str = "", failures: int = 1, window: int = 1,
                enabled: bool = True) -> list[str]:  # fmt: skip
    """Add targets of the same settings, the first of which is due now, and each other 0.1 s later; return their ids."""
    targets, now = [str(uuid4()) for _ in range(count)], datetime.now(UTC)
    common = {
        "spec": {"kind": "http", "url": url},
        "interval_seconds": INTERVAL,
        "timeout_seconds": 2,
        "retries": 0,
        "failures": failures,
        "window": window,
        "enabled": enabled,
        "severity": "critical",
        "degraded_severity": "warning",
        "tags": ["live-test"],
        "public": False,
        **dict.fromkeys(("created_at", "updated_at"), now.isoformat()),
    }
    rows = json.dumps([
        {"id": target, "name": name or target, "due_at": (now + number * timedelta(seconds=0.1)).isoformat(), **common}
        for number, target in enumerate(targets)
    ])  # fmt: skip
    standings = ", ".join(f"('{target}', 'unknown', now(), '[]')" for target in targets)
    added = f"INSERT INTO targets SELECT * FROM jsonb_populate_recordset(NULL::targets, '{rows}')"  # noqa: S608
    execute(stack, f"{added}; INSERT INTO standings VALUES {standings}")  # noqa: S608
    return targets


def delete_targets(stack: Stack, *targets: str) -> None:
    """Delete targets through the API, which ends their incidents and alerts."""
    for target in targets:
        answer = requests.delete(stack.url(f"/api/targets/{target}"), headers=stack.authorization(), timeout=5)
        assert answer.status_code == 204, answer.text


def probes(stack: Stack, target: str) -> list[dict[str, Any]]:
    """The probes of a target, oldest first."""
    found: list[dict[str, Any]] = sql(
        stack,
        f"SELECT * FROM probes WHERE target = '{target}' ORDER BY requested_at",  # noqa: S608
    )
    return found


def probes_of(stack: Stack, targets: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The probes of each of these targets, oldest first."""
    listed = ", ".join(f"'{target}'" for target in targets)
    rows = sql(stack, f"SELECT * FROM probes WHERE target IN ({listed}) ORDER BY requested_at")  # noqa: S608
    return {target: [row for row in rows if row["target"] == target] for target in targets}


def finished(stack: Stack, target: str) -> list[dict[str, Any]]:
    """The finished probes of a target, oldest first."""
    return [probe for probe in probes(stack, target) if probe["status"] != "queued"]


def state(stack: Stack, target: str) -> str:
    """The state of a target."""
    return str(sql(stack, f"SELECT state FROM standings WHERE target = '{target}'")[0]["state"])  # noqa: S608


def publish(stack: Stack, *bodies: str, queue: str = "probes", priority: int = 0) -> None:
    """Publish messages to a work queue; with a priority of 5, as those of probes on demand."""
    stack.exec("worker", "python", "-c", PUBLISH, queue, json.dumps(bodies), str(priority))


def take_dead_letters(stack: Stack) -> list[dict[str, Any]]:
    """Empty the dead-letter queue and return its messages, bodies and headers."""
    taken: list[dict[str, Any]] = json.loads(stack.exec("worker", "python", "-c", TAKE))
    return taken


def events(stack: Stack, topic: str) -> list[dict[str, Any]]:
    """All events of a topic; those of the same key are in order."""
    broker = f"127.0.0.1:{stack.settings['KAFKA_PORT']}"
    consumer = KafkaConsumer(bootstrap_servers=[broker], enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, each) for each in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        found: list[dict[str, Any]] = []
        while any(consumer.position(each) < end for each, end in ends.items()):
            for records in consumer.poll(timeout_ms=500).values():
                found += [json.loads(record.value) for record in records]
        return found
    finally:
        consumer.close()


def require_no_catching_up(stack: Stack, server: TargetServer, service: str) -> None:
    """Stop a service for four intervals: each target must be probed once when it is back, then at its interval."""
    targets = [add_target(stack, server.url) for _ in range(3)]
    try:
        until(lambda: all(finished(stack, target) for target in targets), 10, "the first probes")
        stack.control("stop", service)
        before = {target: len(probes(stack, target)) for target in targets}
        time.sleep(4 * INTERVAL)
        stack.control("start", service)
        until(lambda: all(len(finished(stack, target)) > before[target] for target in targets), 40, "the next probes")
        time.sleep(INTERVAL)
        added = {target: len(probes(stack, target)) - before[target] for target in targets}
        # One missed probe, and those since the restart, until the slowest of the three targets was probed.
        assert max(added.values()) <= 4, added
        times = [datetime.fromisoformat(probe["requested_at"]) for probe in probes(stack, targets[0])]
        late = times[before[targets[0]] :]
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(late[1:])]
        assert all(gap > INTERVAL - 2 for gap in gaps), f"a burst: {late}"
    finally:
        delete_targets(stack, *targets)
        stack.wait_until_recovered()
