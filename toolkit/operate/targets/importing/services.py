"""Endpoints of Gatus that are no websites: TCP, TLS, STARTTLS and gRPC."""

from __future__ import annotations

import re
from collections.abc import Mapping

from toolkit.operate.targets.importing import checks, imported
from toolkit.operate.targets.importing.imported import Spec

SCHEMES = "http, https, tcp, tls, starttls, grpc, grpcs, icmp"
"""The schemes of endpoints that are imported."""
_SERVICES: Mapping[str, Spec] = {
    "tcp": {"kind": "tcp"},
    "tls": {"kind": "tls"},
    "starttls": {"kind": "tcp", "starttls": "smtp"},
    "grpc": {"kind": "grpc", "tls": False},
    "grpcs": {"kind": "grpc", "tls": True},
}
_TALKING = ("tcp", "tls")
"""Schemes with which the body is sent on the connection."""


def spec(scheme: str, url: str, body: str) -> Spec:
    """The spec of an endpoint; the body is sent on the connection.

    Raises:
        NotCarriedOverError: the URL has no host and port.
    """
    found = _SERVICES[scheme] | imported.endpoint(url)
    if body and scheme == "tls":
        found |= {"kind": "tcp", "tls": True}
    if body and scheme in _TALKING:
        found["send"] = imported.escaped(body)
    return found


def expected(spec: Spec, operator: str, value: str, pattern: re.Match[str] | None) -> str | None:
    """Import the expected response of a connection, if something is sent: otherwise Gatus reads nothing."""
    if "send" not in spec or operator != "==" or {"expect", "expect_matches"} & spec.keys():
        return None
    contained = re.fullmatch(r"\*([^*?\[\]\\]+)\*", pattern.group(1)) if pattern else None
    if contained:
        spec["expect"] = imported.escaped(contained.group(1))
        return ""
    expression = checks.glob(pattern.group(1)) if pattern else checks.whole(value)
    if expression is None:
        return None
    spec["expect_matches"] = expression
    return ""
