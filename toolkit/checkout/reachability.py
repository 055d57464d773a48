"""reachability.yml: who may open a connection to whom in production, and what the networks leave open beyond that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from pathlib import Path
from typing import Any

import yaml

from toolkit.core.errors import ToolkitError

FILE = "reachability.yml"
HOST, WORLD = "host", "world"
OUTSIDE = frozenset({HOST, WORLD})
"""What is no service: a process on this machine, and every other machine."""


class InvalidMatrixError(ToolkitError):
    """The file is no matrix."""


@dataclass(frozen=True, order=True)
class Connection:
    """From a service, the host or the world to one of these; ``port`` is ``number/protocol``, empty for the latter."""

    source: str
    to: str
    port: str = ""


@dataclass(frozen=True)
class Entry:
    """One destination: who may reach it, and what for."""

    to: str
    port: str
    sources: tuple[str, ...]
    because: str

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Entry:
        """An entry of the file, whose ports are TCP unless they say otherwise."""
        to, _, port = data["to"].partition(":")
        return cls(to, port if "/" in port or not port else f"{port}/tcp", tuple(data["from"]), data["because"])


@dataclass(frozen=True)
class Network:
    """A network of the compose files: its members, the host among them where it is the way to the ``world``.

    ``unused`` is why more is open than is allowed.
    """

    name: str
    members: tuple[str, ...]
    unused: str = ""
    world: bool = False


@dataclass(frozen=True)
class Matrix:
    """The file."""

    entries: tuple[Entry, ...]
    networks: tuple[Network, ...]

    @classmethod
    def load(cls, root: Path) -> Matrix:
        """Read reachability.yml of a checkout.

        Raises:
            BrokenMatrixError: it is missing, or not of this form.
        """
        path = root / FILE
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
            entries = tuple(Entry.read(entry) for entry in data["connections"])
            networks = tuple(
                Network(name, tuple(each["members"]), *(each.get(key, "") for key in ("unused", "world")))
                for name, each in data["networks"].items()
            )
        except OSError as error:
            raise InvalidMatrixError(
                f"cannot read {path}", error.strerror or str(error), f"git restore {FILE}"
            ) from error
        except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            fix = "connections have to, from and because; networks have members"
            raise InvalidMatrixError(f"{path} is no matrix", str(error), fix) from error
        return cls(entries, networks)

    @cached_property
    def allowed(self) -> frozenset[Connection]:
        """What must work."""
        return frozenset(
            Connection(source, entry.to, entry.port)
            for entry in self.entries
            for source in entry.sources
            if source != entry.to
        )

    @cached_property
    def unused(self) -> frozenset[Connection]:
        """What the networks leave open although nobody may use it."""
        return frozenset().union(*map(self.connections_in, self.networks)) - self.allowed

    def ports(self, service: str) -> frozenset[str]:
        """What a service listens on."""
        return frozenset(entry.port for entry in self.entries if entry.to == service)

    def connections_in(self, network: Network) -> frozenset[Connection]:
        """Every connection that a network makes possible."""
        pairs = permutations(network.members, 2)
        between = {Connection(source, to, port) for source, to in pairs for port in self.ports(to) or {""}}
        out = {Connection(member, WORLD) for member in network.members if network.world and member not in OUTSIDE}
        return frozenset(between | out)
