"""The smoke checks that this host does: over what the profile publishes, the proxy too, or by requests from inside."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import requests

from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checks import proxy
from toolkit.checks.proxy import Proxy
from toolkit.core import polling
from toolkit.core.polling import CheckError
from toolkit.core.report import Finding, Outcome
from toolkit.engine.health import ServiceState
from toolkit.observe import correlation, targets
from toolkit.observe.stack import Stack

REQUEST_TIMEOUT = 5.0
STEP_TIMEOUT = 15.0
"""For each thing that a check waits for; a probe's own time-outs end before it."""
PAUSE = 0.1

TARGET = "http://app:3000/api/health/live"
"""What the end-to-end probe looks at: inside the stack, so that it needs no internet."""

RESULTS_TOPIC, SMOKE_TOPIC = "probe.results", "smoke"
QUEUED = frozenset({"queued", "running"})


@dataclass(frozen=True)
class Host:
    """The stack as seen from this host, until ``deadline`` (a time of ``time.monotonic``), or until ``stop`` is set."""

    project: Project
    services: Mapping[str, Mapping[str, Any]]
    states: Sequence[ServiceState]
    deadline: float
    stop: threading.Event
    stack: Stack
    front: Proxy | None = None

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return max(self.deadline - time.monotonic(), 0.1)

    @property
    def proxied(self) -> bool:
        """Whether clients reach the application through the proxy only."""
        return not self.services["app"].get("ports")

    def running_front(self) -> Proxy:
        """The proxy.

        Raises:
            CheckError: it does not run.
        """
        if self.front is None:
            raise CheckError(f"{proxy.SERVICE} is not running, so that its ports are not published")
        return self.front

    def address(self, service: str) -> str:
        """Host and port at which a service is published.

        Raises:
            CheckError: it publishes nothing now, because it does not run.
        """
        for state in self.states:
            if state.service == service and state.ports:
                return state.ports[0].address
        raise CheckError(f"{service} is not running, so that its port is not published")

    def get(self, service: str, path: str, **options: Any) -> requests.Response:
        """GET from a published service, see `request`."""
        return self.request("GET", service, path, **options)

    def request(self, method: str, service: str, path: str, **options: Any) -> requests.Response:
        """An HTTP request to a published service, to the application perhaps through the stack's own proxy.

        No proxy of the environment comes between.

        Raises:
            CheckError: there is no answer.
        """
        through = self.running_front() if service == "app" and self.proxied else None
        address = through.url if through else self.address(service)
        seconds = min(REQUEST_TIMEOUT, self.left)
        try:
            if through:
                return through.request(method, path, timeout=seconds, **options)
            with requests.Session() as session:
                session.trust_env = False
                return session.request(method, f"http://{address}{path}", timeout=seconds, **options)
        except requests.exceptions.SSLError as error:
            raise CheckError(f"{address}: {error}") from error
        except requests.Timeout as error:
            raise CheckError(f"{address}{path} does not answer within {seconds:.0f} s") from error
        except requests.RequestException as error:
            raise CheckError(f"{address}{path}: connection refused or cut off") from error


def expect(response: requests.Response, status: int) -> requests.Response:
    """The response, if it has this status.

    Raises:
        CheckError: it has another one.
    """
    if response.status_code != status:
        said = " ".join(response.text.split())[:200]
        raise CheckError(f"{response.request.path_url} answered {response.status_code} instead of {status}: {said}")
    return response


def edge(host: Host) -> str:
    """The proxy, as the clients of all its protocols use it."""
    return proxy.check(host.running_front(), min(REQUEST_TIMEOUT, host.left))


def health(host: Host) -> str:
    """Every dependency as the application sees it; where its proxy hides that, what the proxy says for it."""
    if host.proxied:
        expect(host.get("app", proxy.HEALTH), 200)
        return f"ready, as {proxy.HEALTH} tells load balancers"
    response = host.get("app", "/api/health")
    checks = response.json().get("checks", {}) if "json" in response.headers.get("Content-Type", "") else {}
    if bad := [f"{name}: {state}" for name, state in checks.items() if state != "ok"]:
        raise CheckError(", ".join(bad))
    expect(response, 200)
    if not checks:
        raise CheckError("/api/health names no dependency")
    return f"{', '.join(checks)} reachable"


def probe(host: Host) -> str:
    """One real probe along the whole way: queue, worker, database, event, cache, metric."""
    metered = (
        not host.proxied
        and str(host.services["app"].get("environment", {}).get("ENABLE_METRICS", "true")).lower() != "false"
    )
    with events(host) as event_of:
        before = published_jobs(host) if metered else 0
        access = credentials.authorization(host.project)
        posted = host.request("POST", "app", "/api/probes", json={"url": TARGET}, headers=access)
        accepted = expect(posted, 202).json()
        path = f"/api/probes/{accepted['id']}"
        result = until(host, "the probe to finish", lambda: finished(host, path))
        if result.get("http_status") != 200 or result.get("error"):
            raise CheckError(f"{TARGET} was probed with the result {result.get('error') or result.get('http_status')}")
        event = event_of(str(accepted["id"]))
        until(host, "the latest state in the cache", lambda: cached(host, accepted["target"], result["finished_at"]))
        if metered and published_jobs(host) <= before:
            raise CheckError("netmon_jobs_published_total in /api/metrics did not grow")
    return f"{TARGET} probed in {result['duration_ms']:.0f} ms, stored, {event}cached{', counted' if metered else ''}"


def finished(host: Host, path: str) -> dict[str, Any] | None:
    """The probe, once it is finished."""
    body: dict[str, Any] = expect(host.get("app", path), 200).json()
    return None if body["status"] in QUEUED else body


def cached(host: Host, target: str, since: str) -> bool:
    """Whether the latest state of the target comes from the cache and was found no earlier than ``since``."""
    response = host.get("app", f"/api/targets/{target}/latest")
    hit = response.status_code == 200 and response.headers.get("X-Cache") == "hit"
    return hit and datetime.fromisoformat(response.json()["finished_at"]) >= datetime.fromisoformat(since)


def published_jobs(host: Host) -> float:
    """The application's own count of the jobs that it has put into the queue."""
    text = expect(host.get("app", "/api/metrics"), 200).text
    match = re.search(r"^netmon_jobs_published_total(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE)
    if not match:
        raise CheckError("/api/metrics has no netmon_jobs_published_total")
    return float(match[1])


def until(host: Host, what: str, look: Callable[[], Any]) -> Any:
    """What ``look`` finds, asked again until it finds something.

    Raises:
        CheckError: it took longer than STEP_TIMEOUT, or than the checks may take together.
    """
    return polling.until(what, look, min(STEP_TIMEOUT, host.left), PAUSE, host.stop)


@contextmanager
def events(host: Host) -> Iterator[Callable[[str], str]]:
    """Listen on Kafka for the event of a probe, where its port is published.

    Yields:
        A function that waits for the event of a probe's id and says so.
    """
    if not host.services["kafka"].get("ports"):
        yield lambda _identifier: ""
        return
    with consumer(host) as client:
        partitions = until(host, f"the topic {RESULTS_TOPIC}", lambda: client.partitions_for_topic(RESULTS_TOPIC))
        from_the_end(client, RESULTS_TOPIC, partitions)

        def event_of(identifier: str) -> str:
            until(host, "the event on Kafka", lambda: any(identifier.encode() in value for value in values(client)))
            return "its event seen on Kafka, "

        yield event_of


def kafka(host: Host) -> str:
    """Produce a record over the published listener and consume that very record."""
    from kafka import KafkaProducer

    token = f"smoke-{uuid4().hex}".encode()
    with consumer(host) as client:
        create_topic(host)
        # A topic is acknowledged before it is served, and the check from inside may be creating it at this moment.
        until(host, f"the topic {SMOKE_TOPIC}", lambda: client.partitions_for_topic(SMOKE_TOPIC))
        from_the_end(client, SMOKE_TOPIC, [0])
        producer = KafkaProducer(**connection(host), acks="all")
        try:
            sent = producer.send(SMOKE_TOPIC, token, partition=0).get(timeout=host.left)
        finally:
            producer.close(timeout=1)
        until(host, "the record that was produced", lambda: token in values(client))
    return f"record produced and consumed, offset {sent.offset}"


def create_topic(host: Host) -> None:
    """Make the topic for smoke checks; elsewhere than in development the broker makes none by itself."""
    from kafka.admin import KafkaAdminClient, NewTopic
    from kafka.errors import TopicAlreadyExistsError

    admin = KafkaAdminClient(**connection(host))
    try:
        admin.create_topics([NewTopic(SMOKE_TOPIC, 1, 1, topic_configs={"retention.ms": "3600000"})])
    except TopicAlreadyExistsError:
        pass
    finally:
        admin.close()


@contextmanager
def consumer(host: Host) -> Iterator[Any]:
    """A consumer outside of any group, closed at the end."""
    from kafka import KafkaConsumer

    client = KafkaConsumer(**connection(host), enable_auto_commit=False, fetch_max_wait_ms=100)
    try:
        yield client
    finally:
        client.close()


def connection(host: Host) -> dict[str, Any]:
    """The settings of a Kafka client; it reports errors by raising them, and does not log them as well."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    return {
        "bootstrap_servers": host.address("kafka"),
        "bootstrap_timeout_ms": int(min(REQUEST_TIMEOUT, host.left) * 1000),
    }


def from_the_end(client: Any, topic: str, partitions: Iterator[int] | Sequence[int]) -> None:
    """Let a consumer read what comes from now on."""
    from kafka import TopicPartition

    assigned = [TopicPartition(topic, partition) for partition in partitions]
    client.assign(assigned)
    client.seek_to_end(*assigned)
    for partition in assigned:
        client.position(partition)  # settles where the end is before anything is produced


def values(client: Any) -> list[bytes]:
    """The values of the records that have come in."""
    return [record.value or b"" for records in client.poll(timeout_ms=200).values() for record in records]


def rabbitmq(host: Host) -> str:
    """Log in to the management API."""
    password = credentials.read(host.project)["RABBITMQ_MONITORING_PASSWORD"]
    body = expect(host.get("rabbitmq", "/api/whoami", auth=("monitoring", password)), 200).json()
    return f"logged in as {body['name']}"


def alertmanager(host: Host) -> str:
    """Ready to take alerts."""
    expect(host.get("alertmanager", "/-/ready"), 200)
    return f"ready at {host.address('alertmanager')}"


def scraped(host: Host) -> str:
    """Every running service is scraped, and every target is up; the first scrapes are waited for."""
    missing: list[str] = []

    def look() -> list[Finding]:
        found = [each for each in targets.check(host.stack) if each.outcome is not Outcome.SKIPPED]
        missing[:] = [f"{each.subject}: {each.detail}" for each in found if each.outcome is Outcome.FAILED]
        return [] if missing else found

    try:
        found: list[Finding] = polling.until("every target", look, min(STEP_TIMEOUT, host.left), 1, host.stop)
    except CheckError as error:
        raise CheckError(f"{error}: {'; '.join(missing)}") from error
    return f"{len(found)} targets and services"


def signals(host: Host) -> str:
    """The metric, the trace and the log lines of one real request are found again, where something stores them."""
    wanted = list(correlation.signals(host.stack))
    trail = correlation.send(host.stack)
    correlation.follow(host.stack, trail, wanted, min(correlation.SECONDS, host.left), host.stop)
    return "; ".join(trail.seen[signal.name] for signal in wanted)


@dataclass(frozen=True)
class HostCheck:
    """A check by this host: it needs ``services``, and perhaps our own application.

    The first of the services must be reached from outside, unless the check sends its requests from ``inside``.
    """

    name: str
    services: tuple[str, ...]
    run: Callable[[Host], str]
    ours: bool = False
    inside: bool = False


CHECKS = (
    HostCheck("proxy", ("proxy",), edge),
    HostCheck("probe", ("app", "worker", "kafka", "redis"), probe, ours=True),
    HostCheck("health", ("app",), health),
    HostCheck("kafka", ("kafka",), kafka),
    HostCheck("rabbitmq", ("rabbitmq",), rabbitmq),
    HostCheck("alertmanager", ("alertmanager",), alertmanager),
    HostCheck("targets", ("prometheus", "worker"), scraped, inside=True),
    HostCheck("signals", ("app", "worker", "prometheus", "otel-collector"), signals, ours=True, inside=True),
)
