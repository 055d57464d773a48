"""The registry of the kinds of probes: `KINDS` has everything that a kind consists of.

To add a kind:

1. its spec in `netmon.specs`, named in `Kind` and `Spec` there;
2. its prober in `netmon.probing`, unless its targets report themselves;
3. `netmon/page/templates/kinds/NAME.html` with its form fields and facts, and its line in `page.css`;
4. its entry in `KINDS`.

`tests/unit/app/test_app_kinds.py` fails until each of them is there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from netmon.specs import BaseSpec, DnsSpec, HeartbeatSpec, HttpSpec, Kind, PingSpec, TcpSpec

# The API reads this registry too, and does without the libraries that probing needs.
if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from netmon.guard import Guard
    from netmon.probing.attempt import Attempt
    from netmon.probing.resolver import Resolver
    from netmon.probing.secrets import SecretFolder

S = TypeVar("S", bound=BaseSpec)

ProbeFunction = Callable[[S, "Attempt"], Awaitable[None]]
"""Probes once and writes what it finds into the attempt; raises one of `netmon.probing.errors.FAILURES`."""


@dataclass(frozen=True, slots=True)
class ProbeTools:
    """What the probers of all kinds share."""

    guard: Guard
    resolver: Resolver
    secrets: SecretFolder
    version: str
    """The release, for user agents."""
    exit_stack: AsyncExitStack
    """Closes at the end what a prober has opened."""


@dataclass(frozen=True, slots=True)
class ProbeKind(Generic[S]):
    """A kind of probe: no part has a default, so that none can be forgotten."""

    label: str
    """Its name on the status page."""
    target: str
    """The thing that is probed, as the form calls it."""
    spec: type[S]
    blank: S
    """The values of an empty form."""
    prober: Callable[[ProbeTools], ProbeFunction[S]] | None
    """Makes the function that probes targets of this kind; imports its libraries when it is called. None if targets of
    this kind are not probed, but report themselves."""
    examples: Mapping[str, dict[str, Any]]
    """OpenAPI examples of new targets, by name."""


def _http(tools: ProbeTools) -> ProbeFunction[HttpSpec]:
    from netmon.probing.http import HttpProber

    prober = HttpProber(tools.resolver, tools.secrets, tools.version)
    tools.exit_stack.push_async_callback(prober.close)
    return prober.probe


def _tcp(tools: ProbeTools) -> ProbeFunction[TcpSpec]:
    from netmon.probing import tcp

    return lambda spec, _attempt: tcp.probe(spec, tools.resolver)


def _dns(tools: ProbeTools) -> ProbeFunction[DnsSpec]:
    from netmon.probing.dns import DnsProber

    prober = DnsProber(tools.guard)
    return lambda spec, attempt: prober.probe(spec, attempt.timeout_seconds)


def _ping(tools: ProbeTools) -> ProbeFunction[PingSpec]:
    from netmon.probing import ping

    return lambda spec, _attempt: ping.probe(spec, tools.resolver)


KINDS: Mapping[Kind, ProbeKind[Any]] = {
    "http": ProbeKind(
        label="HTTP",
        target="a website or an API",
        spec=HttpSpec,
        blank=HttpSpec.model_construct(url=""),
        prober=_http,
        examples={
            "site": {
                "summary": "A web page, every minute",
                "value": {"name": "Example", "spec": {"kind": "http", "url": "https://example.org/"}},
            },
            "api": {
                "summary": "An API that must report itself healthy within half a second",
                "value": {
                    "name": "Orders",
                    "spec": {
                        "kind": "http",
                        "url": "https://orders.example.org/health",
                        "headers": {"Authorization": "Bearer a-token"},
                        "expected_status": [200],
                        "body_contains": '"healthy"',
                    },
                    "interval_seconds": 15,
                    "slow_ms": 500,
                    "failures": 3,
                    "window": 5,
                },
            },
        },
    ),
    "tcp": ProbeKind(
        label="TCP",
        target="a port",
        spec=TcpSpec,
        blank=TcpSpec.model_construct(host="", port=""),
        prober=_tcp,
        examples={
            "port": {
                "summary": "A port",
                "value": {"name": "Mail", "spec": {"kind": "tcp", "host": "example.org", "port": 25}},
            }
        },
    ),
    "dns": ProbeKind(
        label="DNS",
        target="a record",
        spec=DnsSpec,
        blank=DnsSpec.model_construct(name=""),
        prober=_dns,
        examples={
            "name": {
                "summary": "A DNS record",
                "value": {
                    "name": "MX",
                    "spec": {"kind": "dns", "name": "example.org", "record": "MX"},
                    "interval_seconds": 3600,
                },
            }
        },
    ),
    "ping": ProbeKind(
        label="Ping",
        target="a host",
        spec=PingSpec,
        blank=PingSpec.model_construct(host=""),
        prober=_ping,
        examples={
            "host": {"summary": "A host", "value": {"name": "Router", "spec": {"kind": "ping", "host": "192.0.2.1"}}}
        },
    ),
    "heartbeat": ProbeKind(
        label="Heartbeat",
        target="a job that reports",
        spec=HeartbeatSpec,
        blank=HeartbeatSpec(),
        prober=None,
        examples={
            "job": {
                "summary": "A job that runs every day, and is down as soon as one heartbeat is missing",
                "value": {
                    "name": "Backup",
                    "spec": {"kind": "heartbeat", "grace_seconds": 1800},
                    "interval_seconds": 86_400,
                    "failures": 1,
                    "window": 1,
                },
            }
        },
    ),
}
