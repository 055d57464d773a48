"""All of it: ``invoke observe.check``."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker
from toolkit.observe import correlation, grafana, metrics, panels, targets
from toolkit.observe.result import Result
from toolkit.observe.stack import Stack

CHECK = "dashboards"


def check(project: Project, docker: Docker) -> list[Result]:
    """Everything that was looked at, in the order of the checks.

    Raises:
        ToolkitError: the stack cannot be asked, or its dashboards and rules cannot be read.
    """
    stack = Stack.read(project, docker)
    try:
        of_metrics = list(metrics.check(stack))
        return [
            *targets.check(stack),
            *of_metrics,
            *panels.check(stack, of_metrics),
            *references(project),
            *grafana.check(project, stack),
            *correlation.check(stack),
        ]
    except (OSError, KeyError, ValueError) as error:
        raise ToolkitError("cannot read the rules and dashboards", f"{error!r}", "run: nox -s validate") from error


def references(project: Project) -> Iterator[Result]:
    """The uids, links and data sources of the dashboards lead to what exists, as ``validate`` checks it."""
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
            yield Result.of(CHECK, f"{each.__name__}: {len(findings)} places", "")
        for finding in problems:
            yield Result.of(CHECK, f"{finding.file}:{finding.line}", finding.problem)
