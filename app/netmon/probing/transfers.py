"""Transfers of libcurl in the event loop of asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

import pycurl

_READ, _WRITE = 1, 2


class TransferError(Exception):
    """A transfer failed; the attributes are facts for `netmon.probing.errors`, and no text for people.

    Attributes:
        code: the number of libcurl.
        number: the error of a system call, or 0.
        proxy_status: the answer of a proxy to the request for a tunnel, or 0.
    """

    def __init__(self, code: int, message: str, number: int = 0, proxy_status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.number = number
        self.proxy_status = proxy_status


class Transfers:
    """All transfers of an event loop, which share one state machine of libcurl."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._multi: Any = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._schedule)
        self._timer: asyncio.TimerHandle | None = None
        self._watched: set[int] = set()
        self._running: dict[Any, asyncio.Future[None]] = {}

    async def run(self, curl: Any) -> None:
        """Run a transfer that is set up; it ends early if one of its callbacks refuses further data.

        Raises:
            TransferError: the transfer failed, also because a callback ended it.
        """
        ended = self._running[curl] = self._loop.create_future()
        try:
            self._multi.add_handle(curl)
            try:
                await ended
            finally:
                self._multi.remove_handle(curl)
        finally:
            del self._running[curl]

    def close(self) -> None:
        """End everything; no transfer may be running."""
        if self._timer:
            self._timer.cancel()
        self._multi.close()

    def _watch(self, event: int, socket: int, _multi: Any, _data: Any) -> None:
        if socket in self._watched:
            self._loop.remove_reader(socket)
            self._loop.remove_writer(socket)
            self._watched.discard(socket)
        if event == pycurl.POLL_REMOVE:
            return
        self._watched.add(socket)
        if event & _READ:
            self._loop.add_reader(socket, self._act, socket, pycurl.CSELECT_IN)
        if event & _WRITE:
            self._loop.add_writer(socket, self._act, socket, pycurl.CSELECT_OUT)

    def _schedule(self, milliseconds: int) -> None:
        if self._timer:
            self._timer.cancel()
        # Never at once: libcurl must not be called from one of its callbacks.
        self._timer = None if milliseconds < 0 else self._loop.call_later(milliseconds / 1000, self._act)

    def _act(self, socket: int = pycurl.SOCKET_TIMEOUT, event: int = 0) -> None:
        self._multi.socket_action(socket, event)
        more = 1
        while more:
            more, succeeded, failed = self._multi.info_read()
            for curl in succeeded:
                self._end(curl, None)
            for curl, code, message in failed:
                facts = (curl.getinfo(each) for each in (pycurl.OS_ERRNO, pycurl.HTTP_CONNECTCODE))
                self._end(curl, TransferError(code, message, *facts))

    def _end(self, curl: Any, failure: TransferError | None) -> None:
        ended = self._running.get(curl)
        if ended is None or ended.done():
            return
        if failure:
            ended.set_exception(failure)
        else:
            ended.set_result(None)
