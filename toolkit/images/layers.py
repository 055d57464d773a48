"""What `docker pull` prints about the layers of an image: how many bytes are here, how many are to come."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")
# docker/cli prints "ID: STATE", then a bar where the terminal is wide, then "CURRENT/TOTAL" in decimal units.
_LAYER = re.compile(
    r"(?P<id>[0-9a-f]{12}): (?P<state>[A-Z][A-Za-z ]*?)(?: *in \d+ seconds?| *\d+ s)?"
    r"(?: *\[[=> ]*\])?(?: *(?P<current>[\d.]+) ?(?P<unit>[kMGT]?B)(?:/(?P<total>[\d.]+) ?(?P<whole>[kMGT]?B))?)? *"
)
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_PROMPTS = ("Login prior to pull", "Username:", "Password:")

QUEUED, DOWNLOADING = {"Pulling fs layer", "Waiting"}, {"Downloading", "Retrying"}
ALREADY_PRESENT = "Already exists"


@dataclass
class Layer:
    """A layer in the state that docker names; sizes in bytes, compressed."""

    state: str
    current: int = 0
    total: int = 0

    @property
    def received(self) -> int:
        """The bytes that have come."""
        if self.state in QUEUED:
            return 0
        return self.current if self.state in DOWNLOADING else self.total


@dataclass
class PullOutput:
    """The output of one `docker pull` so far, line by line.

    ``sizes`` are the sizes of layers by the beginning of their digests (12 digits), where they are known. ``moved`` is
    when the last line with something new was printed, by ``clock``.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    layers: dict[str, Layer] = field(default_factory=dict)
    wants_login: bool = False
    last_progress: float = field(init=False)
    _last: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.last_progress = self.clock()

    def feed(self, text: str) -> None:
        """Take in a line."""
        line = _ESCAPES.sub("", text)
        self.wants_login |= line.startswith(_PROMPTS)
        match = _LAYER.fullmatch(line)
        about = match["id"] if match else ""
        if not line.strip() or self._last.get(about) == line:
            return
        self._last[about], self.last_progress = line, self.clock()
        if match:
            self._update(match)

    def _update(self, match: re.Match[str]) -> None:
        layer = self.layers.setdefault(match["id"], Layer(""))
        layer.state = match["state"].strip()
        layer.total = self.sizes.get(match["id"], layer.total)
        if layer.state == "Downloading" and match["current"]:
            layer.current = _bytes(match["current"], match["unit"])
            layer.total = layer.total or (_bytes(match["total"], match["whole"]) if match["total"] else 0)
        elif layer.state == "Retrying":
            layer.current = 0

    @property
    def _snapshot(self) -> tuple[Layer, ...]:
        """The layers now: another thread adds to them."""
        return tuple(self.layers.values())

    @property
    def received(self) -> int:
        """The bytes that have come of the layers that were not here before."""
        return sum(layer.received for layer in self._snapshot if layer.state != ALREADY_PRESENT)

    @property
    def total(self) -> int | None:
        """The bytes of those layers; None until the size of each is known."""
        sizes = [layer.total for layer in self._snapshot if layer.state != ALREADY_PRESENT]
        return sum(sizes) if sizes and all(sizes) else None

    @property
    def queued(self) -> bool:
        """Whether the engine has not yet begun with any of the layers that are to come: others go first."""
        to_come = [layer for layer in self._snapshot if layer.state in QUEUED | DOWNLOADING]
        return bool(to_come) and all(layer.state in QUEUED for layer in to_come)

    @property
    def downloaded(self) -> bool:
        """Whether all that comes from the registry is here, so that what is still to be done is the engine's."""
        return bool(self.layers) and all(layer.state not in QUEUED | DOWNLOADING for layer in self._snapshot)


def _bytes(number: str, unit: str) -> int:
    return round(float(number) * _UNITS[unit])
