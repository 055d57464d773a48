"""One report for every command that checks something: its table, and when it fails."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from toolkit.core.errors import ToolkitError
from toolkit.core.report import SHOWN, Finding, Outcome, Report

OK = Finding("engine", Outcome.OK, "Docker Engine 28")
WARNING = Finding("shell", Outcome.WARNING, "X is set", "run: unset X")
FAILED = Finding.of("metrics", "up", "it is\nmissing")
SKIPPED = Finding.skipped("panels", "Lines", "no Loki")


def test_a_fix_is_shown_below_its_finding(capsys: pytest.CaptureFixture[str]) -> None:
    Report("checks", [OK, WARNING, FAILED]).show()
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"ok +engine +Docker Engine 28", lines[1])
    assert re.fullmatch(r"warning +shell +X is set", lines[2])
    assert lines[3].strip() == "fix: run: unset X"
    assert lines[3].index("fix") == lines[2].index("X is set")
    assert re.fullmatch(r"failed +metrics +it is missing", lines[4]), "on one line"


def test_a_condensed_table_counts_the_findings_of_a_check_that_are_ok(capsys: pytest.CaptureFixture[str]) -> None:
    columns = {"check": lambda each: each.check, "subject": lambda each: each.subject, "": lambda each: each.outcome}
    fine = [Finding.of("metrics", name, "", "seen") for name in ("a", "b")]
    Report("checks", [fine[0], FAILED, fine[1], SKIPPED], columns, condensed=True).show()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [["metrics", "2", "of", "3", "ok"], ["metrics", "up", "failed"], ["panels", "Lines", "skipped"]]


@pytest.mark.parametrize("findings", [[OK], [OK, SKIPPED], [OK, WARNING], [WARNING]])
def test_a_report_without_a_failure_passes(findings: Sequence[Finding]) -> None:
    Report("checks", findings).require()


def test_a_report_with_a_failure_names_it_and_the_fix() -> None:
    with pytest.raises(ToolkitError, match=r"1 of 2 smoke checks failed: metrics \(up\)\n  fix: see the table"):
        Report("smoke checks", [OK, FAILED], fix="see the table").require()


def test_a_report_with_many_failures_names_the_first() -> None:
    with pytest.raises(ToolkitError, match=f"{SHOWN + 2} of {SHOWN + 2} checks failed: .* and 2 more$"):
        Report("checks", [FAILED] * (SHOWN + 2)).require()


@pytest.mark.parametrize("findings", [[], [SKIPPED]])
def test_a_report_without_a_check_that_ran_fails(findings: Sequence[Finding]) -> None:
    with pytest.raises(ToolkitError, match="none of the checks could run"):
        Report("checks", findings).require()


def test_outcomes_are_ordered_from_the_best_to_the_worst() -> None:
    assert max(Outcome, key=lambda each: each.severity) is Outcome.FAILED
    assert min(Outcome, key=lambda each: each.severity) is Outcome.OK
