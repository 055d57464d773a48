"""Runs the checks and gathers what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from toolkit.validate import (
    alerting,
    alerts,
    contracts,
    credentials,
    dashboards,
    datasources,
    dockerfiles,
    documents,
    environment,
    images,
    isolation,
    layers,
    manifest,
    mounts,
    pipelines,
    policy,
    ports,
    programs,
    queries,
    reachability,
    resources,
    runbooks,
    scrapes,
    services,
    style,
    supply,
)
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import BrokenFileError, Finding
from toolkit.validate.programs import Skipped

Check = Callable[[Checkout], Iterator[Finding | Skipped]]

CHECKS: tuple[Check, ...] = (
    layers.combinations,
    layers.schema,
    manifest.files,
    manifest.groups,
    manifest.timeouts,
    services.health,
    services.logging,
    services.dependencies,
    images.registry,
    images.local,
    supply.locked,
    supply.unprivileged,
    contracts.known,
    contracts.programs,
    contracts.arguments,
    contracts.variables,
    contracts.dependencies,
    contracts.users,
    contracts.writable,
    contracts.volumes,
    contracts.logs,
    dockerfiles.contract,
    ports.published,
    ports.addresses,
    mounts.sources,
    environment.mappings,
    environment.messages,
    environment.example,
    credentials.declared,
    credentials.accounts,
    credentials.supplied,
    credentials.granted,
    credentials.hidden,
    isolation.coupling,
    policy.rules,
    policy.exceptions,
    reachability.matrix,
    reachability.members,
    reachability.possible,
    reachability.needed,
    reachability.isolated,
    documents.tables,
    resources.networks,
    resources.volumes,
    scrapes.targets,
    scrapes.loaded,
    scrapes.services,
    scrapes.apart,
    scrapes.replaced,
    scrapes.intervals,
    alerts.labels,
    alerts.texts,
    alerts.tests,
    alerts.timing,
    alerts.names,
    alerts.sums,
    runbooks.shape,
    runbooks.dashboards,
    alerting.receivers,
    alerting.routes,
    alerting.secrets,
    pipelines.collector,
    pipelines.loki,
    pipelines.tempo,
    pipelines.grafana,
    dashboards.models,
    dashboards.titles,
    dashboards.panels,
    dashboards.links,
    dashboards.home,
    datasources.provisioned,
    datasources.references,
    queries.parsed,
    queries.variables,
    queries.metrics,
    queries.sums,
    queries.missed,
    queries.excused,
    style.key_order,
    style.headers,
)


@dataclass
class Report:
    """What a run found: each problem with the check that reports it, programs that could not be run, and its extent."""

    checks: int = 0
    files: set[str] = field(default_factory=set)
    problems: dict[Finding, str] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)


def name(check: Check) -> str:
    """How a check is called: its module and its function."""
    return f"{check.__module__.rpartition('.')[2]}.{check.__name__}"


def run(checkout: Checkout, checks: Sequence[Check] = CHECKS, validators: Sequence[programs.Program] = ()) -> Report:
    """Run ``checks`` and ``validators`` on a checkout."""
    report = Report()
    for check in checks:
        _gather(report, name(check), check(checkout))
    for program in validators:
        _gather(report, program.name, programs.validate(checkout, program))
    return report


def complete(found: Iterable[Finding | Skipped]) -> Iterator[Finding | Skipped]:
    """What one check finds, as it finds it; a file that ends it, or that it looked at nothing, is a problem itself."""
    looked_at = 0
    try:
        for looked_at, each in enumerate(found, 1):  # noqa: B007 - counted
            yield each
    except BrokenFileError as error:
        yield error.finding
        return
    if not looked_at:
        yield Finding("toolkit/validate", 1, "there was nothing to check")


def _gather(report: Report, check: str, found: Iterable[Finding | Skipped]) -> None:
    report.checks += 1
    for each in complete(found):
        if isinstance(each, Skipped):
            report.skipped.append(each)
            continue
        report.files.add(each.file)
        if each.problem:
            report.problems.setdefault(each, check)
