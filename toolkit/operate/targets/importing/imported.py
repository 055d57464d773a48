"""Targets of another monitor as entries of a file, and what cannot be carried over."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from toolkit.operate.targets.targetfile import CREDENTIAL, SECRET

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "OPTIONS"})
RECORDS = frozenset({"A", "AAAA", "CAA", "CNAME", "MX", "NS", "SOA", "SRV", "TXT"})
MAX_STATUSES = 32
MAX_NAME, MAX_TAG, MAX_SECRET_NAME = 100, 50, 100
SLOW_NOTE = "a slower response makes the target degraded, not down"
CERTIFICATE_NOTE = "a certificate that expires sooner makes the target degraded, not down"

Spec = dict[str, Any]


class NotCarriedOverError(Exception):
    """A target cannot be carried over; the message is the reason."""


@dataclass(frozen=True)
class Loss:
    """Something that is not carried over, or not as it was."""

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
        """Record the loss of a whole target, instead of what was recorded for it so far."""
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

    def secret(self, target: str, header: str, content: str) -> str:
        """A reference to a new secret, for the value of a header."""
        slug = re.sub(r"[^a-z0-9]+", "-", f"{target} {header}".lower()).strip("-")[:MAX_SECRET_NAME] or "secret"
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
        content = "Basic, a space, and the base64 form of user:password, which are in the URL"
        own.setdefault("Authorization", imported.secret(target, "authorization", content))
        url = _without_user(parts).geturl()
    if parts.query:
        imported.lose(target, "query of the URL", "it stays in the file: replace the URL if it has a credential")
    if "$" in url:
        imported.lose(target, "variable in the URL", "variables are not expanded: write the value")
    spec: Spec = {"kind": "http", "url": url}
    if method.upper() != "GET":
        spec["method"] = method.upper()
    return spec | ({"headers": own} if own else {})


def heartbeat_spec(imported: Imported, target: str) -> Spec:
    """The spec of a job that reports."""
    imported.lose(target, "its URL", "the job reports to another one: invoke targets.heartbeat-url (docs/targets.md)")
    return {"kind": "heartbeat"}


def _without_user(parts: SplitResult) -> SplitResult:
    return parts._replace(netloc=parts.netloc.rpartition("@")[2])


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
