"""Conditions and expressions of checks: their syntax, and what they mean."""

import json
import string
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon import expressions
from netmon.conditions import HeaderCondition, JsonCondition, StatusRange, normal_status
from tests.unit.app.properties import PROPERTY

STATUSES = st.integers(100, 599)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@PROPERTY
@given(STATUSES, STATUSES)
def test_a_range_of_statuses_is_equal_after_writing_and_reading(one: int, other: int) -> None:
    first, last = sorted((one, other))
    found = StatusRange.parse(f"{first}-{last}")
    assert found == (first, last)
    assert StatusRange.parse(found.normal) == found
    assert normal_status(found.normal) == found.normal
    assert isinstance(found.normal, int) is (first == last), "the former release knows numbers only"


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        (200, 200),
        ("204", 204),
        (" 404 ", 404),
        (200.0, 200),
        ("2XX", "2xx"),
        ("500-599", "5xx"),
        ("200 - 204", "200-204"),
    ],
)
def test_statuses_have_one_canonical_form(value: object, normal: int | str) -> None:
    assert normal_status(value) == normal


@pytest.mark.parametrize(
    "value",
    ["", "abc", 99, 600, "6xx", "0xx", "2x", "200-", "-200", "200-300-400", True, None, 200.5, [], "2xx-3xx", "²00"],
)
def test_other_statuses_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not a status from 100 to 599"):
        normal_status(value)


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="write 200-300"):
        normal_status("300-200")


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("Server", "", True),
        ("Server == nginx", "nginx", True),
        ("Server == nginx", "Nginx", False),
        ("Server contains ng", "nginx", True),
        ("Server contains == a", "x == a", True),
        ("Server matches ^n.*x$", "nginx", True),
        ("Server matches ^n.*y$", "nginx", False),
    ],
)
def test_a_header_passes_its_condition_or_not(text: str, value: str, holds: bool) -> None:
    assert HeaderCondition.parse(text).holds(value) is holds


@pytest.mark.parametrize("text", ["", "A: b", "A = b", "A b c", "Ä", "A ==", "== a", "A matches (", "A matches a(?=b)"])
def test_other_conditions_on_headers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be the name of a header|not a regular expression of RE2"):
        HeaderCondition.parse(text)


NAMES = st.text(string.ascii_letters + "_", min_size=1)
SEGMENTS = (
    NAMES.map(".{}".format)
    | st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cc", "Cs"]), max_size=10).map(
        lambda name: f"[{json.dumps(name)}]"
    )
    | st.integers(-9, 9).map("[{}]".format)
    | st.sampled_from(["[*]", ".*", "[1:2]", "[::-1]"])
)


@PROPERTY
@given(st.lists(SEGMENTS, max_size=5).map("".join), st.sampled_from(["==", "!="]), SCALARS)
def test_a_condition_on_json_has_the_parts_that_were_written(path: str, test: str, value: Any) -> None:
    found = JsonCondition.parse(f"${path} {test} {json.dumps(value)}")
    assert tuple(found) == (f"${path}", test, value)
    assert found.holds(value) is (test == "==")


@PROPERTY
@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_numbers_are_compared(one: float, other: int) -> None:
    for test, holds in (("<", one < other), ("<=", one <= other), (">", one > other), (">=", one >= other)):
        assert JsonCondition.parse(f"$ {test} {other}").holds(one) is holds


@PROPERTY
@given(SCALARS, SCALARS)
def test_values_of_different_types_are_different(one: Any, other: Any) -> None:
    if isinstance(one, bool) != isinstance(other, bool):
        assert not JsonCondition.parse(f"$ == {json.dumps(one)}").holds(other)
        assert JsonCondition.parse(f"$ != {json.dumps(one)}").holds(other)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must be a JSON path"),
        ("status == 1", "not a JSON path"),
        ("$.a == ", "must be a JSON path"),
        ("$.a = 1", "must be a JSON path"),
        ("$.a == up", "in double quotes"),
        ("$.a == 'up'", "in double quotes"),
        ("$.a == NaN", "in double quotes"),
        ("$.a == 1e999", "in double quotes"),
        ("$.a == [1]", "in double quotes"),
        (f"$.a == {'9' * 5000}", "in double quotes"),
        ("$.a < true", "compares numbers, or texts, and not true"),
        ("$.a >= null", "compares numbers, or texts, and not null"),
        ("$.a[", "must be a JSON path"),
        ("$.a b", "not a JSON path"),
        ("$..a", "descendants"),
        ("$[?@.a]", "filters"),
        ("$[0, 1]", "lists of selectors"),
        ('$["a", *]', "lists of selectors"),
        ("$.a | $.b", "not a JSON path"),
        ("$[" * 300 + "]" * 300, "JSON path"),
    ],
)
def test_other_conditions_on_json_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        JsonCondition.parse(text)
    assert str(error.value).isprintable(), "one line"


@PROPERTY
@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    for make in (JsonCondition.parse, HeaderCondition.parse, expressions.Pattern, expressions.Path, StatusRange.parse):
        with suppress(ValueError):
            make(text)


DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)
STEPS = st.sampled_from(["a", "b", 0, -1, 3])


@PROPERTY
@given(DOCUMENTS, st.lists(STEPS, max_size=4))
def test_a_path_leads_to_the_value_that_its_steps_lead_to(document: Any, steps: list[str | int]) -> None:
    expected = [document]
    for step in steps:
        try:
            expected = [expected[0][step]]
        except (KeyError, IndexError, TypeError):
            expected = []
            break
        if isinstance(step, int) and not isinstance(document, list | dict | str):
            break
    found = expressions.path("$" + "".join(f"[{json.dumps(step)}]" for step in steps)).values(document)
    if not _passes_text(document, steps):
        assert list(found) == expected


def _passes_text(document: Any, steps: list[str | int]) -> bool:
    """Whether steps lead through a text, whose characters have indexes in Python, but not in JSON."""
    for step in steps:
        if isinstance(document, str):
            return True
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return False
    return False


def test_wildcards_and_slices_lead_to_several_values() -> None:
    document = {"a": [{"n": 1}, {"n": 2}, {"m": 3}], "b": {"x": 4, "y": 5}, "c": "text"}
    for path, values in {
        "$.a[*].n": [1, 2], "$.b.*": [4, 5], "$.a[:2].n": [1, 2], "$.a[::-2].*": [3, 1], "$.c[*]": [], "$.c[0]": [],
        "$.a[0:2:0]": [], "$": [document],
    }.items():  # fmt: skip
        assert list(expressions.path(path).values(document)) == values, path
