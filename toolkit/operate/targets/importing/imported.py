"""Targets of another monitor as entries of a file, and settings that cannot be imported."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from toolkit.operate.targets.targetfile import CREDENTIAL, SECRET

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
RECORDS = frozenset({"A", "AAAA", "CAA", "CNAME", "MX", "NS", "SOA", "SRV", "TXT"})
DNS_PORT = 53
MAX_STATUSES = 32
MAX_BODY = 16 * 1024
"""Characters of a body to send."""
MAX_NAME, MAX_TAG, MAX_SECRET_NAME = 100, 50, 100
SLOW_NOTE = "a slower response makes the target degraded, not down"
CERTIFICATE_NOTE = "a certificate that expires sooner makes the target degraded, not down"

Spec = dict[str, Any]


class NotCarriedOverError(Exception):
    """A target cannot be imported; the message is the reason."""


@dataclass(frozen=True)
class Loss:
    """Something that is not imported, or not as it was."""

    target: str
    what: str
    why: str


@dataclass(frozen=True)
class NewSecret:
    """A secret to create; ``content`` describes its content without revealing it."""

    name: str
    target: str
    content: str


@dataclass
class Imported:
    """The result of an import."""

    targets: list[dict[str, Any]] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    secrets: list[NewSecret] = field(default_factory=list)

    def lose(self, target: str, what: str, why: str) -> None:
        """Record a loss."""
        self.losses.append(Loss(target, what, why))

    def skip(self, target: str, what: str, why: str) -> None:
        """Record the loss of a whole target, instead of its losses recorded so far."""
        self.losses = [each for each in self.losses if each.target != target]
        self.secrets = [each for each in self.secrets if each.target != target]
        self.lose(target, what, why)

    def name(self, wanted: str) -> str:
        """A unique valid name for a target."""
        text = " ".join("".join(each if each.isprintable() else " " for each in wanted).split()) or "unnamed"
        names = {each["name"] for each in self.targets}
        base = name = text[:MAX_NAME]
        number = 2
        while name in names:
            suffix = f" ({number})"
            name = base[: MAX_NAME - len(suffix)] + suffix
            number += 1
        if name != wanted:
            self.lose(name, f"name {wanted!r}", "names are unique, and printable text of at most 100 characters")
        return name

    def secret(self, target: str, setting: str, content: str) -> str:
        """A reference to a new secret, for the value of a header or another setting."""
        slug = re.sub(r"[^a-z0-9]+", "-", f"{target} {setting}".lower()).strip("-")[:MAX_SECRET_NAME] or "secret"
        taken = {each.name for each in self.secrets}
        name, number = slug, 2
        while name in taken:
            name = f"{slug[: MAX_SECRET_NAME - 4]}-{number}"
            number += 1
        self.secrets.append(NewSecret(name, target, content))
        return SECRET + name

    def headers(self, target: str, given: Mapping[str, Any]) -> dict[str, str]:
        """The headers of a request; values that may be credentials become secrets."""
        found = {}
        for name, value in given.items():
            text = str(value)
            if CREDENTIAL.search(name) or "$" in text:
                found[name] = self.secret(target, name, f"the value of the header {name}")
            else:
                found[name] = text
        return found


def resolver(result: Imported, name: str, server: str, port: int = DNS_PORT) -> Spec:
    """The setting `resolver` of a target of kind dns: an address, with its port unless that is of DNS; else a loss."""
    if not server:
        return {}
    found = re.fullmatch(
        r"(?:\[(?P<bracketed>[^\]]+)\]|(?P<v4>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?|(?P<bare>\S+)", server
    )
    try:
        address = ip_address((found["bracketed"] or found["v4"] or found["bare"]) if found else "")
    except ValueError:
        result.lose(name, f"name server {server}", "a name server is one IP address; those of this host are asked")
        return {}
    number = int(found["port"] or port) if found else port
    if number == DNS_PORT:
        return {"resolver": str(address)}
    return {"resolver": f"[{address}]:{number}" if address.version == 6 else f"{address}:{number}"}


def body(imported: Imported, target: str, spec: Spec, text: str, media_type: str = "") -> None:
    """Set the body of a request; one that may have a credential becomes a secret.

    Args:
        imported: The result of the import.
        target: The name of the target.
        spec: The spec, which is changed.
        text: The body.
        media_type: Its type, if no header names it.

    Raises:
        NotCarriedOverError: the method has no body, or the body is too long.
    """
    method = spec.get("method", "GET")
    if method not in WITH_BODY:
        raise NotCarriedOverError(f"a {method} request with a body is not supported")
    if len(text) > MAX_BODY:
        raise NotCarriedOverError(f"its body is longer than {MAX_BODY} characters")
    secret = CREDENTIAL.search(text) or "$" in text
    spec["body"] = imported.secret(target, "body", "the body of the request") if secret else text
    if media_type and "content-type" not in {name.lower() for name in spec.get("headers", {})}:
        spec["content_type"] = media_type


def http_spec(imported: Imported, target: str, url: str, method: str, headers: Mapping[str, Any]) -> Spec:
    """The spec of an HTTP request; credentials in its URL become a secret.

    Raises:
        NotCarriedOverError: the method is not supported.
    """
    if method.upper() not in METHODS:
        raise NotCarriedOverError(f"the method {method} is not supported")
    parts = urlsplit(url)
    own = imported.headers(target, headers)
    if parts.username is not None:
        url = _without_user(parts).geturl()
    if parts.query:
        imported.lose(target, "query of the URL", "it stays in the file: replace the URL if it has a credential")
    if "$" in url:
        imported.lose(target, "variable in the URL", "variables are not expanded: write the value")
    spec: Spec = {"kind": "http", "url": url}
    if parts.username is not None and "authorization" not in {name.lower() for name in own}:
        spec["username"] = unquote(parts.username)
        spec["password"] = imported.secret(target, "password", "the password in the URL")
    if method.upper() != "GET":
        spec["method"] = method.upper()
    return spec | ({"headers": own} if own else {})


def proxy(url: str) -> Spec:
    """The setting `proxy` of a target of kind http.

    Raises:
        NotCarriedOverError: it is not http://host:port.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise NotCarriedOverError("its proxy is not valid") from None
    if parts.scheme != "http" or not parts.hostname:
        raise NotCarriedOverError("only proxies of the form http://host:port are supported")
    if parts.username is not None:
        raise NotCarriedOverError("a proxy with a login is not supported")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return {"proxy": f"http://{host}:{port or 80}"}


def heartbeat_spec(imported: Imported, target: str) -> Spec:
    """The spec of a job that reports."""
    imported.lose(target, "its URL", "the job reports to another one: invoke targets.heartbeat-url (docs/targets.md)")
    return {"kind": "heartbeat"}


def _without_user(parts: SplitResult) -> SplitResult:
    return parts._replace(netloc=parts.netloc.rpartition("@")[2])


def endpoint(url: str) -> Spec:
    """The host and port of a URL.

    Raises:
        NotCarriedOverError: it has none.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or not port:
        raise NotCarriedOverError(f"{url} has no host and port")
    return {"host": parts.hostname, "port": port}


def escaped(text: str) -> str:
    """A text as the settings send and expect have it (netmon.escapes)."""
    found = text.replace("\\", r"\\").replace("\r", r"\r").replace("\n", r"\n").replace("\t", r"\t")
    return re.sub(r"[\x00-\x1f\x7f]", lambda each: f"\\x{ord(each[0]):02x}", found)


def tag(text: str) -> str:
    """A tag from any text; empty if nothing of it is valid in a tag."""
    return re.sub(r"[^\w.:/-]+", "-", text.strip()).strip("-.:/")[:MAX_TAG]


def tags(texts: Sequence[str]) -> list[str]:
    """Unique tags from any texts."""
    return [each for each in dict.fromkeys(map(tag, texts)) if each][:20]


def interval(imported: Imported, target: str, seconds: float) -> int:
    """An interval in the permitted range."""
    found = min(max(round(seconds), 5), 86_400)
    if found != seconds:
        imported.lose(target, f"interval of {seconds:g} s", f"whole seconds from 5 to 86400: {found}")
    return found


def timeout(imported: Imported, target: str, seconds: float) -> float:
    """A timeout in the permitted range."""
    found = min(max(seconds, 0.1), 60)
    if found != seconds:
        imported.lose(target, f"timeout of {seconds:g} s", f"0.1 to 60: {found:g}")
    return found


def in_a_row(imported: Imported, target: str, failures: int) -> dict[str, int]:
    """The settings for this number of failures in a row."""
    found = min(max(failures, 1), 10)
    if found != failures:
        imported.lose(target, f"{failures} failures in a row", f"1 to 10: {found}")
    return {"failures": found, "window": found}
