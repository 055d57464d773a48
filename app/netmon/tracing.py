"""W3C trace context: one probe is one trace, over HTTP, AMQP and Kafka.

The context travels in a `traceparent` header at every hop. It is kept by hand here; a tracing SDK takes the place of
this module's inside without a change to its callers.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from structlog.contextvars import bound_contextvars

HEADER = "traceparent"

_PATTERN = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(-.*)?"
)


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The position in a trace: the trace, this step of it (span), and whether the trace is recorded."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def header(self) -> str:
        """The value of a `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


_current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)


def parse(header: str | None) -> TraceContext | None:
    """The context in a `traceparent` header, or None when there is none or it is not valid."""
    match = _PATTERN.fullmatch(header or "")
    if not match or match["version"] == "ff" or (match["version"] == "00" and match[5]):
        return None
    if not int(match["trace"], 16) or not int(match["span"], 16):
        return None
    return TraceContext(match["trace"], match["span"], sampled=bool(int(match["flags"], 16) & 1))


@contextmanager
def step(header: str | None) -> Iterator[TraceContext]:
    """One step of the trace in `header`, or of a new trace; log lines inside carry its `trace_id`."""
    parent = parse(header)
    context = TraceContext(
        trace_id=parent.trace_id if parent else secrets.token_hex(16),
        span_id=secrets.token_hex(8),
        sampled=parent.sampled if parent else True,
    )
    token = _current.set(context)
    try:
        with bound_contextvars(trace_id=context.trace_id):
            yield context
    finally:
        _current.reset(token)


def headers() -> dict[str, str]:
    """The headers that hand the current step on to the next hop; none outside a step."""
    context = _current.get()
    return {HEADER: context.header} if context else {}


def current() -> TraceContext | None:
    """The current step, if any."""
    return _current.get()
