"""A question to one name server: UDP with retransmissions, TCP if the answer is truncated."""

import asyncio
import socket
from collections import OrderedDict
from typing import NoReturn

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode

from netmon.specs import DNS_PORT

MAX_QUESTIONS = 192
"""Questions that await the first answer of one name server; more wait until they are sent."""
MAX_DOUBTFUL = 64
"""The same for repetitions, and for names that were not answered at once the last time."""
MAX_CONNECTIONS = 64
"""Connections over TCP to one name server."""
PLACE_SECONDS = 0.5
"""How long a question counts for these limits after it is sent. Those that stay without an answer are thereby at most
384 a second, and 128 if their names are known. The resolver of the engine takes about a thousand, each for 4 s."""
MAX_SILENT = 10_000
"""Names that are remembered because they were not answered at once; the oldest ones are forgotten."""
RETRANSMISSIONS_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""How long an answer is awaited at least before the question is sent again, and at last given up."""

MAX_PACKET = 4096
"""Bytes over UDP; longer answers are truncated at 512 bytes, because the question allows no more."""

_ANSWERS = frozenset({dns.rcode.NOERROR, dns.rcode.NXDOMAIN})
_ID = slice(0, 2)
_TRUNCATED = 0x02
"""The bit in the third byte of a message."""


class NameServerError(Exception):
    """The name server reports a failure, or its answer is not valid."""


class NameServer:
    """One name server with a limit of questions in flight.

    Raises:
        OSError: `address` is not an IP address.
    """

    def __init__(self, address: str, port: int = DNS_PORT) -> None:
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        endpoint = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM, flags=flags)[0]
        self._family = endpoint[0]
        self._endpoint = endpoint[4]
        self._questions = asyncio.Semaphore(MAX_QUESTIONS)
        self._doubtful = asyncio.Semaphore(MAX_DOUBTFUL)
        self._connections = asyncio.Semaphore(MAX_CONNECTIONS)
        self._silent: OrderedDict[dns.name.Name, None] = OrderedDict()

    async def ask(self, query: dns.message.Message) -> dns.message.Message:
        """The answer, which may be that the name does not exist.

        Raises:
            OSError: the name server cannot be reached.
            NameServerError: it reports a failure, or its answer is not valid.
            dns.exception.Timeout: it does not answer.
        """
        response = await self._over_udp(query)
        self._silent.pop(query.question[0].name, None)
        if response is None:
            async with self._connections:
                response = await self._over_tcp(query)
        if response.rcode() not in _ANSWERS:
            raise NameServerError(f"the name server reports {dns.rcode.to_text(response.rcode())}")
        return response

    async def _over_udp(self, query: dns.message.Message) -> dns.message.Message | None:
        """The answer; None if it is truncated."""
        with socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as udp:
            udp.connect(self._endpoint)  # discards packets of other senders, with an unpredictable port
            # An answer also counts while its question waits for a place to be repeated.
            answer = asyncio.ensure_future(_received(udp, query))
            sending = asyncio.ensure_future(self._send(udp, query))
            try:
                await asyncio.wait({answer, sending}, return_when=asyncio.FIRST_COMPLETED)
                return answer.result() if answer.done() else sending.result()
            finally:
                answer.cancel()
                sending.cancel()
                await asyncio.gather(answer, sending, return_exceptions=True)

    async def _send(self, udp: socket.socket, query: dns.message.Message) -> NoReturn:
        """Send a question, and repeat it until this is cancelled.

        Raises:
            OSError: the name server cannot be reached.
            dns.exception.Timeout: it did not answer.
        """
        name = query.question[0].name
        wire = query.to_wire()
        for attempt, seconds in enumerate(RETRANSMISSIONS_SECONDS):
            async with self._doubtful if attempt or name in self._silent else self._questions:
                udp.send(wire)
                await asyncio.sleep(min(seconds, PLACE_SECONDS))
            self._note_silence(name)
            await asyncio.sleep(max(seconds - PLACE_SECONDS, 0))
        raise dns.exception.Timeout

    def _note_silence(self, name: dns.name.Name) -> None:
        self._silent[name] = None
        self._silent.move_to_end(name)
        if len(self._silent) > MAX_SILENT:
            self._silent.popitem(last=False)

    async def _over_tcp(self, query: dns.message.Message) -> dns.message.Message:
        wire = query.to_wire()
        try:
            async with asyncio.timeout(sum(RETRANSMISSIONS_SECONDS)):
                with socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as tcp:
                    await asyncio.get_running_loop().sock_connect(tcp, self._endpoint)
                    await asyncio.get_running_loop().sock_sendall(tcp, len(wire).to_bytes(2, "big") + wire)
                    length = int.from_bytes(await _exactly(tcp, 2), "big")
                    data = await _exactly(tcp, length)
        except TimeoutError:
            raise dns.exception.Timeout from None
        response = _parsed(data)
        if response is None or not query.is_response(response):
            raise NameServerError("the answer over TCP is not valid")
        return response


async def _received(udp: socket.socket, query: dns.message.Message) -> dns.message.Message | None:
    """The first answer to this question; other packets are ignored."""
    question_id = query.id.to_bytes(2, "big")
    while True:
        data = await asyncio.get_running_loop().sock_recv(udp, MAX_PACKET)
        if data[_ID] != question_id or len(data) < 3:
            continue
        if data[2] & _TRUNCATED:
            return None  # it may end in the middle of a record
        response = _parsed(data)
        if response is not None and query.is_response(response):
            return response


def _parsed(data: bytes) -> dns.message.Message | None:
    try:
        return dns.message.from_wire(data)
    except dns.exception.DNSException:
        return None


async def _exactly(tcp: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        received = await asyncio.get_running_loop().sock_recv(tcp, count - len(data))
        if not received:
            raise NameServerError("the name server closed the connection")
        data += received
    return bytes(data)
