"""The finding of a check: one place in one file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Finding:
    """A place that a check inspected; ``problem`` is empty if there is none."""

    file: str
    line: int
    problem: str = ""

    def __str__(self) -> str:
        """``file:line: problem``, which editors and CI systems make clickable."""
        return f"{self.file}:{self.line}: {self.problem}"


class BrokenFileError(Exception):
    """An unreadable file: every check that needs it ends with this finding."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(str(finding))
