"""A TLS handshake."""

import ssl
from collections.abc import Mapping

from netmon.probing import certificates
from netmon.probing.attempt import Attempt
from netmon.probing.connections import connect
from netmon.probing.resolver import Resolver
from netmon.probing.tls_sessions import TlsSessions
from netmon.probing.trust import Trust
from netmon.specs import TlsSpec

_VERSIONS: Mapping[str, ssl.TLSVersion] = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


async def probe(spec: TlsSpec, attempt: Attempt, resolver: Resolver, sessions: TlsSessions, trust: Trust) -> None:
    """Connect, agree on TLS, and check the certificates.

    Raises:
        FAILURES: see `netmon.probing.errors`.
    """
    connection = await connect(spec.host, spec.port, resolver, attempt)
    name = spec.server_name or spec.host
    async with sessions.open(connection, name, attempt, trust, _VERSIONS[spec.minimum_version]) as stream:
        found = certificates.of_session(name, stream.session)
    certificates.judge(found, spec, attempt)
