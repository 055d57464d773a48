"""What a check found, and the table of all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from toolkit.core import console
from toolkit.core.errors import ToolkitError
from toolkit.core.outcome import Outcome


@dataclass(frozen=True)
class Result:
    """What came of looking at ``subject``; ``detail`` says what was found, or what is wrong."""

    check: str
    subject: str
    outcome: Outcome
    detail: str = ""

    @classmethod
    def of(cls, check: str, subject: str, problem: str, detail: str = "") -> Result:
        """Failed with ``problem``; ok where there is none."""
        return cls(check, subject, Outcome.FAILED if problem else Outcome.OK, problem or detail)

    @classmethod
    def skipped(cls, check: str, subject: str, why: str) -> Result:
        """Not looked at."""
        return cls(check, subject, Outcome.SKIPPED, why)


def show(results: Sequence[Result]) -> None:
    """Print the table: a line for what each check found in order, and one for everything else."""
    rows: list[tuple[str, str, str, str]] = []
    for check, group in groupby(results, key=lambda each: each.check):
        each_of = list(group)
        fine = [each for each in each_of if each.outcome is Outcome.OK]
        if fine:
            detail = fine[0].detail if len(fine) == 1 else ""
            subject = fine[0].subject if len(fine) == 1 else f"{len(fine)} of {len(each_of)}"
            rows.append((check, Outcome.OK, subject, detail))
        rows += [
            (check, each.outcome, each.subject, " ".join(each.detail.split()))
            for each in each_of
            if each.outcome is not Outcome.OK
        ]
    styles = ["" if row[1] == Outcome.OK else row[1] for row in rows]
    console.table(("check", "outcome", "subject", "detail"), rows, styles)


def require(results: Sequence[Result]) -> None:
    """Return if something was looked at and nothing is wrong.

    Raises:
        ToolkitError: saying how much is.
    """
    failed = sum(each.outcome is Outcome.FAILED for each in results)
    if failed:
        raise ToolkitError(f"{failed} of {len(results)} findings are failures", "the table names each")
    if not any(each.outcome is Outcome.OK for each in results):
        raise ToolkitError("nothing could be looked at", "every check was skipped", "invoke status shows what runs")
