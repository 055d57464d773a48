"""The rendered examples of notifications."""

from __future__ import annotations

from pathlib import Path

from toolkit.validate import examples, notifications
from toolkit.validate.checkout import Checkout

ROOT = Path(__file__).parents[4]


def test_the_document_is_written_as_it_is_read() -> None:
    checkout = Checkout(ROOT)
    found = examples.read(checkout)
    assert examples.write(checkout, found) == (ROOT / examples.DOCUMENT).read_text()
    assert {receiver for receiver, _ in found} >= {"email", "msteams", "telegram", "jira"}


def test_every_channel_with_texts_names_the_target() -> None:
    found = examples.read(Checkout(ROOT))
    for receiver in {receiver for receiver, _ in found}:
        shown = "\n".join(text for (name, _), text in found.items() if name == receiver)
        assert "Orders is down" in shown, receiver
        assert "token=•••" in shown, receiver


def test_texts_are_those_of_all_receivers() -> None:
    channel = {
        "title": "{{ .Status }}",
        "url": "http://a",
        "headers": {"Subject": "x {{ .Status }}"},
        "html": "{{ 1 }}",
    }
    found = list(notifications.texts({"receivers": [{"name": "a", "email_configs": [channel]}, {"name": "b"}]}))
    assert [each.place for each in found] == [("a", "title"), ("a", "headers.Subject"), ("a", "html")]
    assert [each.is_html for each in found] == [False, False, True]
