"""The report of a run of checks: findings with an outcome, their table, and the error if one has failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby
from typing import Any

from toolkit.core import console
from toolkit.core.errors import ToolkitError


class Outcome(StrEnum):
    """How a check ended, from the best to the worst; ``skipped`` is never counted as passed."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAILED = "failed"

    @property
    def severity(self) -> int:
        """0 for the best."""
        return list(Outcome).index(self)


@dataclass(frozen=True)
class Finding:
    """A result of a check.

    Attributes:
        check: The name of the check.
        outcome: Its outcome.
        detail: The result, or the problem.
        fix: The command or the change that fixes the problem.
        subject: The part that was checked, if the check has several.
        seconds: Its duration.
    """

    check: str
    outcome: Outcome
    detail: str = ""
    fix: str = ""
    subject: str = ""
    seconds: float = 0

    @classmethod
    def of(cls, check: str, subject: str, problem: str, detail: str = "") -> Finding:
        """A failed finding with ``problem``; an ok one if that is empty."""
        return cls(check, Outcome.FAILED if problem else Outcome.OK, problem or detail, subject=subject)

    @classmethod
    def skipped(cls, check: str, subject: str, reason: str) -> Finding:
        """A finding for a part that was not checked."""
        return cls(check, Outcome.SKIPPED, reason, subject=subject)

    @classmethod
    def of_error(cls, check: str, error: ToolkitError) -> Finding:
        """A failed finding for an error."""
        return cls(check, Outcome.FAILED, f"{error.what}: {error.why}" if error.why else error.what, error.fix)

    def document(self) -> dict[str, Any]:
        """The fields of the JSON document."""
        return {
            "check": self.check,
            "subject": self.subject,
            "outcome": str(self.outcome),
            "detail": self.detail,
            "fix": self.fix,
            "seconds": round(self.seconds, 3),
        }

    @property
    def name(self) -> str:
        """The check and its subject."""
        return f"{self.check} ({self.subject})" if self.subject else self.check


NO_FINDINGS: Mapping[str, Any] = {"findings": []}
"""The fields of the JSON document if nothing could be checked."""

Columns = Mapping[str, Callable[[Finding], str]]
"""The heading of each column, and its cell for a finding."""


def one_line(finding: Finding) -> str:
    """The detail without line breaks."""
    return " ".join(finding.detail.split())


@dataclass(frozen=True)
class Report:
    """The findings of a run.

    Attributes:
        kind: The noun for the findings, in the plural: ``smoke checks``.
        findings: The findings, in display order.
        columns: The columns of the table; the last one also shows the fix.
        fix: The fix in the error of a failed report.
        condensed: Show one line for all ok findings of a check.
        facts: Further fields of a finding in the JSON document.
    """

    kind: str
    findings: Sequence[Finding]
    columns: Columns = field(
        default_factory=lambda: {"": lambda each: each.outcome, "check": lambda each: each.check, "finding": one_line}
    )
    fix: str = ""
    condensed: bool = False
    facts: Callable[[Finding], Mapping[str, Any]] = lambda _finding: {}

    def count(self, outcome: Outcome) -> int:
        """The number of findings with an outcome."""
        return sum(each.outcome is outcome for each in self.findings)

    def show(self) -> None:
        """Print the table, each fix below its finding."""
        rows: list[Sequence[str]] = []
        styles: list[str] = []
        for finding in _condensed(self.findings) if self.condensed else self.findings:
            rows.append([cell(finding) for cell in self.columns.values()])
            styles.append("" if finding.outcome is Outcome.OK else finding.outcome)
            if finding.fix:
                rows.append([*[""] * (len(self.columns) - 1), f"fix: {finding.fix}"])
                styles.append("")
        console.table(tuple(self.columns), rows, styles)

    def document(self) -> dict[str, Any]:
        """The fields of the JSON document, see `toolkit.core.presentation`: every finding, none condensed."""
        return {"findings": [{**finding.document(), **self.facts(finding)} for finding in self.findings]}

    def require(self) -> None:
        """Return if something was checked and nothing has failed.

        Raises:
            ToolkitError: some checks failed, or all were skipped.
        """
        failed = [each.name for each in self.findings if each.outcome is Outcome.FAILED]
        if failed:
            names = ", ".join(failed[:SHOWN]) + f" and {len(failed) - SHOWN} more" * (len(failed) > SHOWN)
            raise ToolkitError(f"{len(failed)} of {len(self.findings)} {self.kind} failed", names, self.fix)
        if all(each.outcome is Outcome.SKIPPED for each in self.findings):
            raise ToolkitError(
                f"none of the {self.kind} could run", "all were skipped", "invoke status shows what runs"
            )


SHOWN = 5
"""The maximum number of failed findings in an error."""


def _condensed(findings: Sequence[Finding]) -> list[Finding]:
    """For each check one finding for all its ok findings, followed by the others."""
    shown: list[Finding] = []
    for _, group in groupby(findings, key=lambda each: each.check):
        all_of_check = list(group)
        fine = [each for each in all_of_check if each.outcome is Outcome.OK]
        if len(fine) > 1:
            shown.append(replace(fine[0], subject=f"{len(fine)} of {len(all_of_check)}", detail=""))
        else:
            shown += fine
        shown += [each for each in all_of_check if each.outcome is not Outcome.OK]
    return shown
