"""The texts of notifications in Alertmanager's configuration, and the command that renders them with a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

FOLDER = "/etc/alertmanager"


def rendering(template: str, *, html: bool = False) -> Sequence[str]:
    """The command that renders a template, with those of the templates folder and a sample notification."""
    return [
        "amtool", "template", "render", f"--template.glob={FOLDER}/templates/*.tmpl",
        f"--template.data={FOLDER}/template_data.json", f"--template.type={'html' if html else 'text'}",
        f"--template.text={template}",
    ]  # fmt: skip


def texts(configuration: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str], str]]:
    """Every text of a receiver that is a template, or the rest of one: the receiver, its keys, and the text."""
    for receiver in configuration.get("receivers") or ():
        for keys, text in _texts(receiver):
            yield receiver["name"], keys, text


def _texts(value: object, *keys: str) -> Iterator[tuple[Sequence[str], str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(each, *keys, str(key))
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, *keys)
    elif isinstance(value, str) and "{{" in value:
        yield keys, value
