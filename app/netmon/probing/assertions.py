"""Checks of a response: pure functions from the settings of a target and the response to failures and warnings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from netmon import conditions, expressions
from netmon.conditions import HeaderCondition, JsonCondition
from netmon.http_checks import MAX_BODY, HttpChecks
from netmon.models import ResultWarning
from netmon.phases import PHASE_NAMES, Phase
from netmon.probing.certificates import Certificate
from netmon.probing.text_search import charsets
from netmon.secret_values import MASK, masked_url

MAX_EXCERPT = 60
"""Characters of a value that a sentence shows: results are open to everyone who can read the page."""

_CREDENTIAL = re.compile(r"auth|cookie|token|key|secret|password|session|credential|jwt", re.IGNORECASE)


class Failure(NamedTuple):
    """A check that a response does not pass: a code of `netmon.probing.errors`, and a sentence for people."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The last response of a probe, as far as it is checked.

    Attributes:
        status: of the response.
        protocol: as in its status line, such as HTTP/1.1.
        url: the URL that was requested last.
        redirects: how many of them led to it.
        headers: by lower-case name; the values of a repeated header are joined by commas.
        body: unpacked, at most `MAX_BODY` bytes; empty if it is not checked.
        received: bytes of the body that were received and unpacked; more than `MAX_BODY` if it is longer.
        contains: whether the text that the body must contain was found.
        phases: milliseconds, of all requests.
        certificates: of all servers.
        hidden: texts that no sentence shows, such as the credentials of the request, which the target may echo.
    """

    status: int
    protocol: str = "HTTP/1.1"
    url: str = ""
    redirects: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    received: int = 0
    contains: bool = False
    phases: Mapping[Phase, float] = field(default_factory=dict)
    certificates: Sequence[Certificate] = ()
    hidden: Sequence[str] = ()

    def masks(self, name: str, value: object) -> bool:
        """Whether a value must not be shown: its name looks like a credential, or it has a hidden text in it."""
        return _CREDENTIAL.search(name) is not None or (
            isinstance(value, str) and any(each in value for each in self.hidden)
        )


def failures(checks: HttpChecks, answer: Answer) -> list[Failure]:
    """The failed checks, those of the status first."""
    return [
        *_status(checks, answer),
        *_destination(checks, answer),
        *_protocol(checks, answer),
        *_headers(checks, answer),
        *_size(checks, answer),
        *_texts(checks, answer),
        *_json(checks, answer),
    ]


def warning(checks: HttpChecks, answer: Answer) -> tuple[ResultWarning, str] | None:
    """The warning about a response that passes: its certificate expires soon, or a phase was slow."""
    first = min(answer.certificates, key=lambda each: each.days, default=None)
    if first and first.days < checks.certificate_days:
        expiry = f"expires in {first.days:.1f} days" if first.days >= 0 else f"expired {-first.days:.1f} days ago"
        return "certificate", f"{first.subject} {expiry}"
    slow = [
        f"{PHASE_NAMES[phase]} took {found:.0f} ms, more than {limit:g} ms"
        for phase, limit in checks.slow_phases_ms.items()
        if (found := answer.phases.get(phase, 0)) > limit
    ]
    return ("slow", "; ".join(slow)) if slow else None


def excerpt(text: str) -> str:
    """A text in quotes, shortened."""
    return f'"{text}"' if len(text) <= MAX_EXCERPT else f'"{text[:MAX_EXCERPT]}…"'


def _status(checks: HttpChecks, answer: Answer) -> Iterator[Failure]:
    accepted = checks.statuses
    if accepted and not any(first <= answer.status <= last for first, last in accepted):
        expected = ", ".join(map(str, checks.expected_status))
    elif not accepted and answer.status >= 400:
        expected = "below 400"
    else:
        return
    yield Failure("http_status", f"the target answered with status {answer.status}, expected {expected}")


def _destination(checks: HttpChecks, answer: Answer) -> Iterator[Failure]:
    if checks.max_redirects is not None and answer.redirects > checks.max_redirects:
        times = "once" if answer.redirects == 1 else f"{answer.redirects} times"
        yield Failure("redirects", f"redirected {times}, expected at most {checks.max_redirects} redirects")
    if checks.expected_url is not None and answer.url != checks.expected_url:
        found, expected = (excerpt(masked_url(each)) for each in (answer.url, checks.expected_url))
        yield Failure("url", f"the last URL is {found}, expected {expected}")


def _protocol(checks: HttpChecks, answer: Answer) -> Iterator[Failure]:
    if checks.expected_protocol is not None and answer.protocol != checks.expected_protocol:
        yield Failure("http_version", f"the protocol is {answer.protocol}, expected {checks.expected_protocol}")


def _headers(checks: HttpChecks, answer: Answer) -> Iterator[Failure]:
    for condition in map(conditions.header, checks.expected_headers):
        value = answer.headers.get(condition.name.lower())
        expected = f", expected {_expected_header(condition)}" if condition.test else ", expected any value"
        if value is None:
            yield Failure("header", f"the header {condition.name} is missing{expected}")
        elif not condition.holds(value):
            shown = MASK if answer.masks(condition.name, value) else excerpt(value)
            yield Failure("header", f"the header {condition.name} is {shown}{expected}")


def _expected_header(condition: HeaderCondition) -> str:
    verb = {"contains": "to contain ", "matches": "to match "}.get(condition.test or "", "")
    # The expected value of a credential is a credential, too.
    return verb + (MASK if _CREDENTIAL.search(condition.name) else excerpt(condition.value))


def _size(checks: HttpChecks, answer: Answer) -> Iterator[Failure]:
    found = f"more than {MAX_BODY}" if answer.received > MAX_BODY else str(answer.received)
    if checks.min_body_bytes is not None and answer.received < checks.min_body_bytes:
        yield Failure("size", f"the body has {found} bytes, expected at least {checks.min_body_bytes}")
    if checks.max_body_bytes is not None and answer.received > checks.max_body_bytes:
        yield Failure("size", f"the body has {found} bytes, expected at most {checks.max_body_bytes}")


def _texts(checks: HttpChecks, answer: Answer) -> Iterator[Failure]:
    start = f"the first {min(answer.received, MAX_BODY)} bytes of the body"
    if checks.body_contains is not None and not answer.contains:
        yield Failure("body", f"{start} do not contain the expected text {excerpt(checks.body_contains)}")
    if checks.body_excludes is None and checks.body_matches is None:
        return
    content_type = answer.headers.get("content-type", "")
    texts = [answer.body.decode(charset, "replace") for charset in charsets(answer.body, content_type)]
    if checks.body_excludes is not None and any(checks.body_excludes in text for text in texts):
        yield Failure("body", f"the body contains {excerpt(checks.body_excludes)}, expected that it does not")
    if checks.body_matches is not None and not any(map(expressions.pattern(checks.body_matches).is_in, texts)):
        yield Failure("body", f"{start} do not match the expected expression {excerpt(checks.body_matches)}")


def _json(checks: HttpChecks, answer: Answer) -> Iterator[Failure]:
    if not checks.expected_json:
        return
    found = list(map(conditions.json_value, checks.expected_json))
    try:
        document = _document(answer)
    except ValueError as error:
        yield Failure("json", f"{error}, expected {_described(found[0])}")
        return
    for condition in found:
        if problem := _value_problem(condition, document, answer):
            yield Failure("json", f"{problem}, expected {_expected_json(condition)}")


def _value_problem(condition: JsonCondition, document: Any, answer: Answer) -> str:
    """The actual value instead of the expected one; empty if the check passes."""
    try:
        values = expressions.path(condition.path).values(document)
    except ValueError as error:
        return f"{condition.path} leads to {error}"
    if not values:
        return f"there is no value at {condition.path}"
    for value in values:
        if not condition.holds(value):
            return f"{condition.path} is {MASK if answer.masks(condition.path, value) else _shown(value)}"
    return ""


def _document(answer: Answer) -> Any:
    """The JSON of a body; raises ValueError with a sentence for people."""
    if answer.received > MAX_BODY:
        raise ValueError(f"the body has more than {MAX_BODY} bytes, too many for JSON")
    try:
        return json.loads(answer.body, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f" (line {error.lineno}, column {error.colno})" if answer.body.strip() else ": it is empty"
        raise ValueError(f"the body is not JSON{place}") from None
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON that can be read") from None


def _no_constant(name: str) -> None:
    """NaN and the infinities are no JSON, although Python reads them."""
    raise ValueError(name)


def _described(condition: JsonCondition) -> str:
    return condition.path + (f" {condition.test} {_expected_value(condition)}" if condition.test else "")


def _expected_json(condition: JsonCondition) -> str:
    if condition.test is None:
        return "any value"
    return ("" if condition.test == "==" else f"{condition.test} ") + _expected_value(condition)


def _expected_value(condition: JsonCondition) -> str:
    return MASK if _CREDENTIAL.search(condition.path) else _shown(condition.value)


def _shown(value: Any) -> str:
    match value:
        case dict():
            return f"an object with {len(value)} members"
        case list():
            return f"an array of {len(value)} values"
        case str():
            return excerpt(value)
        case _:
            text = json.dumps(value)
            return text if len(text) <= MAX_EXCERPT else f"{text[:MAX_EXCERPT]}…"
