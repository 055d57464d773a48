"""The search finds a secret in any context and encoding, also across pieces of a stream, and nothing else."""

from __future__ import annotations

import io
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.live.needles import CHUNK, needles, search, secrets_of

VALUE = "kJ9-x_4Tq~Zr0mW8yB2vNc5L?d"


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "admin:", "netmon_a:"])
@pytest.mark.parametrize("after", ["", "@", "@db:5432/x"])
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode], ids=["base64", "of URLs"])
def test_base64_in_any_context_is_found(before: str, after: str, encode: Callable[[bytes], bytes]) -> None:
    text = b"Authorization: Basic " + encode(f"{before}{VALUE}{after}".encode())
    assert search(needles({"secret": VALUE}), io.BytesIO(text))[0]


@pytest.mark.parametrize("text", [VALUE, quote(VALUE), quote(VALUE).replace("-", "%2D").replace("_", "%5F")])
def test_plain_and_url_encoded_values_are_found(text: str) -> None:
    found, size = search(needles({"secret": VALUE}), io.BytesIO(f"amqp://admin:{text}@rabbitmq".encode()))
    assert {needle.secret for needle in found} == {"secret"}
    assert size == len(f"amqp://admin:{text}@rabbitmq")


@pytest.mark.parametrize("cut", [1, len(VALUE) // 2, len(VALUE) - 1])
def test_a_value_across_two_pieces_is_found(cut: int) -> None:
    text = b"." * (CHUNK - cut) + VALUE.encode() + b"." * 10
    assert search(needles({"secret": VALUE}), io.BytesIO(text))[0]


@pytest.mark.parametrize("text", [VALUE[:-1], VALUE[1:], VALUE.swapcase(), b64encode(VALUE[1:].encode()).decode()])
def test_other_text_is_not_found(text: str) -> None:
    assert search(needles({"secret": VALUE}), io.BytesIO(text.encode())) == (set(), len(text))


def test_the_representation_of_a_needle_hides_the_value() -> None:
    assert VALUE not in repr(needles({"secret": VALUE}))


def test_readme_and_account_names_are_not_secrets(tmp_path: Path) -> None:
    (tmp_path / "alertmanager").mkdir()
    for name in ("redis_password.txt", "postgres_app_user.txt", "README.md", "alertmanager/smtp_password"):
        (tmp_path / name).write_text(f"{VALUE}\n")
    assert secrets_of(tmp_path) == {"redis_password": VALUE, "smtp_password": VALUE}


def test_a_short_value_is_rejected() -> None:
    with pytest.raises(AssertionError, match="too short"):
        needles({"secret": "admin"})
