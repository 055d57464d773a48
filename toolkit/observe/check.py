"""All checks of ``invoke observe.check``."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Columns, Finding, Report, one_line
from toolkit.engine.compose import Docker
from toolkit.observe import correlation, disks, grafana, metrics, panels, targets
from toolkit.observe.stack import Stack

CHECK = "dashboards"

COLUMNS: Columns = {
    "check": lambda finding: finding.check,
    "outcome": lambda finding: finding.outcome,
    "subject": lambda finding: finding.subject,
    "detail": one_line,
}


def check(project: Project, docker: Docker) -> Report:
    """The findings of every check, in order.

    Raises:
        ToolkitError: the stack cannot be queried, or its dashboards and rules cannot be read.
    """
    stack = Stack.read(project, docker)
    try:
        metric_findings = list(metrics.check(stack))
        findings = [
            *targets.check(stack),
            *disks.check(stack),
            *metric_findings,
            *panels.check(stack, metric_findings),
            *references(project),
            *grafana.check(project, stack),
            *correlation.check(stack),
        ]
    except (OSError, KeyError, ValueError) as error:
        raise ToolkitError("cannot read the rules and dashboards", f"{error!r}", "run: nox -s validate") from error
    return Report("checks", findings, COLUMNS, "see the table", condensed=True)


def references(project: Project) -> Iterator[Finding]:
    """The uids, links and data sources of the dashboards, checked as in ``validate``."""
    from toolkit.validate import dashboards, datasources
    from toolkit.validate.checkout import Checkout
    from toolkit.validate.findings import BrokenFileError

    checkout = Checkout(project.root)
    for each in (dashboards.models, dashboards.links, datasources.references):
        try:
            findings = list(each(checkout))
        except BrokenFileError as error:
            findings = [error.finding]
        problems = [finding for finding in findings if finding.problem]
        if not problems:
            yield Finding.of(CHECK, f"{each.__name__}: {len(findings)} places", "")
        for finding in problems:
            yield Finding.of(CHECK, f"{finding.file}:{finding.line}", finding.problem)
