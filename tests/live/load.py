"""A steady load, as clients make it: counted, with every answer that was not the right one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

PROBED = "http://prometheus:9090/-/ready"
PATIENCE = 30.0
"""Seconds for one answer: that it comes late is measured, not counted as a failure."""


@dataclass
class Load:
    """Requests to an address of the application, ``rate`` a second, evenly, by several clients with connections kept.

    Every tenth one asks for a probe; the others read. A client that has to wait does not hold up the others.
    """

    base: str
    access: Callable[[], dict[str, str]]
    """The header that lets a request write, as it is at this moment."""
    rate: float = 20
    clients: int = 8
    session: Callable[[], requests.Session] = requests.Session
    sent: int = 0
    failures: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    slowest: float = 0
    seconds: float = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[Load]:
        """Send until the block ends; then every request that was sent has been answered or has failed."""
        begun = time.monotonic()
        threads = [threading.Thread(target=self._client, args=(number, begun)) for number in range(self.clients)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
            self.seconds = time.monotonic() - begun

    def _client(self, number: int, begun: float) -> None:
        turn = number
        with self.session() as session:
            while not self._stop.wait(max(begun + turn / self.rate - time.monotonic(), 0)):
                self._request(session, turn)
                turn += self.clients
                # Those that were missed while an answer was waited for are not caught up with.
                behind = int((time.monotonic() - begun) * self.rate) - turn
                turn += max(behind // self.clients, 0) * self.clients

    def _request(self, session: requests.Session, turn: int) -> None:
        begun = time.monotonic()
        try:
            if turn % 10 == 0:
                access = self.access()
                answer = session.post(f"{self.base}/api/probes", json={"url": PROBED}, headers=access, timeout=PATIENCE)
                problem = "" if answer.status_code == 202 else f"POST: {answer.status_code} {answer.text[:200]}"
            else:
                answer = session.get(f"{self.base}/api/probes/{self._some_probe()}", timeout=PATIENCE)
                problem = "" if answer.status_code in {200, 404} else f"GET: {answer.status_code} {answer.text[:200]}"
        except requests.RequestException as error:
            answer, problem = None, f"{type(error).__name__}: {error}"
        took = time.monotonic() - begun
        with self._lock:
            self.sent += 1
            self.slowest = max(self.slowest, took)
            if problem:
                self.failures.append(f"{time.strftime('%H:%M:%S')} after {took:.2f} s: {problem}")
            elif answer is not None and answer.status_code == 202:
                self.accepted.append(answer.json()["id"])

    def _some_probe(self) -> str:
        with self._lock:
            return self.accepted[-1] if self.accepted else "00000000-0000-0000-0000-000000000000"

    def unfinished(self, within: float) -> list[str]:
        """The accepted probes that are not finished, looked for until none is left or the seconds are over."""
        give_up = time.monotonic() + within
        left = list(self.accepted)
        with self.session() as session:
            while left and time.monotonic() < give_up:
                left = [each for each in left if not self._finished(session, each)]
        return left

    def _finished(self, session: requests.Session, probe: str) -> bool:
        answer = session.get(f"{self.base}/api/probes/{probe}", timeout=PATIENCE)
        return answer.status_code == 200 and answer.json()["status"] in {"succeeded", "failed"}

    def __str__(self) -> str:
        return (
            f"{self.sent} requests in {self.seconds:.0f} s, {len(self.failures)} failed, slowest {self.slowest:.2f} s; "
            f"{len(self.accepted)} probes accepted"
        )
