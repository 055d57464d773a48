"""reachability.yml: the allowed connections in production, and those that the networks permit beyond them."""

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
"""Endpoints outside the stack: processes on this host, and every other host."""


class InvalidMatrixError(ToolkitError):
    """The file is missing or is not a valid matrix."""


@dataclass(frozen=True, order=True)
class Connection:
    """A connection between services, host and world; ``port`` is ``number/protocol``, empty for host and world."""

    source: str
    to: str
    port: str = ""


@dataclass(frozen=True)
class Entry:
    """A destination, the sources that may connect to it, the purpose, and the only network it listens on, if any."""

    to: str
    port: str
    sources: tuple[str, ...]
    because: str
    network: str = ""

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Entry:
        """Parse an entry of the file; a port without a protocol is TCP."""
        to, _, port = data["to"].partition(":")
        full = port if "/" in port or not port else f"{port}/tcp"
        return cls(to, full, tuple(data["from"]), data["because"], data.get("network", ""))


@dataclass(frozen=True)
class Network:
    """A network of the compose files and its members, which include the host if the network leads to the ``world``.

    ``unused`` is the reason for connections that are possible but not allowed.
    """

    name: str
    members: tuple[str, ...]
    unused: str = ""
    world: bool = False


@dataclass(frozen=True)
class Matrix:
    """The content of reachability.yml."""

    entries: tuple[Entry, ...]
    networks: tuple[Network, ...]

    @classmethod
    def load(cls, root: Path) -> Matrix:
        """Read reachability.yml of a checkout.

        Raises:
            InvalidMatrixError: the file is missing or is not a valid matrix.
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
            fix = "keys of a connection: to, from, network, because; keys of a network: members, unused, world"
            raise InvalidMatrixError(f"{path} is not a valid matrix", str(error), fix) from error
        return cls(entries, networks)

    @cached_property
    def allowed(self) -> frozenset[Connection]:
        """The connections that must work."""
        return frozenset(
            Connection(source, entry.to, entry.port)
            for entry in self.entries
            for source in entry.sources
            if source != entry.to
        )

    @cached_property
    def unused(self) -> frozenset[Connection]:
        """The connections that the networks permit but no entry allows."""
        return frozenset().union(*map(self.connections_in, self.networks)) - self.allowed

    def ports(self, service: str) -> frozenset[str]:
        """The ports that a service listens on."""
        return frozenset(entry.port for entry in self.entries if entry.to == service)

    def connections_in(self, network: Network) -> frozenset[Connection]:
        """Every connection that a network permits."""
        pairs = permutations(network.members, 2)
        closed = {(each.to, each.port) for each in self.entries if each.network not in ("", network.name)}
        between = {
            Connection(source, to, port)
            for source, to in pairs
            for port in self.ports(to) or {""}
            if (to, port) not in closed
        }
        out = {Connection(member, WORLD) for member in network.members if network.world and member not in OUTSIDE}
        return frozenset(between | out)
