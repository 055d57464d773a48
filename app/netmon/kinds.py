"""The registry of the kinds of probes: `KINDS` has everything that a kind consists of.

To add a kind:

1. its spec in `netmon.specs`, named in `Kind` and `Spec` there;
2. its prober in `netmon.probing`, unless its targets report themselves;
3. `netmon/page/templates/kinds/NAME.html` with its form fields and facts, and its line in `page.css`;
4. its entry in `_ENTRIES`, and its line in the type of it.

Type checking and `tests/unit/app/test_app_kinds.py` fail until each of them is there; a spec without an endpoint, which
the guard checks, cannot be registered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, get_args

from netmon.specs import BaseSpec, DnsSpec, GrpcSpec, HeartbeatSpec, HttpSpec, Kind, PingSpec, TcpSpec, TlsSpec

# The API reads this registry too, and does without the libraries that probing needs.
if TYPE_CHECKING:
    from netmon.guard import Guard
    from netmon.probing.attempt import Attempt
    from netmon.probing.client import Clients
    from netmon.probing.resolver import Resolver
    from netmon.probing.secrets import SecretFolder
    from netmon.probing.system_names import SystemNames
    from netmon.probing.tls_sessions import TlsSessions

S = TypeVar("S", bound=BaseSpec)

ProbeFunction = Callable[[S, "Attempt"], Awaitable[None]]
"""Probes once and writes its findings into the attempt; raises one of `netmon.probing.errors.FAILURES`."""


@dataclass(frozen=True, slots=True)
class ProbeTools:
    """The dependencies that the probers of all kinds share."""

    guard: Guard
    names: SystemNames
    resolver: Resolver
    tls: TlsSessions
    clients: Clients
    secrets: SecretFolder


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

    return HttpProber(tools.clients, tools.guard, tools.resolver, tools.secrets).probe


def _tcp(tools: ProbeTools) -> ProbeFunction[TcpSpec]:
    from netmon.probing import tcp
    from netmon.probing.trust import Trust

    return lambda spec, attempt: tcp.probe(spec, attempt, tools.resolver, tools.tls, Trust.of(spec, tools.secrets))


def _tls(tools: ProbeTools) -> ProbeFunction[TlsSpec]:
    from netmon.probing import tls
    from netmon.probing.trust import Trust

    return lambda spec, attempt: tls.probe(spec, attempt, tools.resolver, tools.tls, Trust.of(spec, tools.secrets))


def _grpc(tools: ProbeTools) -> ProbeFunction[GrpcSpec]:
    from netmon.probing.grpc import GrpcProber

    return GrpcProber(tools.clients, tools.resolver, tools.secrets).probe


def _dns(tools: ProbeTools) -> ProbeFunction[DnsSpec]:
    from netmon.probing.dns import DnsProber

    prober = DnsProber(tools.guard, tools.names)
    return lambda spec, _attempt: prober.probe(spec)


def _ping(tools: ProbeTools) -> ProbeFunction[PingSpec]:
    from netmon.probing import ping

    return lambda spec, attempt: ping.probe(spec, attempt, tools.resolver)


class _Entries(TypedDict):
    """The registry for the type checker, which reports a kind without an entry."""

    http: ProbeKind[HttpSpec]
    tcp: ProbeKind[TcpSpec]
    tls: ProbeKind[TlsSpec]
    grpc: ProbeKind[GrpcSpec]
    dns: ProbeKind[DnsSpec]
    ping: ProbeKind[PingSpec]
    heartbeat: ProbeKind[HeartbeatSpec]


_ENTRIES: _Entries = {
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
                        "bearer_token": "a-token",
                        "expected_status": ["2xx"],
                        "expected_json": ['$.status == "healthy"', "$.queue.length < 100"],
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
            },
            "starttls": {
                "summary": "A mail server that must support STARTTLS with a valid certificate",
                "value": {
                    "name": "Mail with STARTTLS",
                    "spec": {"kind": "tcp", "host": "mail.example.org", "port": 587, "starttls": "smtp"},
                },
            },
            "dialogue": {
                "summary": "A server that must answer",
                "value": {
                    "name": "Cache",
                    "spec": {
                        "kind": "tcp",
                        "host": "cache.example.org",
                        "port": 6379,
                        "send": r"PING\r\n",
                        "expect": "+PONG",
                    },
                },
            },
        },
    ),
    "tls": ProbeKind(
        label="TLS",
        target="a certificate",
        spec=TlsSpec,
        blank=TlsSpec.model_construct(host=""),
        prober=_tls,
        examples={
            "certificate": {
                "summary": "A certificate, every hour: a warning in its last 21 days, a failure in its last 3",
                "value": {
                    "name": "Certificate",
                    "spec": {
                        "kind": "tls",
                        "host": "example.org",
                        "certificate_days": 21,
                        "certificate_fail_days": 3,
                    },
                    "interval_seconds": 3600,
                },
            }
        },
    ),
    "grpc": ProbeKind(
        label="gRPC",
        target="a service's health",
        spec=GrpcSpec,
        blank=GrpcSpec.model_construct(host="", port=""),
        prober=_grpc,
        examples={
            "health": {
                "summary": "The health of a gRPC service",
                "value": {
                    "name": "Orders (gRPC)",
                    "spec": {"kind": "grpc", "host": "orders.example.org", "port": 443, "service": "shop.v1.Orders"},
                },
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


def kind_of(name: Kind) -> ProbeKind[Any]:
    """The entry of a kind."""
    return _ENTRIES[name]


KINDS: Mapping[Kind, ProbeKind[Any]] = {name: kind_of(name) for name in get_args(Kind)}
