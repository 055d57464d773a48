"""A hardening rule, and the violations of it that a service or a container has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from toolkit.policy.exemptions import Exemption
from toolkit.policy.running import Container


class Scope(Enum):
    """The configurations that a rule applies to."""

    EVERYWHERE = "every profile"
    OPEN = "without the security layer"
    HARDENED = "with the security layer"

    def includes(self, hardened: bool) -> bool:
        """Whether the rule applies with the security layer (``hardened``) or without."""
        return self is Scope.EVERYWHERE or (self is Scope.HARDENED) == hardened


@dataclass(frozen=True)
class Service:
    """A service of an effective configuration of the checkout ``root``; a ``job`` runs to completion."""

    name: str
    config: Mapping[str, Any]
    root: Path
    job: bool = False

    @property
    def mounts(self) -> list[Mapping[str, Any]]:
        """Its mounts, in Compose's long syntax."""
        return list(self.config.get("volumes", []))

    @property
    def binds(self) -> list[Mapping[str, Any]]:
        """Its bind mounts."""
        return [mount for mount in self.mounts if mount["type"] == "bind"]

    @property
    def limits(self) -> Mapping[str, Any]:
        """Its resource limits."""
        limits: Mapping[str, Any] = self.config.get("deploy", {}).get("resources", {}).get("limits", {})
        return limits


@dataclass(frozen=True)
class Violation:
    """A violation of a rule.

    Attributes:
        problem: The predicate of a message whose subject is the service.
        keys: Where the service's configuration has it.
        of: The object that an exemption has to name, such as a path or a port; empty if the rule has only one.
    """

    problem: str
    keys: tuple[str, ...] = ()
    of: str = ""


@dataclass(frozen=True)
class Rule:
    """A demand, with the matching controls of the CIS Docker Benchmark 1.6.

    ``static`` checks a service of the effective configuration, ``running`` a container as kernel and engine report it.
    """

    name: str
    control: str
    demands: str
    scope: Scope
    static: Callable[[Service], Iterator[Violation]]
    running: Callable[[Container], Iterator[Violation]]


def violations(
    rules: Iterable[Rule], found: Service | Container, *, hardened: bool
) -> Iterator[tuple[Rule, Violation]]:
    """The violations of the rules, exempt or not.

    Args:
        rules: The rules to apply.
        found: A service of the configuration, or a running container.
        hardened: Whether the security layer is in use.
    """
    for rule in rules:
        if rule.scope.includes(hardened):
            seen = rule.static(found) if isinstance(found, Service) else rule.running(found)
            yield from ((rule, violation) for violation in seen)


def unexempted(
    rules: Iterable[Rule], found: Service | Container, exemptions: Iterable[Exemption], *, hardened: bool
) -> Iterator[tuple[Rule, Violation]]:
    """The violations that no exemption of policy.yml covers; arguments as in `violations`."""
    for rule, violation in violations(rules, found, hardened=hardened):
        if not any(each.covers(found.name, rule.name, violation.of) for each in exemptions):
            yield rule, violation
