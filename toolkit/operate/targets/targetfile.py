"""The file of targets: its defaults and its list, as the requests that the application gets."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import ToolkitError
from toolkit.operate.targets import document
from toolkit.operate.targets.document import Document, Location, Mistake, MistakesError

FILE = "targets.yml"
SECRET = "secret:"  # noqa: S105 - a prefix
"""A value with this prefix names a file in secrets/targets."""
MASK = "•••"
"""The application returns it instead of a credential, and keeps the stored value if it gets it back."""
STDIN = "-"

SECTIONS = ("defaults", "targets", "maintenance")
LISTS = ("targets", "maintenance")
NOT_SHARED = ("id", "name", "spec")
"""Settings that cannot have a default."""
CREDENTIAL = re.compile(r"auth|cookie|token|key|secret|password", re.IGNORECASE)
"""Names of headers whose values may be credentials."""
SETTINGS = frozenset(
    {
        # targets
        "name", "spec", "interval_seconds", "timeout_seconds", "retries", "slow_ms", "failures", "window", "enabled",
        "severity", "degraded_severity", "tags", "public",
        # their specs
        "kind", "url", "method", "headers", "body", "content_type", "username", "password", "bearer_token",
        "client_certificate", "ca_certificate", "verify_tls", "ip_version", "connect_to", "proxy", "follow_redirects",
        "expected_status", "expected_headers", "body_contains", "body_excludes", "body_matches", "expected_json",
        "min_body_bytes", "max_body_bytes", "slow_phases_ms", "expected_protocol", "max_redirects", "expected_url",
        "certificate_days", "certificate_fail_days", "host", "port", "tls", "starttls", "server_name",
        "minimum_version", "send", "expect", "expect_matches", "service", "authority", "record", "expected", "match",
        "resolver", "minimum_ttl", "dnssec", "packets", "maximum_loss_percent", "maximum_jitter_ms", "grace_seconds",
        # maintenance windows
        "target", "tag", "once", "weekly", "starts_at", "ends_at", "days", "start", "minutes", "timezone",
    }
)  # fmt: skip
"""The known keys, for suggestions."""
_REWORDED = {"Extra inputs are not permitted": "unknown key", "Field required": "missing"}


TEXTS = ("body", "client_certificate", "ca_certificate")
"""Settings whose secrets have several lines."""
_LINES = ("username", "password", "bearer_token")
CREDENTIALS = ("password", "bearer_token", "client_certificate")
"""Settings that the application never returns, besides the values of headers."""


@dataclass(frozen=True)
class Value:
    """A value of a target in the file that may be a credential, or a reference to a secret."""

    at: Location
    name: str
    value: str

    @property
    def is_text(self) -> bool:
        """Whether it may have several lines."""
        return self.at[-2] == "spec" and self.name in TEXTS

    @property
    def is_exposed(self) -> bool:
        """Whether it looks like a credential that anyone who reads the file gets to know."""
        if self.value in ("", MASK) or self.value.startswith(SECRET):
            return False
        return self.name in CREDENTIALS if self.at[-2] == "spec" else CREDENTIAL.search(self.name) is not None


@dataclass(frozen=True)
class TargetFile:
    """A valid file.

    Attributes:
        document: Its content and lines.
        targets: The settings of each target, with the defaults.
        maintenance: The settings of each maintenance window; None if the file has no such list.
    """

    document: Document
    targets: Sequence[dict[str, Any]]
    maintenance: Sequence[dict[str, Any]] | None = None

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.document.name

    @property
    def values(self) -> Iterator[Value]:
        """Every value that may be a credential or a reference to a secret."""
        for index, target in enumerate(self.targets):
            spec = target.get("spec")
            if not isinstance(spec, dict):
                continue
            at: Location = ("targets", index, "spec")
            headers = spec.get("headers")
            for name, value in headers.items() if isinstance(headers, dict) else ():
                if isinstance(value, str):
                    yield Value((*at, "headers", name), name, value)
            for name in (*_LINES, *TEXTS):
                if isinstance(spec.get(name), str):
                    yield Value((*at, name), name, spec[name])

    @property
    def exposed(self) -> list[Value]:
        """Values in the file that look like credentials."""
        return [each for each in self.values if each.is_exposed]

    def mistakes(self, errors: Sequence[Mapping[str, Any]]) -> MistakesError:
        """The error for invalid fields that the application reports."""
        return MistakesError(self.name, [self._mistake(str(each["at"]), str(each["message"])) for each in errors])

    def _mistake(self, reported: str, message: str) -> Mistake:
        """A mistake from an error of the application, whose location is like ``body/targets/0/spec/http/url``."""
        section, index, *parts = [*reported.split("/")[1:], "", ""]
        parts = [part for part in parts if part]
        reason = _REWORDED.get(message, message).removeprefix("Value error, ")
        entries = self.targets if section == "targets" else self.maintenance if section == "maintenance" else None
        if entries is None or not index.isdecimal() or int(index) >= len(entries):
            return Mistake(0, "", reason)
        at = _existing((section, int(index)), entries[int(index)], parts)
        if section == "targets" and at not in self.document.lines and ("defaults", *at[2:]) in self.document.lines:
            at = ("defaults", *at[2:])
        if reason == "unknown key":
            reason += _suggestion(str(at[-1]))
        return self.document.mistake(at, reason)


def load(path: str) -> TargetFile:
    """Read a file, or the standard input if the path is ``-``.

    Raises:
        ToolkitError: the file cannot be read; a `MistakesError` if it is not valid as far as this program knows.
    """
    if path == STDIN:
        try:
            content = sys.stdin.buffer.read(document.MAX_BYTES + 1)
        except OSError as error:
            fix = f"pipe the file into the command, or name it: --file={FILE}"
            raise ToolkitError("cannot read the standard input", error.strerror or str(error), fix) from error
        return parse("standard input", content)
    fix = f"check the path, or write the file: invoke targets.export --file={FILE}"
    return parse(Path(path).name, document.read(Path(path), fix))


def parse(name: str, content: bytes) -> TargetFile:
    """Parse the content of a file.

    Raises:
        MistakesError: it is not valid as far as this program knows.
    """
    found = document.parse(name, content)
    mistakes = list(_structure(found)) or list(_names(found))
    if mistakes:
        raise MistakesError(name, mistakes)
    defaults = found.value.get("defaults") or {}
    targets = [{**defaults, **target} for target in found.value["targets"]]
    return TargetFile(found, targets, found.value.get("maintenance"))


def _structure(found: Document) -> Iterator[Mistake]:
    """Mistakes in the sections of the file."""
    if not isinstance(found.value, dict):
        yield found.mistake((), f"a map with the key targets is required, not {_kind(found.value)}")
        return
    for key in found.value:
        if key not in SECTIONS:
            yield found.mistake((key,), f"unknown key; known: {', '.join(SECTIONS)}")
    defaults = found.value.get("defaults")
    if not isinstance(defaults, dict | None):
        yield found.mistake(("defaults",), f"a map of settings is required, not {_kind(defaults)}")
    for key in defaults if isinstance(defaults, dict) else ():
        if key in NOT_SHARED:
            yield found.mistake(("defaults", key), "each target has its own: remove it from the defaults")
    if "targets" not in found.value:
        yield found.mistake(("targets",), "missing; without targets: targets: []")
    for section in LISTS:
        if section in found.value:
            yield from _entries(found, section)


def _entries(found: Document, section: str) -> Iterator[Mistake]:
    """Mistakes in the entries of a list."""
    entries = found.value[section]
    if not isinstance(entries, list):
        yield found.mistake((section,), f"a list is required, not {_kind(entries)}; an empty one: {section}: []")
        return
    for index, entry in enumerate(entries):
        at: Location = (section, index)
        if not isinstance(entry, dict):
            yield found.mistake(at, f"a map of settings is required, not {_kind(entry)}")
        elif not isinstance(entry.get("name"), str):
            reason = f"text is required, not {_kind(entry['name'])}: quote it" if "name" in entry else "missing"
            yield found.mistake((*at, "name"), reason)


def _names(found: Document) -> Iterator[Mistake]:
    for section in LISTS:
        lines: dict[str, int] = {}
        for index, entry in enumerate(found.value.get(section, ())):
            at: Location = (section, index, "name")
            name = entry["name"].strip()
            if name in lines:
                yield found.mistake(at, f"duplicate name {name!r}, first in line {lines[name]}")
            else:
                lines[name] = found.line(at)


def _existing(at: Location, value: Any, parts: Sequence[str]) -> Location:
    """The location of an error in the file; the kind of a spec is a part of the error only."""
    rest = list(parts)
    while rest:
        part = rest.pop(0)
        if isinstance(value, dict):
            if part not in value and at[-1] == "spec" and part == value.get("kind"):
                continue
            # A key may contain a slash.
            part = next((key for key in _joined(part, rest) if key in value), part)
            rest = rest[part.count("/") :] if part in value else rest
            at, value = (*at, part), value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            at, value = (*at, int(part)), value[int(part)]
        elif part != "[key]":
            at, value = (*at, part), None
    return at


def _joined(part: str, rest: Sequence[str]) -> Iterator[str]:
    for end in range(len(rest), -1, -1):
        yield "/".join([part, *rest[:end]])


def _suggestion(key: str) -> str:
    """The most similar setting."""
    close = difflib.get_close_matches(key, sorted(SETTINGS - {key}), 1, 0.7)
    return f"; did you mean {close[0]}?" if close else ""


def _kind(value: object) -> str:
    match value:
        case None:
            return "an empty value"
        case dict():
            return "a map"
        case list():
            return "a list"
        case bool():
            return "true or false"
        case str():
            return "text"
        case _:
            return "a number"
