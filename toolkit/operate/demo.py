"""Honest traffic: what the application's users do, failures among it, so that every dashboard has something to show."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from uuid import uuid4

from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.core import console
from toolkit.core.errors import ToolkitError
from toolkit.engine import http_agent, stack_http
from toolkit.engine.compose import Docker
from toolkit.engine.health import ServiceState, container_states
from toolkit.engine.stack_http import Request, Response

ALIVE = "http://app:3000/api/health/live"
TARGETS = (ALIVE, "http://worker:3000/api/health/live", "http://rabbitmq:15672/")
"""What is probed: services of the stack, so that nothing leaves this machine."""
# Prometheus reads all that it knows for the answer.
SLOW = "http://prometheus:9090/api/v1/query?query=count(count_over_time(%7B__name__!=%22%22%7D%5B10m%5D))"
REPORT = 10.0
"""Seconds between two lines about the progress, where there is no terminal."""

NO_ANSWER = "no answer"

Send = Callable[[Sequence[Request]], list[Response]]


@dataclass
class Summary:
    """What was sent: the number of requests by what they were for, and of answers by their status."""

    purposes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def sent(self) -> int:
        """The number of all requests."""
        return sum(self.purposes.values())

    def show(self) -> None:
        """Print it."""
        console.table(("requests", "for"), [(str(count), purpose) for purpose, count in self.purposes.most_common()])
        answers = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        console.say(f"{self.sent} requests in {self.seconds:.0f} s: {answers or NO_ANSWER}")


@dataclass
class Visitor:
    """Decides what is asked next, with ``access`` as the header of what is written.

    ``probe`` is the newest one that was accepted, ``target`` what it was of.
    """

    base: str
    targets: Sequence[str]
    access: Mapping[str, str]
    probe: str = ""
    target: str = ""

    def requests(self) -> Iterator[tuple[str, Request]]:
        """Without end: what a request is for, and the request. Some fail, as they do in any real traffic."""
        good = itertools.cycle(self.targets)
        bad = itertools.cycle(
            [
                ("a dead port", "http://app:1/"),
                ("a page that is not there", "http://app:3000/nothing"),
                ("a name that is not there", "http://nowhere.invalid/"),
            ]
        )
        wrong = itertools.cycle(
            [
                ("an unknown probe (404)", self._get(f"/api/probes/{uuid4()}")),
                ("an address that is none (422)", self._post("ftp://app/")),
                ("a target never seen (cache miss)", self._get("/api/targets/http:unknown.invalid:80/latest")),
            ]
        )

        def well() -> tuple[str, Request]:
            return "probes of what is well", self._post(next(good))

        def failing() -> tuple[str, Request]:
            what, address = next(bad)
            return f"probes of {what}", self._post(address)

        def latest() -> tuple[str, Request]:
            return "latest states (cache hit)", self._get(f"/api/targets/{self.target or 'http:app:3000'}/latest")

        def result() -> tuple[str, Request]:
            return "results of probes", self._get(f"/api/probes/{self.probe or uuid4()}")

        for next_one in itertools.cycle((well, latest, result, well, latest, failing, latest, result, latest)):
            yield next_one()
            if next_one is result:
                yield next(wrong)

    def learn(self, response: Response) -> None:
        """Remember the probe that was accepted, for the questions that follow."""
        if response.status == 202:
            accepted = response.json()
            self.probe, self.target = accepted["id"], accepted["target"]

    def _get(self, path: str) -> Request:
        return Request(f"{self.base}{path}")

    def _post(self, address: str) -> Request:
        return Request.post(f"{self.base}/api/probes", {"url": address}, headers=self.access)


def demo(project: Project, docker: Docker, seconds: float, rate: float) -> Summary:
    """Use the application for a while, over its published port or else from inside; Ctrl-C ends it before its time.

    Args:
        project: The checkout; its token is what the visitor writes with.
        docker: Docker in its folder.
        seconds: For how long.
        rate: Requests a second.

    Returns:
        What was sent.

    Raises:
        ToolkitError: the application does not run, or answers nothing at first, or the token cannot be used.
    """
    found = container_states(docker)
    running = {state.service for state in found if state.status == "running"}
    if "app" not in running:
        raise ToolkitError("there is nobody to visit", "app does not run", "run: invoke up")
    base, send = _way(docker, found)
    targets = (*TARGETS, SLOW) if "prometheus" in running else TARGETS
    visitor, summary, began = Visitor(base, targets, credentials.authorization(project)), Summary(), time.monotonic()
    visits = visitor.requests()
    with suppress(KeyboardInterrupt), progress(seconds) as show:
        while (elapsed := time.monotonic() - began) < seconds:
            due = int(rate * (elapsed + 1)) - summary.sent
            batch = list(itertools.islice(visits, max(due, 0)))
            for (purpose, _), answer in zip(batch, send([request for _, request in batch]), strict=True):
                summary.purposes[purpose] += 1
                summary.statuses[str(answer.status or NO_ANSWER)] += 1
                visitor.learn(answer)
            summary.seconds = time.monotonic() - began
            if summary.sent and set(summary.statuses) == {NO_ANSWER}:
                raise ToolkitError("app does not answer", answer.error, "invoke status shows its state")
            show(summary)
            time.sleep(max(0.0, min(began + elapsed + 1, began + seconds) - time.monotonic()))
    return summary


def _way(docker: Docker, found: Sequence[ServiceState]) -> tuple[str, Send]:
    """Where the application is reached, and how: over its port, or from inside where none is published."""
    ports = [port for state in found if state.service == "app" for port in state.ports if port.inside == 3000]
    if not ports:
        return "http://app:3000", lambda requests: stack_http.fetch(docker, requests)

    def send(requests: Sequence[Request]) -> list[Response]:
        with ThreadPoolExecutor(http_agent.AT_ONCE) as pool:
            answers = pool.map(http_agent.send, map(asdict, requests))
            return [Response(request.url, **answer) for request, answer in zip(requests, answers, strict=True)]

    return f"http://{ports[0].address}", send


@contextmanager
def progress(seconds: float) -> Iterator[Callable[[Summary], None]]:
    """Show how far it is: a bar on a terminal, elsewhere a line now and then."""
    if not console.console().is_terminal:
        told = 0.0

        def line(summary: Summary) -> None:
            nonlocal told
            if summary.seconds - told >= REPORT:
                told = summary.seconds
                console.say(f"  {summary.seconds:.0f} s: {summary.sent} requests")

        yield line
        return
    from rich.progress import Progress

    with Progress(console=console.console()) as bar:
        row = bar.add_task("visiting", total=seconds)
        yield lambda summary: bar.update(row, completed=summary.seconds, description=f"{summary.sent} requests")
