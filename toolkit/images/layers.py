"""Parse the output of `docker pull`: the state of each layer, and received and total bytes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")
# docker/cli prints "ID: STATE", then a bar where the terminal is wide, then "CURRENT/TOTAL" in decimal units.
_LAYER = re.compile(
    r"(?P<id>[0-9a-f]{12}): (?P<state>[A-Z][A-Za-z ]*?)(?: *in \d+ seconds?| *\d+ s)?"
    r"(?: *\[[=> ]*\])?(?: *(?P<current>[\d.]+) ?(?P<unit>[kMGT]?B)(?:/(?P<total>[\d.]+) ?(?P<of_unit>[kMGT]?B))?)? *"
)
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_PROMPTS = ("Login prior to pull", "Username:", "Password:")

QUEUED, DOWNLOADING = {"Pulling fs layer", "Waiting"}, {"Downloading", "Retrying"}
ALREADY_PRESENT = "Already exists"


@dataclass
class Layer:
    """A layer, with the state that docker prints; sizes are compressed bytes."""

    state: str
    current: int = 0
    total: int = 0

    @property
    def received(self) -> int:
        """The received bytes."""
        if self.state in QUEUED:
            return 0
        return self.current if self.state in DOWNLOADING else self.total


@dataclass
class PullOutput:
    """The output of one `docker pull`, parsed line by line.

    ``sizes`` has the known sizes of layers, by the first 12 digits of their digest. ``last_progress`` is the time, by
    ``clock``, of the last line that differs from the one before it on the same layer.
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
        """Parse a line of output."""
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
            layer.total = layer.total or (_bytes(match["total"], match["of_unit"]) if match["total"] else 0)
        elif layer.state == "Retrying":
            layer.current = 0

    @property
    def _snapshot(self) -> tuple[Layer, ...]:
        """A copy of the layers: another thread adds to them."""
        return tuple(self.layers.values())

    @property
    def received(self) -> int:
        """The received bytes of the layers that have to be downloaded."""
        return sum(layer.received for layer in self._snapshot if layer.state != ALREADY_PRESENT)

    @property
    def total(self) -> int | None:
        """The total bytes of these layers; None until all sizes are known."""
        sizes = [layer.total for layer in self._snapshot if layer.state != ALREADY_PRESENT]
        return sum(sizes) if sizes and all(sizes) else None

    @property
    def queued(self) -> bool:
        """Whether all remaining layers wait in the engine's queue, behind those of other images."""
        remaining = [layer for layer in self._snapshot if layer.state in QUEUED | DOWNLOADING]
        return bool(remaining) and all(layer.state in QUEUED for layer in remaining)

    @property
    def downloaded(self) -> bool:
        """Whether all layers are downloaded, so that only the engine has work left."""
        return bool(self.layers) and all(layer.state not in QUEUED | DOWNLOADING for layer in self._snapshot)


def _bytes(number: str, unit: str) -> int:
    return round(float(number) * _UNITS[unit])
