"""The settings of HTTP targets that check the response."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)

from netmon import conditions, expressions
from netmon.conditions import StatusRange
from netmon.phases import Phase
from netmon.secret_values import with_masks
from netmon.spec_parts import Conflict, not_set
from netmon.url_targets import MAX_URL_LENGTH, InvalidTargetError, parse_target

MAX_BODY = 1024 * 1024
"""Bytes of a body that are checked, after decompression; a longer body is an error only if its size is checked."""
MAX_REDIRECTS = 20
"""As many as the Fetch standard allows."""

Protocol = Literal["HTTP/1.0", "HTTP/1.1", "HTTP/2"]


def _empty(value: object) -> bool:
    return not value


def _parsed_header(text: str) -> str:
    conditions.header(text)
    return text


def _parsed_json(text: str) -> str:
    conditions.json_value(text)
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00]*$")]
"""Text that PostgreSQL can store: without null characters."""
Status = Annotated[
    int | str,
    PlainValidator(conditions.normal_status),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 599},
                {"type": "string", "pattern": "^([1-5]xx|[1-5][0-9]{2}(-[1-5][0-9]{2})?)$"},
            ],
            "examples": [200, "2xx", "200-299"],
        }
    ),
]
_Line = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=expressions.MAX_EXPRESSION, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]*$"
    ),
]
_Milliseconds = Annotated[float, Field(gt=0, le=60_000)]


class HttpChecks(BaseModel):
    """The expected value."""

    expected_status: list[Status] = Field(default_factory=list, max_length=32)
    """Statuses, classes (`2xx`) and ranges (`200-299`) that count as success; empty: all below 400."""
    expected_headers: list[Annotated[_Line, AfterValidator(_parsed_header)]] = Field(
        default_factory=list,
        max_length=10,
        exclude_if=_empty,
        examples=[["Content-Type contains json", "X-Version matches ^2[.]"]],
    )
    """Headers of the response: a name alone, or followed by `==`, `contains` or `matches`, and a value."""
    body_contains: Text | None = None
    """Text that the first mebibyte of the response body must contain."""
    body_excludes: Annotated[Text | None, Field(exclude_if=not_set)] = None
    """Text that it must not contain."""
    body_matches: Annotated[Text | None, Field(exclude_if=not_set, examples=["version [0-9]+[.]"])] = None
    """A regular expression (RE2) that some part of it must match."""
    expected_json: list[Annotated[_Line, AfterValidator(_parsed_json)]] = Field(
        default_factory=list,
        max_length=10,
        exclude_if=_empty,
        examples=[['$.status == "up"', "$.queues[*].length < 100"]],
    )
    """JSON paths (RFC 9535), alone or with a comparison; each value that the path leads to must pass it."""
    min_body_bytes: Annotated[int | None, Field(ge=1, le=MAX_BODY, exclude_if=not_set)] = None
    max_body_bytes: Annotated[int | None, Field(ge=0, le=MAX_BODY, exclude_if=not_set)] = None
    """The size of the body, after decompression."""
    certificate_days: Annotated[int, Field(ge=0, le=365)] = 14
    """The result is a warning if a certificate (of the target, an intermediate one, or of a host that redirects)
    expires in fewer days."""
    slow_phases_ms: dict[Phase, _Milliseconds] = Field(
        default_factory=dict, exclude_if=_empty, examples=[{"tls": 100, "first_byte": 300}]
    )
    """The result is a warning if a phase takes longer than this many milliseconds."""
    expected_protocol: Annotated[Protocol | None, Field(exclude_if=not_set)] = None
    max_redirects: Annotated[int | None, Field(ge=0, le=MAX_REDIRECTS, exclude_if=not_set)] = None
    """How many redirects may be followed; null: as many as browsers do."""
    expected_url: Annotated[
        str | None, Field(max_length=MAX_URL_LENGTH, exclude_if=not_set, examples=["https://example.org/start"])
    ] = None
    """The URL that the redirects must lead to."""

    @field_validator("body_matches")
    @classmethod
    def _valid_expression(cls, text: str | None) -> str | None:
        if text is not None:
            expressions.pattern(text)
        return text

    @field_validator("expected_url")
    @classmethod
    def _valid_expected_url(cls, text: str | None) -> str | None:
        try:
            return None if text is None else with_masks(parse_target(text).url)
        except InvalidTargetError as error:
            raise ValueError(str(error)) from None

    @property
    def statuses(self) -> list[StatusRange]:
        """The expected statuses; empty: all below 400."""
        return [StatusRange.parse(each) for each in self.expected_status]

    @property
    def expects_redirect(self) -> bool:
        """Whether a redirect itself is expected: its status or `3xx`. A longer range is meant for the last response."""
        return any(each.first >= 300 and each.last < 400 for each in self.statuses)

    @property
    def collects_body(self) -> bool:
        """Whether the whole body is checked, and not only whether it contains a text."""
        return any(each is not None for each in (self.body_excludes, self.body_matches)) or bool(
            self.expected_json or self.min_body_bytes is not None or self.max_body_bytes is not None
        )

    @property
    def has_expressions(self) -> bool:
        """Whether regular expressions are applied to the response."""
        return self.body_matches is not None or any(
            conditions.header(each).test == "matches" for each in self.expected_headers
        )

    @property
    def reads_body(self) -> bool:
        """Whether anything of the body is checked."""
        return self.body_contains is not None or self.collects_body

    def check_conflicts(self, method: str, *, follows: bool) -> Iterator[Conflict]:
        """Checks that exclude each other, or that no response to a request could pass."""
        if method == "HEAD":
            names = ("body_contains", "body_excludes", "body_matches", "expected_json", "min_body_bytes")
            for name in (*names, "max_body_bytes"):
                if getattr(self, name) not in (None, []):
                    yield name, f"a HEAD response has no body: remove {name} or use GET"
        smallest, largest = self.min_body_bytes, self.max_body_bytes
        if smallest is not None and largest is not None and smallest > largest:
            yield "max_body_bytes", f"it must not be less than min_body_bytes ({smallest})"
        for name in ("max_redirects", "expected_url"):
            if getattr(self, name) is not None and not follows:
                yield name, f"{name} and follow_redirects: false exclude each other"
            elif getattr(self, name) is not None and self.expects_redirect:
                yield name, f"{name} and an expected redirect status exclude each other, as none is followed then"
