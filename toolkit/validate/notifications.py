"""The texts of notifications in Alertmanager's configuration, and the command that renders them with a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

FOLDER = "/etc/alertmanager"
SAMPLE = "template_data.json"
"""A notification with a relative address of a runbook, in the folder of Alertmanager's configuration."""


class Text(NamedTuple):
    """A text of a receiver that is a template, or the rest of one."""

    receiver: str
    keys: Sequence[str]
    """The path of the setting within the receiver, without the indices of lists."""
    template: str

    @property
    def setting(self) -> str:
        """The path of the setting within the configuration of a channel."""
        return ".".join(self.keys[1:])

    @property
    def place(self) -> tuple[str, str]:
        """The receiver and the setting."""
        return self.receiver, self.setting

    @property
    def is_html(self) -> bool:
        """Whether values are escaped for HTML."""
        return self.keys[-1] == "html"


def rendering(template: str, data: str = SAMPLE, *, html: bool = False) -> Sequence[str]:
    """The command that renders a template, with those of the templates folder and the data of a notification."""
    return [
        "amtool", "template", "render", f"--template.glob={FOLDER}/templates/*.tmpl",
        f"--template.data={FOLDER}/{data}", f"--template.type={'html' if html else 'text'}",
        f"--template.text={template}",
    ]  # fmt: skip


def texts(configuration: Mapping[str, Any]) -> Iterator[Text]:
    """Every text of a receiver that is a template, or the rest of one."""
    for receiver in configuration.get("receivers") or ():
        for keys, text in _texts(receiver):
            yield Text(receiver["name"], keys, text)


def _texts(value: object, *keys: str) -> Iterator[tuple[Sequence[str], str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(each, *keys, str(key))
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, *keys)
    elif isinstance(value, str) and "{{" in value:
        yield keys, value
