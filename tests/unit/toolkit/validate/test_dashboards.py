"""Mutations of Grafana's files, and the checks of links and grammars that they do not cover."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import which

import pytest

from tests.unit.toolkit.validate.composing import LazyCheckout
from tests.unit.toolkit.validate.conftest import ROOT
from tests.unit.toolkit.validate.dashboard_mutations import DASHBOARD_MUTATIONS, LOGS, TRACES
from tests.unit.toolkit.validate.mutations import Mutation
from tests.unit.toolkit.validate.seeding import expect, seeded
from toolkit.validate import dashboards, datasources, grammars, queries, schema
from toolkit.validate.findings import Finding
from toolkit.validate.programs import GRAMMARS, Skipped
from toolkit.validate.runner import CHECKS as ALL_CHECKS
from toolkit.validate.runner import name, outcomes, run

MODULES = {dashboards.__name__, datasources.__name__, queries.__name__}
CHECKS = tuple(check for check in ALL_CHECKS if check.__module__ in MODULES)
BY_NAME = {name(check): check for check in CHECKS}


def test_dashboards_have_no_problem(clone: Path) -> None:
    assert not run(LazyCheckout(clone), CHECKS).problems


@pytest.mark.parametrize("mutation", DASHBOARD_MUTATIONS, ids=lambda mutation: mutation.name)
def test_mutation_is_reported(clone: Path, mutation: Mutation) -> None:
    with seeded(clone, mutation):
        expect(outcomes(BY_NAME[mutation.check](LazyCheckout(clone))), clone, mutation)


def test_every_check_has_a_mutation() -> None:
    assert BY_NAME.keys() == {mutation.check for mutation in DASHBOARD_MUTATIONS}


def test_alert_link_to_unknown_dashboard_is_reported(clone: Path) -> None:
    rules = clone / "monitoring/prometheus/rules/dangling.yml"
    rules.write_text(
        "groups:\n  - name: one\n    rules:\n      - alert: A\n        expr: up == 0\n        annotations:\n"
        '          dashboard_url: "{{ $externalLabels.grafana }}/d/netmon-nothing"\n'
    )
    checkout = LazyCheckout(clone)
    checkout.tracked = checkout.tracked | {str(rules.relative_to(clone))}
    try:
        problems = run(checkout, [dashboards.links]).problems
    finally:
        rules.unlink()
    assert [(each.line, each.problem) for each in problems] == [(7, "unknown dashboard netmon-nothing")]


@pytest.fixture
def installed(clone: Path) -> Iterator[None]:
    """The grammars of this checkout, linked into the clone."""
    if which("node") is None or not (ROOT / grammars.INSTALLED).is_dir():
        pytest.skip("Node.js or the grammars are not installed")
    (clone / grammars.INSTALLED).symlink_to(ROOT / grammars.INSTALLED)
    yield
    (clone / grammars.INSTALLED).unlink()


LOG_RULE = "monitoring/loki/rules/fake/logs.yml"
GRAMMAR_MUTATIONS = (
    Mutation("LogQL operator", GRAMMARS, LOGS, "detected_level=~", "detected_level==", "not LogQL", "=="),
    Mutation(
        "LogQL of a rule", GRAMMARS, LOG_RULE, '{service_name="loki"}', '{service_name="loki"', "not LogQL", "expr"
    ),
    Mutation("TraceQL operator", GRAMMARS, TRACES, "status = error", "status error", "not TraceQL", "status error"),
)


@pytest.mark.parametrize("mutation", GRAMMAR_MUTATIONS, ids=lambda mutation: mutation.name)
@pytest.mark.usefixtures("installed")
def test_query_with_a_syntax_error_is_reported_by_the_grammar(clone: Path, mutation: Mutation) -> None:
    assert not [each for each in grammars.queries(LazyCheckout(clone)) if isinstance(each, Finding) and each.problem]
    with seeded(clone, mutation):
        found = [each for each in grammars.queries(LazyCheckout(clone)) if isinstance(each, Finding) and each.problem]
        lines = [(clone / each.file).read_text().splitlines()[each.line - 1] for each in found]
    assert found
    assert all(mutation.problem in each.problem for each in found)
    assert all(mutation.at in line for line in lines)


def test_missing_grammars_are_skipped_by_name(clone: Path) -> None:
    (skipped,) = grammars.queries(LazyCheckout(clone))
    assert isinstance(skipped, Skipped)
    assert skipped.name == GRAMMARS
    assert "lezer-logql" in skipped.why


@pytest.fixture
def with_schema(clone: Path) -> Iterator[None]:
    """The packages of the schema of this checkout, linked into the clone."""
    if which("node") is None or not (ROOT / schema.INSTALLED).is_dir():
        pytest.skip("Node.js or the schema of Grafana is not installed")
    (clone / schema.INSTALLED).parent.mkdir(exist_ok=True)
    (clone / schema.INSTALLED).symlink_to(ROOT / schema.INSTALLED)
    yield
    (clone / schema.INSTALLED).unlink()


SCHEMA_MUTATIONS = (
    Mutation("option of no panel", schema.NAME, LOGS, '"showTime"', '"showTimes"', "showTimes", "showTimes"),
    Mutation("panel of no plugin", schema.NAME, TRACES, '"type": "nodeGraph"', '"type": "n"', "no panels of", '"n"'),
    Mutation("text for a number", schema.NAME, TRACES, '"schemaVersion": 41', '"schemaVersion": "41"', "number", "41"),
    Mutation(
        "value of no enum", schema.NAME, TRACES, '"palette-classic"', '"palette-classy"', "palette-classy", "classy"
    ),
)


@pytest.mark.usefixtures("with_schema")
def test_dashboards_that_are_not_valid_for_the_schema_are_reported(clone: Path) -> None:
    """All mistakes at once: a run takes seconds."""
    with ExitStack() as stack:
        for mutation in SCHEMA_MUTATIONS:
            stack.enter_context(seeded(clone, mutation))
        found = [*schema.dashboards(LazyCheckout(clone))]
        for mutation in SCHEMA_MUTATIONS:
            expect(found, clone, mutation)


@pytest.mark.usefixtures("with_schema")
def test_dashboards_are_valid_for_the_schema_of_the_pinned_grafana(clone: Path) -> None:
    found = [*schema.dashboards(LazyCheckout(clone))]
    assert len(found) == len([*(clone / "monitoring/grafana/dashboards").glob("*/*.json")])
    assert not [each for each in found if isinstance(each, Skipped) or each.problem]


def test_a_missing_schema_is_skipped_by_name(clone: Path) -> None:
    (skipped,) = schema.dashboards(LazyCheckout(clone))
    assert isinstance(skipped, Skipped)
    assert (skipped.name, skipped.reason) == (schema.NAME, GRAMMARS)
    assert "@grafana/schema@" in skipped.why
