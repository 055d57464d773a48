"""Host names: one ASCII form for all kinds, that of browsers."""

import idna
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from netmon.hostnames import to_ascii
from netmon.specs import DnsSpec, HttpSpec, PingSpec, TcpSpec, normal_host
from tests.unit.app.properties import PROPERTY

LETTERS = st.characters(categories=["L", "M", "N", "S"]) | st.sampled_from("ßςİ。\uff0e-\u200c\u200d")
NAMES = st.lists(st.text(LETTERS, min_size=1, max_size=8), min_size=1, max_size=3).map(".".join)


@PROPERTY
@given(NAMES)
@example("Straße.de")
@example("ΣΊΣΥΦΟΣ.gr")
@example("a。b\uff0ec")
def test_names_are_encoded_as_by_idna_2008(name: str) -> None:
    assume(not name.isascii())
    try:
        expected = idna.encode(name, uts46=True).decode()
    except UnicodeError:
        return
    assert to_ascii(name) == expected.rstrip(".")


@PROPERTY
@given(NAMES)
def test_a_name_is_rejected_or_encoded_as_its_mapping(name: str) -> None:
    assume(not name.isascii())
    try:
        encoded = to_ascii(name)
    except ValueError:
        return
    assert encoded == to_ascii(encoded)
    decoded = [
        label.removeprefix("xn--").encode().decode("punycode") if label.startswith("xn--") else label
        for label in encoded.split(".")
    ]
    assert ".".join(decoded) == idna.uts46_remap(name, std3_rules=False).rstrip(".")


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("straße.de", "xn--strae-oqa.de"),
        ("STRASSE.de", "strasse.de"),
        ("☕.example", "xn--53h.example"),  # browsers accept what IDNA 2008 does not
        ("ab--c.ö", "ab--c.xn--nda"),
        ("_srv.ö.de", "_srv.xn--nda.de"),
        ("\uff11\uff12\uff17.0.0.1", "127.0.0.1"),
        # Of former releases, which mapped by IDNA 2003: stored specs stay readable.
        ("xn--a.de", "xn--a.de"),
        ("xn--fa-hia.de", "xn--fa-hia.de"),
    ],
)
def test_names(name: str, encoded: str) -> None:
    assert to_ascii(name) == encoded


@pytest.mark.parametrize(
    "name", ["", ".", "ö..de", "\u0301a.de", "a\u200db.de", "אa.de", "ö/a", "ö a", "ö\uff03a", "ö" * 300]
)
def test_names_that_browsers_refuse_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="not a valid host name"):
        to_ascii(name)


@PROPERTY
@given(st.text("abcäößςЖ日語é", min_size=1, max_size=10))
@example("straße")
@example("straße☕")
def test_all_kinds_ask_for_the_same_name(label: str) -> None:
    name = f"{label}.example"
    asked = HttpSpec(url=f"http://{name}/").url.removeprefix("http://").removesuffix("/")
    assert asked == TcpSpec(host=name, port=1).host == PingSpec(host=name).host == DnsSpec(name=name).name


def test_an_address_in_other_digits_is_an_address() -> None:
    assert normal_host("\uff11\uff12\uff17.0.0.1") == "127.0.0.1"
