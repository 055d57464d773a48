"""What a check says about one place in one file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Finding:
    """A place that a check looked at; ``problem`` is empty where nothing is wrong."""

    file: str
    line: int
    problem: str = ""

    def __str__(self) -> str:
        """The form that editors and CI systems make clickable."""
        return f"{self.file}:{self.line}: {self.problem}"


class BrokenFileError(Exception):
    """A file that cannot be read at all: every check that needs it ends with this finding."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(str(finding))
