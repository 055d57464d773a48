"""Runs the checks and collects their findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from toolkit.validate import (
    addresses,
    alerting,
    alerts,
    cases,
    contracts,
    coverage,
    credentials,
    dashboards,
    datasources,
    dockerfiles,
    documents,
    environment,
    examples,
    images,
    inhibition,
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
    services.intervals,
    services.logging,
    services.dependencies,
    images.registry,
    images.local,
    supply.locks,
    supply.users,
    contracts.coverage,
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
    environment.proxies,
    environment.messages,
    environment.example,
    credentials.definitions,
    credentials.accounts,
    credentials.required_variables,
    credentials.mounts,
    credentials.exposure,
    isolation.coupling,
    policy.rules,
    policy.exceptions,
    reachability.matrix,
    reachability.members,
    reachability.routes,
    reachability.listeners,
    reachability.unused_access,
    reachability.isolation,
    addresses.allowed,
    documents.tables,
    resources.networks,
    resources.volumes,
    scrapes.targets,
    scrapes.relabelled,
    scrapes.included_files,
    scrapes.services,
    scrapes.separate_files,
    scrapes.replacements,
    scrapes.intervals,
    alerts.labels,
    alerts.texts,
    alerts.tests,
    alerts.timing,
    alerts.names,
    alerts.sums,
    alerts.timestamps,
    alerts.news,
    alerts.look_back,
    cases.replaced_containers,
    cases.missed_scrapes,
    coverage.resolving,
    runbooks.shape,
    runbooks.dashboards,
    alerting.receivers,
    alerting.routes,
    alerting.addresses,
    alerting.templates,
    alerting.timing,
    alerting.labels,
    alerting.secrets,
    examples.complete,
    inhibition.tests,
    inhibition.conditions,
    inhibition.coverage,
    pipelines.collector,
    pipelines.flags,
    pipelines.telemetry,
    pipelines.loki,
    pipelines.tempo,
    pipelines.grafana,
    dashboards.models,
    dashboards.titles,
    dashboards.panels,
    dashboards.links,
    dashboards.home,
    datasources.provisioning,
    datasources.references,
    queries.syntax,
    queries.links,
    queries.variables,
    queries.metrics,
    queries.sums,
    queries.defaults,
    queries.optional_metrics,
    queries.empty_panels,
    style.key_order,
    style.headers,
)


@dataclass
class Report:
    """The result of a run: number of checks, inspected files, problems with their checks, skipped programs."""

    checks: int = 0
    files: set[str] = field(default_factory=set)
    problems: dict[Finding, str] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)


def name(check: Check) -> str:
    """The name of a check: its module and its function."""
    return f"{check.__module__.rpartition('.')[2]}.{check.__name__}"


def run(checkout: Checkout, checks: Sequence[Check] = CHECKS, validators: Sequence[programs.Program] = ()) -> Report:
    """Run ``checks`` and ``validators`` on a checkout."""
    report = Report()
    for check in checks:
        _gather(report, name(check), check(checkout))
    for program in validators:
        _gather(report, program.name, programs.validate(checkout, program))
    return report


def outcomes(found: Iterable[Finding | Skipped]) -> Iterator[Finding | Skipped]:
    """The findings of one check, lazily; an unreadable file, or no finding at all, is a problem as well."""
    count = 0
    try:
        for count, each in enumerate(found, 1):  # noqa: B007 - counted
            yield each
    except BrokenFileError as error:
        yield error.finding
        return
    if not count:
        yield Finding("toolkit/validate", 1, "the check inspected nothing")


def _gather(report: Report, check: str, found: Iterable[Finding | Skipped]) -> None:
    report.checks += 1
    for each in outcomes(found):
        if isinstance(each, Skipped):
            report.skipped.append(each)
            continue
        report.files.add(each.file)
        if each.problem:
            report.problems.setdefault(each, check)
