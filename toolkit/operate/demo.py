"""Sample traffic: the requests of the application's users, failures included, so that every dashboard has data."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from uuid import uuid4

from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.core import console
from toolkit.core.errors import ToolkitError
from toolkit.engine.application import route
from toolkit.engine.compose import Docker
from toolkit.engine.health import container_states
from toolkit.engine.stack_http import Request, Response

LIVENESS = "http://app:3000/api/health/live"
TARGETS = (LIVENESS, "http://worker:3000/api/health/live", "http://rabbitmq:15672/")
"""The probed services, all of the stack, so that no traffic leaves this machine."""
# A query over every series of Prometheus.
SLOW = "http://prometheus:9090/api/v1/query?query=count(count_over_time(%7B__name__!=%22%22%7D%5B10m%5D))"
REPORT_SECONDS = 10.0
"""Seconds between two lines of progress without a terminal."""

NO_ANSWER = "no answer"


@dataclass
class Summary:
    """The sent traffic: requests by purpose, and responses by status."""

    purposes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def sent(self) -> int:
        """The number of requests."""
        return sum(self.purposes.values())

    def show(self) -> None:
        """Print the requests by purpose and the responses by status."""
        console.table(("requests", "for"), [(str(count), purpose) for purpose, count in self.purposes.most_common()])
        answers = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        console.say(f"{self.sent} requests in {self.seconds:.0f} s: {answers or NO_ANSWER}")


@dataclass
class TrafficGenerator:
    """Generates requests, with ``access`` as the headers of those that write.

    ``probe`` is the id of the last accepted probe, ``target`` its target.
    """

    base: str
    targets: Sequence[str]
    access: Mapping[str, str]
    probe: str = ""
    target: str = ""

    def requests(self) -> Iterator[tuple[str, Request]]:
        """An endless stream of purposes and requests, some of which fail, as in real traffic."""
        good = itertools.cycle(self.targets)
        bad = itertools.cycle(
            [
                ("a closed port", "http://app:1/"),
                ("an unknown page", "http://app:3000/nothing"),
                ("an unknown host", "http://nowhere.invalid/"),
            ]
        )
        wrong = itertools.cycle(
            [
                ("an unknown probe (404)", self._get(f"/api/probes/{uuid4()}")),
                ("an invalid URL (422)", self._post("ftp://app/")),
                ("an unknown target (cache miss)", self._get("/api/targets/http:unknown.invalid:80/latest")),
            ]
        )

        def healthy() -> tuple[str, Request]:
            return "probes of healthy services", self._post(next(good))

        def failing() -> tuple[str, Request]:
            target, address = next(bad)
            return f"probes of {target}", self._post(address)

        def latest() -> tuple[str, Request]:
            return "latest states (cache hit)", self._get(f"/api/targets/{self.target or 'http:app:3000'}/latest")

        def result() -> tuple[str, Request]:
            return "results of probes", self._get(f"/api/probes/{self.probe or uuid4()}")

        for next_one in itertools.cycle((healthy, latest, result, healthy, latest, failing, latest, result, latest)):
            yield next_one()
            if next_one is result:
                yield next(wrong)

    def record(self, response: Response) -> None:
        """Keep the accepted probe for later requests."""
        if response.status == 202:
            accepted = response.json()
            self.probe, self.target = accepted["id"], accepted["target"]

    def _get(self, path: str) -> Request:
        return Request(f"{self.base}{path}")

    def _post(self, address: str) -> Request:
        return Request.post(f"{self.base}/api/probes", {"url": address}, headers=self.access)


def demo(project: Project, docker: Docker, seconds: float, rate: float) -> Summary:
    """Send requests to the application over its published port, or else from inside the stack, until Ctrl-C at most.

    Args:
        project: The checkout; its API token authorizes the probes.
        docker: Docker in its folder.
        seconds: The duration.
        rate: Requests a second.

    Returns:
        The sent traffic.

    Raises:
        ToolkitError: the application is not running or does not answer, or the token is unusable.
    """
    found = container_states(docker)
    running = {state.service for state in found if state.status == "running"}
    if "app" not in running:
        raise ToolkitError("no application to send traffic to", "app is not running", "run: invoke up")
    base, send = route(docker, found)
    targets = (*TARGETS, SLOW) if "prometheus" in running else TARGETS
    generator = TrafficGenerator(base, targets, credentials.authorization(project))
    summary, began = Summary(), time.monotonic()
    pending = generator.requests()
    with suppress(KeyboardInterrupt), progress(seconds) as show:
        while (elapsed := time.monotonic() - began) < seconds:
            due = int(rate * (elapsed + 1)) - summary.sent
            batch = list(itertools.islice(pending, max(due, 0)))
            for (purpose, _), answer in zip(batch, send([request for _, request in batch]), strict=True):
                summary.purposes[purpose] += 1
                summary.statuses[str(answer.status or NO_ANSWER)] += 1
                generator.record(answer)
            summary.seconds = time.monotonic() - began
            if summary.sent and set(summary.statuses) == {NO_ANSWER}:
                raise ToolkitError("app does not answer", answer.error, "invoke status shows its state")
            show(summary)
            time.sleep(max(0.0, min(began + elapsed + 1, began + seconds) - time.monotonic()))
    return summary


@contextmanager
def progress(seconds: float) -> Iterator[Callable[[Summary], None]]:
    """Show the progress: a bar on a terminal, else a line every `REPORT_SECONDS`."""
    if not console.console().is_terminal:
        reported = 0.0

        def line(summary: Summary) -> None:
            nonlocal reported
            if summary.seconds - reported >= REPORT_SECONDS:
                reported = summary.seconds
                console.say(f"  {summary.seconds:.0f} s: {summary.sent} requests")

        yield line
        return
    from rich.progress import Progress

    with Progress(console=console.console()) as bar:
        row = bar.add_task("sending", total=seconds)
        yield lambda summary: bar.update(row, completed=summary.seconds, description=f"{summary.sent} requests")
