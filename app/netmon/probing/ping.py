"""ICMP echo requests through a datagram socket, which needs no privilege (net.ipv4.ping_group_range)."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from statistics import fmean

from netmon.probing.attempt import Attempt
from netmon.probing.errors import PingNotPermittedError, ProbeError
from netmon.probing.happy_eyeballs import reach
from netmon.probing.resolver import Resolver
from netmon.specs import PingSpec

MAX_INTERVAL_SECONDS = 0.2
"""The time from one request to the next, if the timeout permits it."""
_SENDING = 0.5
"""The part of the timeout in which all requests are sent, so that the last one can be replied to."""
_WAITING = 0.95
"""The part of the timeout after which a missing reply counts as lost, if there are others."""
_HEADER = struct.Struct("!BBHHH")
"""Type, code, checksum, identifier, sequence number; the kernel fills in the checksum and the identifier."""
_TYPES = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
"""ICMP types of request and reply."""


async def probe(spec: PingSpec, attempt: Attempt, resolver: Resolver) -> None:
    """Send requests to the addresses one after another until one replies, and judge all replies of this one.

    Raises:
        FAILURES: see `netmon.probing.errors`.
    """
    deadline = time.perf_counter() + _WAITING * attempt.timeout_seconds
    interval = min(MAX_INTERVAL_SECONDS, _SENDING * attempt.timeout_seconds / spec.packets)
    with attempt.timed("lookup"):
        addresses = await resolver.addresses(spec.host)
    opened: list[_Series] = []

    async def replying(address: str) -> _Series:
        opened.append(series := _Series(address, spec.packets, interval))
        await series.start()
        return series

    try:
        series = await reach(addresses, replying)
        await series.end(deadline)
        _judge(series.round_trips, spec, attempt)
    finally:
        for each in opened:
            each.close()


def _judge(round_trips: Sequence[float | None], spec: PingSpec, attempt: Attempt) -> None:
    """Check the milliseconds that the reply to each request took, None if there was none."""
    replies = [each for each in round_trips if each is not None]
    lost = len(round_trips) - len(replies)
    attempt.duration_ms = round(fmean(replies), 3)
    if spec.packets > 1:
        attempt.loss_percent = round(100 * lost / len(round_trips), 1)
    if len(replies) > 1:
        attempt.jitter_ms = round(fmean(abs(one - next_) for one, next_ in pairwise(replies)), 3)
    if 100 * lost > spec.maximum_loss_percent * len(round_trips):
        raise ProbeError(
            "loss",
            f"{lost} of {len(round_trips)} packets were lost ({100 * lost / len(round_trips):.0f} %), "
            f"expected at most {spec.maximum_loss_percent:g} %",
        )
    limit, jitter = spec.maximum_jitter_ms, attempt.jitter_ms
    if limit is not None and jitter is not None and jitter > limit:
        raise ProbeError("jitter", f"the jitter is {jitter:.1f} ms, expected at most {limit:g} ms")


class _Series:
    """Requests to one address, and the times of their replies."""

    def __init__(self, address: str, packets: int, interval: float) -> None:
        self._icmp = _connected(address)
        self._request, self._reply = _TYPES[self._icmp.family]
        self._interval = interval
        self._token = os.urandom(16)
        self._sent = [0.0] * packets
        self._sending: asyncio.Future[None] | None = None
        self.round_trips: list[float | None] = [None] * packets
        """Milliseconds by request; None without a reply."""

    async def start(self) -> None:
        """Send the requests, and wait for the first reply, without a timeout of its own.

        Raises:
            OSError: the host or a router refuses a request.
        """
        self._send(0)
        self._sending = asyncio.ensure_future(self._send_others())
        while all(each is None for each in self.round_trips):
            self._take(await self._received())

    async def end(self, deadline: float) -> None:
        """Wait for the other replies, until a time of `time.perf_counter`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(deadline - time.perf_counter(), 0)):
                while None in self.round_trips:
                    with suppress(OSError):  # a router refused one of the requests: it is lost
                        self._take(await self._received())

    def close(self) -> None:
        """Send and receive no more."""
        if self._sending:
            self._sending.cancel()
        self._icmp.close()

    async def _send_others(self) -> None:
        for number in range(1, len(self._sent)):
            await asyncio.sleep(self._interval)
            with suppress(OSError):  # without a reply, it is lost
                self._send(number)

    def _send(self, number: int) -> None:
        self._sent[number] = time.perf_counter()
        self._icmp.send(_HEADER.pack(self._request, 0, 0, 0, number + 1) + self._token)

    async def _received(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._icmp, 1024)

    def _take(self, packet: bytes) -> None:
        """Note the time of a reply; any other packet, and a duplicate, is ignored."""
        now = time.perf_counter()
        if len(packet) != _HEADER.size + len(self._token) or packet[_HEADER.size :] != self._token:
            return
        kind, _, _, _, sequence = _HEADER.unpack(packet[: _HEADER.size])
        number = sequence - 1
        if kind == self._reply and 0 <= number < len(self._sent) and self.round_trips[number] is None:
            self.round_trips[number] = (now - self._sent[number]) * 1000


def _connected(address: str) -> socket.socket:
    """A socket that receives packets from this address only."""
    family, protocol = (
        (socket.AF_INET6, socket.IPPROTO_ICMPV6) if ":" in address else (socket.AF_INET, socket.IPPROTO_ICMP)
    )
    try:
        icmp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol)
    except PermissionError:
        raise PingNotPermittedError(
            f"the worker is not permitted to send pings: its group {os.getgid()} is not in net.ipv4.ping_group_range"
        ) from None
    try:
        icmp.connect((address, 0))
    except OSError:
        icmp.close()
        raise
    return icmp
