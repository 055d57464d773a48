"""A ledger of the probes that the API has accepted under a constant load, and what the stack lacks of them later."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import requests

from tests.live.stack import Stack, until

PROBED = "http://app:3000/api/health/live"
"""A private address that production permits too."""
RATE = 50
"""Requests a second."""
CLIENTS = 40
"""The most requests at a time."""
TARGETS = 20
"""Targets of these requests, the first of which is for the probes that are followed."""
TIMEOUT = 10.0
"""Seconds for a response, longer than those in which the API refuses a probe that it cannot accept."""

EVENTS = """
import asyncio, json, os, sys
from aiokafka import AIOKafkaConsumer, TopicPartition
from netmon.kafka import PARTITIONS, RESULTS, access
from netmon.settings import load

async def main(known):
    consumer = AIOKafkaConsumer(**access(load(os.environ)))
    await consumer.start()
    try:
        partitions = [TopicPartition(RESULTS, each) for each in range(PARTITIONS)]
        ends, ids = await consumer.end_offsets(partitions), []
        if known is not None:
            consumer.assign(partitions)
            for each in partitions:
                consumer.seek(each, min(known.get(str(each.partition), 0), ends[each]))
            while any([await consumer.position(each) < end for each, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    ids += [json.loads(record.value)["id"] for record in records]
        print(json.dumps({"ids": ids, "ends": {each.partition: end for each, end in ends.items()}}))
    finally:
        await consumer.stop()

asyncio.run(main(json.loads(sys.argv[1])))
"""
"""Prints the ids of the events of results from some offsets on, and the offsets at the end."""

Offsets = Mapping[str, int]
"""By partition of the topic of results."""


@dataclass(frozen=True)
class Losses:
    """Accepted probes that have no result, and those whose result has no event."""

    results: frozenset[str]
    events: frozenset[str]

    @property
    def count(self) -> int:
        """The number of acknowledged writes that are lost."""
        return len(self.results) + len(self.events)

    def __str__(self) -> str:
        kinds = {"without a result": self.results, "without an event": self.events}
        return "; ".join(f"{len(ids)} {kind}: {', '.join(sorted(ids)[:3])} …" for kind, ids in kinds.items() if ids)


@dataclass
class Ledger:
    """Requests of clients: the ids of accepted probes, and the reasons of refusals by their number."""

    accepted: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """The number of requests."""
        return len(self.accepted) + self.refused.total()

    def losses(self, finished: Set[str], published: Set[str]) -> Losses:
        """What is lost, by the probes with a result and the events that the stack has."""
        kept = self.accepted & finished
        return Losses(frozenset(self.accepted - finished), frozenset(kept - published))


@dataclass(frozen=True)
class Entrance:
    """Where clients reach the API: the published port of the application, or the proxy."""

    base: str
    headers: Mapping[str, str]
    session: requests.Session
    options: Mapping[str, Any] = field(default_factory=dict)
    """TLS settings of the requests of aiohttp."""

    @classmethod
    def of(cls, stack: Stack) -> Entrance:
        """The entrance of a running stack."""
        if "DOMAIN" not in stack.settings:
            return cls(stack.url(), stack.authorization(), requests.Session())
        proxy = stack.proxy()
        host = proxy.url.removeprefix("https://")
        tls = {"ssl": proxy.ssl_context(), "server_hostname": proxy.domain}
        return cls(proxy.address, {**stack.authorization(), "Host": host}, proxy.session(), tls)

    @contextmanager
    def writing(self, targets: Sequence[str], rate: float = RATE) -> Iterator[Ledger]:
        """Request probes of some targets in turn, at a constant rate unless `CLIENTS` requests await their responses.

        At the end of the block each request has a response, or none within its timeout.
        """
        ledger, stop = Ledger(), threading.Event()
        clients = threading.Thread(target=lambda: asyncio.run(self._write(ledger, targets, rate, stop)), daemon=True)
        clients.start()
        try:
            yield ledger
        finally:
            stop.set()
            clients.join()

    async def _write(self, ledger: Ledger, targets: Sequence[str], rate: float, stop: threading.Event) -> None:
        limit, loop = aiohttp.ClientTimeout(total=TIMEOUT), asyncio.get_running_loop()
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=limit, headers=dict(self.headers)) as session,
            asyncio.TaskGroup() as group,
        ):
            began, waiting = loop.time(), set[asyncio.Task[None]]()
            for turn in itertools.count():
                await asyncio.sleep(began + turn / rate - loop.time())
                if stop.is_set():
                    break
                if len(waiting) >= CLIENTS:
                    continue
                request = group.create_task(self._request(session, targets[turn % len(targets)], ledger))
                waiting.add(request)
                request.add_done_callback(waiting.discard)

    async def _request(self, session: aiohttp.ClientSession, target: str, ledger: Ledger) -> None:
        try:
            async with session.post(f"{self.base}/api/targets/{target}/probes", **self.options) as response:
                if response.status == 202:
                    ledger.accepted.add((await response.json())["id"])
                else:
                    ledger.refused[str(response.status)] += 1
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            ledger.refused[type(error).__name__] += 1

    def walk(self, target: str, within: float = 8) -> bool:
        """Whether a new probe of a target passes every service on its way: its result is read from Redis in the end."""
        try:
            answer = self._call("POST", f"/api/targets/{target}/probes")
            if answer.status_code != 202:
                return False
            probe = answer.json()["id"]
            until(lambda: self._call("GET", f"/api/probes/{probe}").json().get("status") == "succeeded", within, "")
            until(lambda: self._is_latest(target, probe), within, "")
        except (requests.RequestException, AssertionError):
            return False
        return True

    def _is_latest(self, target: str, probe: str) -> bool:
        answer = self._call("GET", f"/api/targets/{target}/latest")
        return answer.headers.get("X-Cache") == "hit" and answer.json()["id"] == probe

    def _call(self, method: str, path: str) -> requests.Response:
        return self.session.request(method, f"{self.base}{path}", headers=dict(self.headers), timeout=5)


def finished(stack: Stack, probes: Set[str]) -> frozenset[str]:
    """Those of the probes that have a result; the end of a lost job is none."""
    query = f"""SELECT id FROM probes WHERE id = ANY('{{{",".join(probes)}}}'::uuid[])
        AND status <> 'queued' AND error IS DISTINCT FROM 'not_executed';"""  # noqa: S608
    output = stack.exec("db", "psql", "-U", "postgres", "-d", "network_monitor", "-tA", text=query)
    return frozenset(output.split())


def miscounted(stack: Stack) -> int:
    """The results in the rollups more (or, below 0, less) than those stored: one is duplicate (or missing)."""
    query = """SELECT (SELECT coalesce(sum(results), 0) FROM rollups) - (SELECT count(*) FROM probes
        WHERE status <> 'queued' AND error IS DISTINCT FROM 'not_executed');"""
    return int(stack.exec("db", "psql", "-U", "postgres", "-d", "network_monitor", "-tA", text=query))


def published(stack: Stack, since: Offsets | None = None) -> tuple[frozenset[str], Offsets]:
    """The probes with an event since some offsets, and the offsets at the end; without any, the latter alone."""
    found = json.loads(stack.exec("worker", "python", "-c", EVENTS, json.dumps(since)).splitlines()[-1])
    return frozenset(found["ids"]), found["ends"]


def settle(stack: Stack, ledger: Ledger, since: Offsets, within: float = 90) -> tuple[Losses, Offsets]:
    """Wait until nothing more of the ledger arrives, for at most ``within`` seconds; what is missing then is lost."""
    with_result: frozenset[str] = frozenset()

    def done() -> bool:
        nonlocal with_result
        with_result = finished(stack, ledger.accepted)
        return ledger.accepted <= with_result and outbox_is_empty(stack)

    with suppress(AssertionError):  # the losses are the outcome
        until(done, within, "every accepted probe to have a result and an event")
    events, ends = published(stack, since)
    return ledger.losses(with_result, events), ends


def outbox_is_empty(stack: Stack) -> bool:
    """Whether every event was published."""
    query = "SELECT count(*) FROM outbox;"
    return stack.exec("db", "psql", "-U", "postgres", "-d", "network_monitor", "-tA", text=query).strip() == "0"
