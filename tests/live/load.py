"""A steady load of several clients, with counts and every failed request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

PROBED = "http://prometheus:9090/-/ready"
TIMEOUT = 30.0
"""Seconds for one response: a slow one is measured, not counted as a failure."""


@dataclass
class Load:
    """Requests to the application at a constant rate a second, by several clients with persistent connections.

    Every tenth request creates a probe; the others read. A waiting client does not delay the others.
    """

    base: str
    authorization: Callable[[], dict[str, str]]
    """Returns the header of write requests, with the current token."""
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
        """Send requests until the block ends; by then each has a response or has failed."""
        started = time.monotonic()
        threads = [threading.Thread(target=self._client, args=(number, started)) for number in range(self.clients)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
            self.seconds = time.monotonic() - started

    def _client(self, number: int, started: float) -> None:
        turn = number
        with self.session() as session:
            while not self._stop.wait(max(started + turn / self.rate - time.monotonic(), 0)):
                self._request(session, turn)
                turn += self.clients
                # Turns that were missed during a slow response are skipped.
                behind = int((time.monotonic() - started) * self.rate) - turn
                turn += max(behind // self.clients, 0) * self.clients

    def _request(self, session: requests.Session, turn: int) -> None:
        started = time.monotonic()
        try:
            if turn % 10 == 0:
                url = f"{self.base}/api/probes"
                response = session.post(url, json={"url": PROBED}, headers=self.authorization(), timeout=TIMEOUT)
                problem = "" if response.status_code == 202 else f"POST: {error_of(response)}"
            else:
                response = session.get(f"{self.base}/api/probes/{self._some_probe()}", timeout=TIMEOUT)
                problem = "" if response.status_code in {200, 404} else f"GET: {error_of(response)}"
        except requests.RequestException as error:
            response, problem = None, f"{type(error).__name__}: {error}"
        duration = time.monotonic() - started
        with self._lock:
            self.sent += 1
            self.slowest = max(self.slowest, duration)
            if problem:
                self.failures.append(f"{time.strftime('%H:%M:%S')} after {duration:.2f} s: {problem}")
            elif response is not None and response.status_code == 202:
                self.accepted.append(response.json()["id"])

    def _some_probe(self) -> str:
        with self._lock:
            return self.accepted[-1] if self.accepted else "00000000-0000-0000-0000-000000000000"

    def unfinished(self, within: float) -> list[str]:
        """Wait for the accepted probes, for at most ``within`` seconds, and return those that are not finished."""
        deadline = time.monotonic() + within
        left = list(self.accepted)
        with self.session() as session:
            while left and time.monotonic() < deadline:
                left = [each for each in left if not self._finished(session, each)]
        return left

    def _finished(self, session: requests.Session, probe: str) -> bool:
        response = session.get(f"{self.base}/api/probes/{probe}", timeout=TIMEOUT)
        return response.status_code == 200 and response.json()["status"] in {"succeeded", "failed"}

    def __str__(self) -> str:
        return (
            f"{self.sent} requests in {self.seconds:.0f} s, {len(self.failures)} failed, slowest {self.slowest:.2f} s; "
            f"{len(self.accepted)} probes accepted"
        )


def error_of(response: requests.Response) -> str:
    """Status and beginning of an unexpected response."""
    return f"{response.status_code} {response.text[:200]}"
