"""Logging: one JSON object per line, from this code and from libraries."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from netmon import logs, tracing


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_fields_of_a_line_are_ordered(spans: object, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("api", "info")
    with tracing.span("test") as span:
        logs.logger("netmon.test").info("it happened", count=1)
    (line,) = lines(capsys)
    assert list(line)[:4] == ["timestamp", "level", "service", "message"]
    assert (line["level"], line["service"], line["message"], line["count"]) == ("info", "api", "it happened", 1)
    assert line["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert line["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert line["timestamp"].endswith("Z")


def test_an_exception_is_logged_as_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("worker", "info")
    try:
        int("two\nlines")
    except ValueError:
        logs.logger("netmon.test").exception("failed")
    (line,) = lines(capsys)
    assert line["level"] == "error"
    assert "Traceback" in line["exception"]
    assert "\n" in line["exception"]


def test_lines_of_libraries_have_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("api", "debug")
    logging.getLogger("uvicorn.error").warning("from %s", "a library")
    logging.getLogger("uvicorn.error").info("too chatty")
    (line,) = lines(capsys)
    assert (line["message"], line["logger"], line["service"]) == ("from a library", "uvicorn.error", "api")


def test_lines_below_the_level_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("api", "warning")
    logs.logger("netmon.test").info("unseen")
    logs.logger("netmon.test").warning("seen")
    assert [line["message"] for line in lines(capsys)] == ["seen"]
