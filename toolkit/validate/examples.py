"""The rendered examples of notifications in docs/notifications.md: ``python -m toolkit.validate.examples`` writes them.

They are golden files: `nox -s validate` renders each text again, in Alertmanager's image, and compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from toolkit.core import terminal
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker
from toolkit.validate import notifications
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding

DOCUMENT, ALERTING = "docs/notifications.md", "monitoring/alertmanager/alertmanager.yml"
DATA = "example_data.json"
"""The notification: two monitored targets, one of which is up again."""
BEGIN = "<!-- made: examples -->\n"
END = "<!-- /made -->"

_SECTION = re.compile(r"^## (?P<receiver>[\w-]+)\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^`(?P<setting>[\w.]+)`\n\n```\w+\n(?P<text>.*?)\n```$", re.MULTILINE | re.DOTALL)

Place = tuple[str, str]
"""The name of a receiver and the path of its setting."""


def read(checkout: Checkout) -> dict[Place, str]:
    """The examples of the document."""
    made = (checkout.root / DOCUMENT).read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    return {
        (section["receiver"], example["setting"]): example["text"]
        for section in _SECTION.finditer(made)
        for example in _EXAMPLE.finditer(section["text"])
    }


def complete(checkout: Checkout) -> Iterator[Finding]:
    """Every text of a receiver has an example, and every example is one of a text."""
    known = {text.place for text in notifications.texts(checkout.source(ALERTING).data)}
    found = read(checkout).keys()
    for receiver, setting in sorted(known | found):
        problem = "" if (receiver, setting) in known & found else f"{receiver}: {setting} has no example"
        if (receiver, setting) in found - known:
            problem = f"{receiver}: {setting} is no text of the receiver"
        yield Finding(DOCUMENT, 1, problem and f"{problem}: run python -m toolkit.validate.examples")


def write(checkout: Checkout, rendered: Mapping[Place, str]) -> str:
    """The document with these examples."""
    before, begin, rest = (checkout.root / DOCUMENT).read_text(encoding="utf-8").partition(BEGIN)
    lines: list[str] = []
    last = ""
    for (receiver, setting), text in rendered.items():
        if receiver != last:
            lines += [f"## {receiver}", ""]
            last = receiver
        language = "html" if setting == "html" else "text"
        lines += [f"`{setting}`", "", f"```{language}", text, "```", ""]
    return before + begin + "\n" + "\n".join(lines) + END + rest.partition(END)[2]


def render(checkout: Checkout, docker: Docker) -> dict[Place, str]:
    """Render the texts of all receivers in an Alertmanager container.

    Raises:
        ToolkitError: one of them cannot be rendered.
    """
    image = alertmanager_image(checkout, docker)
    folder = f"--volume={checkout.root / 'monitoring/alertmanager'}:{notifications.FOLDER}:ro"
    found = {}
    for text in notifications.texts(checkout.source(ALERTING).data):
        program, *arguments = notifications.rendering(text.template, DATA, html=text.is_html)
        done = docker("run", "--rm", "--network=none", folder, f"--entrypoint={program}", image, *arguments)
        if done.code:
            raise ToolkitError(f"cannot render {' '.join(text.place)}", done.stderr.strip(), "correct the template")
        found[text.place] = done.stdout.rstrip("\n")
    return found


def alertmanager_image(checkout: Checkout, docker: Docker) -> str:
    """The image of Alertmanager that is on this machine.

    Raises:
        ToolkitError: there is none.
    """
    found = [each.services["alertmanager"]["image"] for each in checkout.full_configurations
             if "alertmanager" in each.services]  # fmt: skip
    for image in dict.fromkeys(found):
        if not docker("image", "inspect", image).code:
            return str(image)
    raise ToolkitError("cannot render", "no image of Alertmanager is on this machine", "run: invoke images.prepare")


def main() -> None:
    """Write the document."""
    checkout = Checkout(Path(__file__).parents[2])
    (checkout.root / DOCUMENT).write_text(write(checkout, render(checkout, Docker(checkout.root))), encoding="utf-8")


if __name__ == "__main__":
    terminal.run(main)
