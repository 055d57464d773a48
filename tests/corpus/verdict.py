"""The form of a verdict, and what all clients have in common."""

from __future__ import annotations

from typing import TypedDict

SECONDS = 2
"""How long each client may take."""


class Verdict(TypedDict):
    """What a client makes of an answer."""

    status: int | None
    """Of the response that it shows; None if there is none."""
    error: str | None
    """Its own name of what is wrong: the number of curl's exit, the error of Chromium, the log of blackbox_exporter."""
    text: bool
    """Whether it shows the text."""
