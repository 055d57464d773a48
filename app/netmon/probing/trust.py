"""Whom a connection with TLS trusts, and who it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from netmon.probing.secrets import SecretFolder
from netmon.trust import TrustSettings, certificates_of


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom a connection trusts, and who it is."""

    verify: bool = True
    authorities: str | None = None
    """In PEM; None: those of this host."""
    identity: str | None = None
    """A certificate and its key in PEM."""

    @classmethod
    def of(cls, settings: TrustSettings, secrets: SecretFolder) -> Self:
        """That of the settings, with the content of the secret that they refer to; without an identity.

        Raises:
            ProbeError: the secret is missing, empty, unreadable, or has no certificates.
        """
        given = settings.ca_certificate
        return cls(settings.verify_tls, None if given is None else secrets.text(given, certificates_of))
