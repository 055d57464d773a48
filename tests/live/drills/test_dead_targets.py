"""Four thousand targets that are dead in every way there is, and a thousand that are not."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from socket import AF_INET, SO_LINGER, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET, create_server, socket
from struct import pack
from typing import Any, cast

import pytest
import requests
import yaml

from tests.live import pipeline
from tests.live.stack import Stack, until

HEALTHY, DEAD = 1000, 4000
INTERVAL, TIMEOUT = 60, 2
"""Seconds; the interval is the default one."""
WATCHED_SECONDS = 600
DNS_PORT = 53
BACKLOG = 4


@pytest.fixture
def stack(own_stack: Stack) -> Stack:
    """A stack without monitoring, whose worker asks a name server of this host that does not answer."""
    own_stack.invoke("up", "--profile=dev", "--without=monitoring", "--no-smoke", timeout=900)
    override = {"services": {"worker": {"dns": [pipeline.gateway(own_stack)]}}}
    (own_stack.root / "docker-compose.override.yml").write_text(yaml.safe_dump(override))
    own_stack.invoke("setup")
    own_stack.invoke("up", "--no-smoke", timeout=900)
    return own_stack


def test_dead_targets_do_not_disturb_others(stack: Stack, record: Callable[[str], None]) -> None:
    with servers(pipeline.gateway(stack)) as specs:
        healthy, *dead = specs
        store(stack, healthy, dead)
        began = datetime.now(UTC)
        time.sleep(WATCHED_SECONDS)
        counted = pipeline.sql(
            stack,
            f"""SELECT name LIKE 'healthy %' AS healthy, count(*) AS results,
            count(*) FILTER (WHERE probes.status = 'failed') AS failed,
            max(extract(epoch FROM finished_at - requested_at)) AS slowest
            FROM probes JOIN targets ON probes.target = targets.id::text
            WHERE requested_at > '{began.isoformat()}' AND probes.status <> 'queued' GROUP BY 1 ORDER BY 1""",  # noqa: S608
        )
        stale = len(requests.get(stack.url("/api/targets?state=stale&limit=200"), timeout=30).json())
        for row in counted:
            record(f"{'healthy' if row['healthy'] else 'dead'}: {row['results']} results, {row['failed']} failed, "
                   f"stored at most {row['slowest']:.1f} s after they were due")  # fmt: skip
        record(f"{stale} stale targets")
        others, watched = counted
        assert watched["failed"] == 0
        assert watched["results"] >= HEALTHY * (WATCHED_SECONDS // INTERVAL - 1)
        assert others["failed"] == others["results"] >= DEAD * (WATCHED_SECONDS // INTERVAL - 1)
        assert stale == 0


def store(stack: Stack, healthy: dict[str, Any], dead: Sequence[dict[str, Any]]) -> None:
    """Store all targets; a name in a spec has a part of its own for each target."""
    common = {"interval_seconds": INTERVAL, "timeout_seconds": TIMEOUT}
    listed = [{"name": f"healthy {number}", "spec": healthy, **common} for number in range(HEALTHY)]
    for number in range(DEAD):
        spec = dead[number % len(dead)]
        own = {key: value.replace("%", str(number)) if isinstance(value, str) else value for key, value in spec.items()}
        listed.append({"name": f"dead {number}", "spec": own, **common})
    done = requests.put(stack.url("/api/targets"), json=listed, headers=stack.authorization(), timeout=120)
    assert done.ok, done.text
    until(lambda: pipeline.sql(stack, "SELECT count(*) AS n FROM targets")[0]["n"] == len(listed), 60, "all targets")


@contextmanager
def servers(host: str) -> Iterator[list[dict[str, Any]]]:
    """The spec of healthy targets, and those of dead ones, with what they are probed at."""
    with ExitStack() as running:
        names = running.enter_context(socket(AF_INET, SOCK_DGRAM))
        names.bind((host, DNS_PORT))
        full = running.enter_context(create_server((host, 0), backlog=0))
        for _ in range(BACKLOG):  # until the kernel drops what arrives
            waiting = running.enter_context(socket(AF_INET, SOCK_STREAM))
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with create_server((host, 0)) as unused:
            closed = unused.getsockname()[1]
        ports = [running.enter_context(create_server((host, 0), backlog=4096)) for _ in KINDS]
        process = multiprocessing.Process(target=serve, args=(ports,), daemon=True)
        process.start()
        running.callback(process.terminate)
        healthy, failing, silent, resetting, endless = (each.getsockname()[1] for each in ports)
        at = f"http://{host}"
        yield [
            {"kind": "http", "url": f"{at}:{healthy}/"},
            {"kind": "http", "url": f"{at}:{failing}/"},
            {"kind": "http", "url": f"{at}:{silent}/"},
            {"kind": "http", "url": f"{at}:{resetting}/"},
            {"kind": "http", "url": f"{at}:{endless}/", "body_contains": "never"},
            {"kind": "http", "url": f"{at}:{closed}/"},
            {"kind": "http", "url": f"https://{host}:{healthy}/"},
            {"kind": "http", "url": "http://name-%.example.org/"},
            {"kind": "tcp", "host": host, "port": closed},
            {"kind": "tcp", "host": host, "port": full.getsockname()[1]},
            {"kind": "dns", "name": "name-%.example.org", "record": "A", "resolver": host},
        ]


class Server(asyncio.Protocol):
    """Accepts, and does not answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, with which subclasses answer."""
        self.transport = cast(asyncio.Transport, transport)


class Answering(Server):
    """Answers every request with a status."""

    status = 200

    def data_received(self, _data: bytes) -> None:
        """Answer, and close the connection."""
        self.transport.write(b"HTTP/1.1 %d -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % self.status)
        self.transport.close()


class Failing(Answering):
    """Answers every request with an error."""

    status = 500


class Resetting(Server):
    """Resets every connection."""

    def data_received(self, _data: bytes) -> None:
        """Reset the connection: closing a socket that does not linger sends RST."""
        self.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
        self.transport.close()


class Endless(Server):
    """Answers with a body that does not end."""

    def data_received(self, _data: bytes) -> None:
        """Begin the answer."""
        self.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")


KINDS = (Answering, Failing, Server, Resetting, Endless)
"""The servers; the first one is healthy."""


def serve(sockets: Sequence[socket]) -> None:
    """Run the servers on their sockets."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        made = [await loop.create_server(kind, sock=each) for kind, each in zip(KINDS, sockets, strict=True)]
        await asyncio.gather(*(each.serve_forever() for each in made))

    asyncio.run(run())
