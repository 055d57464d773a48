"""Failures of transfers: a code and a sentence for people, from the numbers and texts of libcurl and OpenSSL."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

import pycurl

from netmon.probing.transfers import TransferError

_HTTP2_STREAM = 92
_PROXY = 97
_TOO_LARGE = 100
_ENDED = "the response ended before it was complete"
_CLOSED = "the connection was closed before the response was complete"
_NOT_HTTP = "the response is not valid HTTP"
_NO_IDENTITY = "the client certificate cannot be used with its key"
OTHER_NAME = "it is for another name"

_FIXED: Mapping[int, tuple[str, str]] = {
    pycurl.E_UNSUPPORTED_PROTOCOL: ("protocol", _NOT_HTTP),
    pycurl.E_FTP_WEIRD_SERVER_REPLY: ("protocol", "the header of the response is not valid"),
    pycurl.E_HTTP2: ("protocol", "the response is not valid HTTP/2"),
    pycurl.E_PARTIAL_FILE: ("protocol", _ENDED),
    pycurl.E_BAD_CONTENT_ENCODING: ("protocol", "the response has an unknown transfer encoding"),
    pycurl.E_FILESIZE_EXCEEDED: ("protocol", "the header of the response is not valid"),
    pycurl.E_URL_MALFORMAT: ("protocol", "the address is not valid"),
    pycurl.E_OPERATION_TIMEDOUT: ("timeout", "no response in time"),
    pycurl.E_GOT_NOTHING: ("disconnected", _CLOSED),
    _HTTP2_STREAM: ("disconnected", "the target has reset the stream of HTTP/2"),
    _PROXY: ("proxy", "the answer of the proxy is not valid"),
    _TOO_LARGE: ("protocol", "the header of the response is too large"),
    pycurl.E_SSL_CACERT_BADFILE: ("tls", "the certificate authorities cannot be read"),
    pycurl.E_SSL_CERTPROBLEM: ("tls", _NO_IDENTITY),
    pycurl.E_BAD_FUNCTION_ARGUMENT: ("tls", _NO_IDENTITY),
}
# OpenSSL's reasons, as far as people can act on them better with other words.
CERTIFICATE_REASONS: Mapping[str, str] = {
    "self-signed certificate": "it is self-signed",
    "self-signed certificate in certificate chain": "its authority is not trusted",
    "unable to get local issuer certificate": "its authority is not trusted, or an intermediate certificate is missing",
    "certificate has expired": "it has expired",
    "certificate is not yet valid": "it is not valid yet",
}


def explain(failure: TransferError, connections: Mapping[int, str]) -> tuple[str, str]:
    """The code and the sentence of a failed transfer.

    Args:
        failure: what libcurl reports.
        connections: sentences of failed system calls by their numbers.
    """
    if failure.proxy_status >= 300:
        return "proxy", f"the proxy refused the connection with status {failure.proxy_status}"
    if fixed := _FIXED.get(failure.code):
        return fixed
    if special := _SPECIAL.get(failure.code):
        return special(failure, connections)
    return "protocol", _NOT_HTTP


def _unconnected(failure: TransferError, connections: Mapping[int, str]) -> tuple[str, str]:
    reason = os.strerror(failure.number).lower() if failure.number else "the connection failed"
    return "connect", connections.get(failure.number, reason)


def _unverified(failure: TransferError, _connections: Mapping[int, str]) -> tuple[str, str]:
    return "tls", f"the certificate is not valid: {_certificate(str(failure))}"


def _no_handshake(failure: TransferError, connections: Mapping[int, str]) -> tuple[str, str]:
    return "tls", f"the TLS handshake failed: {_handshake(failure, connections)}"


def _interrupted(failure: TransferError, connections: Mapping[int, str]) -> tuple[str, str]:
    text = str(failure)
    if "Too large" in text or "headers" in text:
        return _FIXED[_TOO_LARGE]
    if "chunk" in text.lower() or "Illegal" in text or "hex" in text.lower():
        return "protocol", "the chunks of the response are not valid"
    if "certificate required" in text:
        return "tls", "the target requires a client certificate"
    return "disconnected", connections.get(failure.number, _CLOSED)


def _certificate(text: str) -> str:
    if "subject name" in text or "mismatch" in text:
        return OTHER_NAME
    reason = re.search(r"(?:problem|verify result): (.*?)(?: \(\d+\))?$", text)
    return CERTIFICATE_REASONS.get(reason[1], reason[1]) if reason else "it cannot be verified"


def _handshake(failure: TransferError, connections: Mapping[int, str]) -> str:
    if failure.number in connections:
        return connections[failure.number]
    reason = str(failure).rpartition("::")[2] if "::" in str(failure) else ""
    return reason.strip().replace("_", " ").lower() or "the connection was closed"


_SPECIAL: Mapping[int, Callable[[TransferError, Mapping[int, str]], tuple[str, str]]] = {
    pycurl.E_COULDNT_CONNECT: _unconnected,
    pycurl.E_PEER_FAILED_VERIFICATION: _unverified,
    pycurl.E_SSL_CONNECT_ERROR: _no_handshake,
    pycurl.E_RECV_ERROR: _interrupted,
    pycurl.E_SEND_ERROR: _interrupted,
}
