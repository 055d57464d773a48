"""policy.yml: what a rule does not hold for, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from toolkit.core.errors import ToolkitError

FILE = "policy.yml"


class BrokenPolicyError(ToolkitError):
    """The file is no list of exceptions."""


@dataclass(frozen=True)
class Exemption:
    """One entry: ``rule`` does not hold for ``of`` of ``service``; what can stand there is the rule's own matter."""

    service: str
    rule: str
    reason: str
    of: str = ""

    def covers(self, service: str, rule: str, of: str) -> bool:
        """Whether this is what was found."""
        return (self.service, self.rule, self.of) == (service, rule, of)


def load(root: Path) -> tuple[Exemption, ...]:
    """The entries of policy.yml, in its order.

    Raises:
        BrokenPolicyError: the file is missing, or is no list of entries.
    """
    path = root / FILE
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return tuple(Exemption(**entry) for entry in data["exceptions"])
    except OSError as error:
        raise BrokenPolicyError(f"cannot read {path}", error.strerror or str(error), f"git restore {FILE}") from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        keys = "service, rule, reason and, where the rule asks for it, of"
        raise BrokenPolicyError(f"{path} is no list of exceptions", str(error), f"an entry has {keys}") from error
