"""What a rule is, and what breaks one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from toolkit.policy.exemptions import Exemption
from toolkit.policy.running import Container


class Scope(Enum):
    """Where a rule holds."""

    EVERYWHERE = "every profile"
    OPEN = "without the security layer"
    HARDENED = "with the security layer"

    def includes(self, hardened: bool) -> bool:
        """Whether it holds with the security layer (``hardened``), or without."""
        return self is Scope.EVERYWHERE or (self is Scope.HARDENED) == hardened


@dataclass(frozen=True)
class Service:
    """A service of an effective configuration of the checkout ``root``; ``job``: it runs to its end."""

    name: str
    config: Mapping[str, Any]
    root: Path
    job: bool = False

    @property
    def mounts(self) -> list[Mapping[str, Any]]:
        """What it mounts, in Compose's long form."""
        return list(self.config.get("volumes", []))

    @property
    def binds(self) -> list[Mapping[str, Any]]:
        """What it mounts of the host's files."""
        return [mount for mount in self.mounts if mount["type"] == "bind"]

    @property
    def limits(self) -> Mapping[str, Any]:
        """What it may use at most."""
        limits: Mapping[str, Any] = self.config.get("deploy", {}).get("resources", {}).get("limits", {})
        return limits


@dataclass(frozen=True)
class Violation:
    """What breaks a rule: in words that follow the service's name, at which key, and what an exemption would name."""

    problem: str
    keys: tuple[str, ...] = ()
    of: str = ""


@dataclass(frozen=True)
class Rule:
    """What is demanded, and which control of the CIS Docker Benchmark 1.6 it is.

    ``written`` looks at the service as Compose sees it, ``running`` at its container as kernel and engine do.
    """

    name: str
    control: str
    demands: str
    scope: Scope
    written: Callable[[Service], Iterator[Violation]]
    running: Callable[[Container], Iterator[Violation]]


def violations(
    rules: Iterable[Rule], found: Service | Container, *, hardened: bool
) -> Iterator[tuple[Rule, Violation]]:
    """What breaks the rules, exempt or not.

    Args:
        rules: Which rules to apply.
        found: A service of the configuration, or a running container.
        hardened: Whether the security layer is in use.
    """
    for rule in rules:
        if rule.scope.includes(hardened):
            seen = rule.written(found) if isinstance(found, Service) else rule.running(found)
            yield from ((rule, violation) for violation in seen)


def broken(
    rules: Iterable[Rule], found: Service | Container, exemptions: Iterable[Exemption], *, hardened: bool
) -> Iterator[tuple[Rule, Violation]]:
    """The same without what policy.yml exempts."""
    for rule, violation in violations(rules, found, hardened=hardened):
        if not any(each.covers(found.name, rule.name, violation.of) for each in exemptions):
            yield rule, violation
