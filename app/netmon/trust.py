"""Certificates and keys in PEM, and whom a probe trusts, as settings of targets."""

import re
import ssl
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from netmon.secret_values import MASK, secret_name, valid_reference
from netmon.spec_parts import BaseSpec, Conflict, not_set

MAX_PEM = 16 * 1024
"""Characters of a PEM text."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", re.ASCII)
_KEY = re.compile(r"-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----[A-Za-z0-9+/=\s]+-----END \1-----", re.ASCII)


def certificates_of(text: str) -> str:
    """The text, if it has certificates in PEM.

    Raises:
        ValueError: it has not, or they cannot be read.
    """
    if not _are_certificates("\n".join(_CERTIFICATE.findall(text))):
        raise ValueError("must be certificates in PEM: -----BEGIN CERTIFICATE----- …")
    return text


@lru_cache(256)
def _are_certificates(text: str) -> bool:
    """Whether OpenSSL can read a PEM text; without keys, as the texts are kept."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        return False
    return True


def identity_of(text: str) -> str:
    """The text, if it has a certificate and its private key, which is not encrypted, in PEM.

    Raises:
        ValueError: it has not.
    """
    if not _CERTIFICATE.search(text) or not _KEY.search(text):
        raise ValueError("must be a certificate and its private key in PEM, the key without a password")
    return certificates_of(text)


def _authority(value: str) -> str:
    return value if secret_name(value) is not None else certificates_of(value)


def _identity(value: str) -> str:
    return value if value == MASK or secret_name(value) is not None else identity_of(value)


Pem = Annotated[str, StringConstraints(max_length=MAX_PEM, pattern=r"^[^\x00]*$"), AfterValidator(valid_reference)]
Identity = Annotated[Pem, AfterValidator(_identity)]
"""A certificate and its key, or a reference to a secret."""


class TrustSettings(BaseSpec):
    """Whom the probe trusts on connections with TLS."""

    ca_certificate: Annotated[Annotated[Pem, AfterValidator(_authority)] | None, Field(exclude_if=not_set)] = None
    """The certificate authorities in PEM that are trusted instead of those of the worker."""
    verify_tls: Annotated[bool, Field(exclude_if=bool)] = True
    """Whether certificates are verified."""

    def trust_conflicts(self) -> Iterator[Conflict]:
        """Settings of the trust that exclude each other."""
        if self.ca_certificate is not None and not self.verify_tls:
            yield "ca_certificate", "ca_certificate and verify_tls: false exclude each other"

    def trust_without_tls(self, fix: str) -> Iterator[Conflict]:
        """Settings of the trust that have no effect, as the connection has no TLS."""
        if self.ca_certificate is not None:
            yield "ca_certificate", f"certificate authorities are for TLS: {fix}"
        if not self.verify_tls:
            yield "verify_tls", f"verify_tls is a setting of TLS: {fix}"

    @property
    def cautions(self) -> list[str]:
        """That certificates are not verified."""
        return [] if self.verify_tls else ["certificates are not verified: an attacker can impersonate the target"]
