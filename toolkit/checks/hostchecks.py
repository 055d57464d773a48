"""Smoke checks from this host: over published ports and the proxy, or by requests from inside the stack."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

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

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

REQUEST_TIMEOUT = 5.0
LEAST_TIMEOUT = 1.0
"""Seconds that a request may take even at the deadline: the error is then that of the awaited condition."""
STEP_TIMEOUT = 15.0
"""Timeout in seconds of each step of a check, longer than a probe's own timeouts."""
PAUSE = 0.1

TARGET = "http://app:3000/api/health/live"
"""The URL of the end-to-end probe, inside the stack, so that no internet access is needed."""

RESULTS_TOPIC, SMOKE_TOPIC = "probe.results", "smoke"
QUEUED = frozenset({"queued", "running"})


@dataclass(frozen=True)
class Host:
    """The stack as seen from this host, until ``deadline`` (``time.monotonic``) or until ``stop`` is set."""

    project: Project
    services: Mapping[str, Mapping[str, Any]]
    states: Sequence[ServiceState]
    deadline: float
    stop: threading.Event
    stack: Stack
    front_proxy: Proxy | None = None

    @property
    def remaining_seconds(self) -> float:
        """Seconds until the deadline."""
        return max(self.deadline - time.monotonic(), 0.1)

    @property
    def proxied(self) -> bool:
        """Whether clients reach the application through the proxy only."""
        return not self.services["app"].get("ports")

    def running_proxy(self) -> Proxy:
        """The proxy.

        Raises:
            CheckError: it is not running.
        """
        if self.front_proxy is None:
            raise CheckError(f"{proxy.SERVICE} is not running, so its ports are not published")
        return self.front_proxy

    def address(self, service: str) -> str:
        """Published host and port of a service.

        Raises:
            CheckError: the service is not running, so nothing is published.
        """
        for state in self.states:
            if state.service == service and state.ports:
                return state.ports[0].address
        raise CheckError(f"{service} is not running, so its port is not published")

    def get(self, service: str, path: str, **options: Any) -> requests.Response:
        """GET from a published service, see `request`."""
        return self.request("GET", service, path, **options)

    def request(self, method: str, service: str, path: str, **options: Any) -> requests.Response:
        """Send an HTTP request to a published service, to the application through the stack's proxy where it has one.

        Proxies of the environment are ignored.

        Raises:
            CheckError: there is no response.
        """
        import requests

        through = self.running_proxy() if service == "app" and self.proxied else None
        address = through.url if through else self.address(service)
        seconds = min(REQUEST_TIMEOUT, max(self.remaining_seconds, LEAST_TIMEOUT))
        try:
            if through:
                # With a login in front of the proxy, reading needs the token as well.
                if path.startswith("/api/"):
                    options["headers"] = credentials.authorization(self.project) | dict(options.get("headers") or {})
                return through.request(method, path, timeout=seconds, **options)
            with requests.Session() as session:
                session.trust_env = False
                return session.request(method, f"http://{address}{path}", timeout=seconds, **options)
        except requests.exceptions.SSLError as error:
            raise CheckError(f"{address}: {error}") from error
        except requests.Timeout as error:
            raise CheckError(f"{address}{path} does not answer within {seconds:.0f} s") from error
        except requests.RequestException as error:
            raise CheckError(f"{address}{path}: connection refused or closed") from error


def require_status(response: requests.Response, status: int) -> requests.Response:
    """Return the response if it has this status.

    Raises:
        CheckError: it has another status.
    """
    if response.status_code != status:
        raise CheckError(status_problem(response, status))
    return response


def status_problem(response: requests.Response, status: int) -> str:
    """How the status of a response differs from the expected one, with the beginning of its body."""
    body = " ".join(response.text.split())[:200]
    return f"{response.request.path_url} answered {response.status_code} instead of {status}: {body}"


def proxy_check(host: Host) -> str:
    """Use the proxy as clients of all its protocols do."""
    return proxy.check(host.running_proxy(), min(REQUEST_TIMEOUT, host.remaining_seconds))


def health(host: Host) -> str:
    """Check every dependency that the application reports; behind the proxy, its public health endpoint.

    Repeated, since the application allows a dependency less than a second, and the other checks are load.
    """

    def look() -> tuple[str, list[str]]:
        response = host.get("app", proxy.HEALTH if host.proxied else "/api/health")
        if host.proxied:
            return f"ready, by {proxy.HEALTH}", [] if response.status_code == 200 else [status_problem(response, 200)]
        checks = response.json().get("checks", {}) if "json" in response.headers.get("Content-Type", "") else {}
        if problems := [f"{name}: {state}" for name, state in checks.items() if state != "ok"]:
            return "", problems
        require_status(response, 200)
        if not checks:
            raise CheckError("/api/health reports no dependencies")
        return f"{', '.join(checks)} reachable", []

    return until_solved(host, "every dependency", look)


def probe(host: Host) -> str:
    """Run one real probe end to end: queue, worker, database, event, cache, metric."""
    metered = (
        not host.proxied
        and str(host.services["app"].get("environment", {}).get("ENABLE_METRICS", "true")).lower() != "false"
    )
    with events(host) as event_of:
        before = published_jobs(host) if metered else 0
        access = credentials.authorization(host.project)
        posted = host.request("POST", "app", "/api/probes", json={"url": TARGET}, headers=access)
        accepted = require_status(posted, 202).json()
        path = f"/api/probes/{accepted['id']}"
        result = until(host, "the probe to finish", lambda: finished_probe(host, path))
        if result.get("http_status") != 200 or result.get("error"):
            raise CheckError(f"the probe of {TARGET} returned {result.get('error') or result.get('http_status')}")
        event = event_of(str(accepted["id"]))
        until(host, "the latest state in the cache", lambda: is_cached(host, accepted["target"], result["finished_at"]))
        if metered and published_jobs(host) <= before:
            raise CheckError("netmon_jobs_published_total in /api/metrics did not increase")
    return f"{TARGET} probed in {result['duration_ms']:.0f} ms, stored, {event}cached{', counted' if metered else ''}"


def finished_probe(host: Host, path: str) -> dict[str, Any] | None:
    """The probe, once finished."""
    body: dict[str, Any] = require_status(host.get("app", path), 200).json()
    return None if body["status"] in QUEUED else body


def is_cached(host: Host, target: str, since: str) -> bool:
    """Whether the latest state of the target is served from the cache and not older than ``since``."""
    response = host.get("app", f"/api/targets/{target}/latest")
    hit = response.status_code == 200 and response.headers.get("X-Cache") == "hit"
    return hit and datetime.fromisoformat(response.json()["finished_at"]) >= datetime.fromisoformat(since)


def published_jobs(host: Host) -> float:
    """The application's counter of published jobs."""
    text = require_status(host.get("app", "/api/metrics"), 200).text
    match = re.search(r"^netmon_jobs_published_total(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE)
    if not match:
        raise CheckError("/api/metrics has no netmon_jobs_published_total")
    return float(match[1])


def until(host: Host, what: str, poll: Callable[[], Any]) -> Any:
    """Poll until the result is truthy, and return it.

    Raises:
        CheckError: it took longer than STEP_TIMEOUT or the time left for all checks.
    """
    return polling.until(what, poll, min(STEP_TIMEOUT, host.remaining_seconds), PAUSE, host.stop)


def until_solved(host: Host, what: str, look: Callable[[], tuple[T, Sequence[str]]]) -> T:
    """`polling.until_solved` once a second, within STEP_TIMEOUT and the time left for all checks."""
    return polling.until_solved(what, look, min(STEP_TIMEOUT, host.remaining_seconds), 1, host.stop)


@contextmanager
def events(host: Host) -> Iterator[Callable[[str], str]]:
    """Consume the event of a probe from Kafka, if its port is published.

    Yields:
        A function that waits for the event of a probe id and returns its part of the result.
    """
    if not host.services["kafka"].get("ports"):
        yield lambda _identifier: ""
        return
    with consumer(host) as client:
        partitions = until(host, f"the topic {RESULTS_TOPIC}", lambda: client.partitions_for_topic(RESULTS_TOPIC))
        seek_to_end(client, RESULTS_TOPIC, partitions)

        def event_of(identifier: str) -> str:
            until(host, "the event on Kafka", lambda: any(identifier.encode() in value for value in received(client)))
            return "event received from Kafka, "

        yield event_of


def kafka(host: Host) -> str:
    """Produce a record over the published listener and consume the same record."""
    from kafka import KafkaProducer

    token = f"smoke-{uuid4().hex}".encode()
    with consumer(host) as client:
        create_topic(host)
        # A topic is acknowledged before it is served, and the check from inside may be creating it concurrently.
        until(host, f"the topic {SMOKE_TOPIC}", lambda: client.partitions_for_topic(SMOKE_TOPIC))
        seek_to_end(client, SMOKE_TOPIC, [0])
        producer = KafkaProducer(**connection(host), acks="all")
        try:
            sent = producer.send(SMOKE_TOPIC, token, partition=0).get(timeout=host.remaining_seconds)
        finally:
            producer.close(timeout=1)
        until(host, "the produced record", lambda: token in received(client))
    return f"record produced and consumed, offset {sent.offset}"


def create_topic(host: Host) -> None:
    """Create the topic for smoke checks: outside development the broker does not create topics automatically."""
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
    """A consumer without a group, closed at the end."""
    from kafka import KafkaConsumer

    client = KafkaConsumer(**connection(host), enable_auto_commit=False, fetch_max_wait_ms=100)
    try:
        yield client
    finally:
        client.close()


def connection(host: Host) -> dict[str, Any]:
    """The settings of a Kafka client, which raises errors without logging them as well."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    return {
        "bootstrap_servers": host.address("kafka"),
        "bootstrap_timeout_ms": int(min(REQUEST_TIMEOUT, host.remaining_seconds) * 1000),
    }


def seek_to_end(client: Any, topic: str, partitions: Iterator[int] | Sequence[int]) -> None:
    """Position a consumer at the end of a topic."""
    from kafka import TopicPartition

    assigned = [TopicPartition(topic, partition) for partition in partitions]
    client.assign(assigned)
    client.seek_to_end(*assigned)
    for partition in assigned:
        client.position(partition)  # resolves the end before anything is produced


def received(client: Any) -> list[bytes]:
    """The values of the received records."""
    return [record.value or b"" for records in client.poll(timeout_ms=200).values() for record in records]


def rabbitmq(host: Host) -> str:
    """Log in to the management API."""
    password = credentials.read(host.project)["RABBITMQ_MONITORING_PASSWORD"]
    body = require_status(host.get("rabbitmq", "/api/whoami", auth=("monitoring", password)), 200).json()
    return f"logged in as {body['name']}"


def alertmanager(host: Host) -> str:
    """Check that Alertmanager is ready."""
    require_status(host.get("alertmanager", "/-/ready"), 200)
    return f"ready at {host.address('alertmanager')}"


def targets_check(host: Host) -> str:
    """Wait until every running service is scraped and every target is up."""

    def look() -> tuple[list[Finding], list[str]]:
        found = [each for each in targets.check(host.stack) if each.outcome is not Outcome.SKIPPED]
        return found, [f"{each.subject}: {each.detail}" for each in found if each.outcome is Outcome.FAILED]

    return f"{len(until_solved(host, 'every target', look))} targets and services"


def signals_check(host: Host) -> str:
    """Find the metric, the trace and the log lines of one real request, as far as the stack stores them."""
    expected = list(correlation.signals(host.stack))
    trail = correlation.send(host.stack)
    correlation.follow(host.stack, trail, expected, min(correlation.TIMEOUT_SECONDS, host.remaining_seconds), host.stop)
    return "; ".join(trail.evidence[signal.name] for signal in expected)


@dataclass(frozen=True)
class HostCheck:
    """A check from this host: it needs ``services``, and with ``own_app`` this platform's own application.

    The first service must be reachable from this host, unless the check sends its requests from ``inside``.
    """

    name: str
    services: tuple[str, ...]
    run: Callable[[Host], str]
    own_app: bool = False
    inside: bool = False


CHECKS = (
    HostCheck("proxy", ("proxy",), proxy_check),
    HostCheck("probe", ("app", "worker", "kafka", "redis"), probe, own_app=True),
    HostCheck("health", ("app",), health),
    HostCheck("kafka", ("kafka",), kafka),
    HostCheck("rabbitmq", ("rabbitmq",), rabbitmq),
    HostCheck("alertmanager", ("alertmanager",), alertmanager),
    HostCheck("targets", ("prometheus", "worker"), targets_check, inside=True),
    HostCheck("signals", ("app", "worker", "prometheus", "otel-collector"), signals_check, own_app=True, inside=True),
)
