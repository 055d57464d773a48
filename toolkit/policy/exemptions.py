"""policy.yml: the exceptions from the hardening rules, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from toolkit.core.errors import ToolkitError

FILE = "policy.yml"


class InvalidPolicyError(ToolkitError):
    """The file is missing or is not a list of exceptions."""


@dataclass(frozen=True)
class Exemption:
    """One exception: ``service`` may break ``rule``.

    ``of`` is the object of the violation (`Violation.of`), such as a path or a port; empty where the rule has only one.
    """

    service: str
    rule: str
    reason: str
    of: str = ""

    def covers(self, service: str, rule: str, of: str) -> bool:
        """Whether it permits this violation."""
        return (self.service, self.rule, self.of) == (service, rule, of)


def load(root: Path) -> tuple[Exemption, ...]:
    """The exceptions of policy.yml, in file order.

    Raises:
        InvalidPolicyError: the file is missing or is not a list of exceptions.
    """
    path = root / FILE
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return tuple(Exemption(**entry) for entry in data["exceptions"])
    except OSError as error:
        raise InvalidPolicyError(f"cannot read {path}", error.strerror or str(error), f"git restore {FILE}") from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        keys = "service, rule, reason and, if the rule has several objects, of"
        raise InvalidPolicyError(f"{path} is not a valid list of exceptions", str(error), f"keys: {keys}") from error
