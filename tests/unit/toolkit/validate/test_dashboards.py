"""What the seeded mistakes do not show of the checks of Grafana's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest

from tests.unit.toolkit.validate.composing import Unhurried
from tests.unit.toolkit.validate.conftest import ROOT
from tests.unit.toolkit.validate.dashboard_mutations import DASHBOARD_MUTATIONS, LOGS, TRACES
from tests.unit.toolkit.validate.mutations import Mutation
from tests.unit.toolkit.validate.seeding import expect, seeded
from toolkit.validate import dashboards, datasources, grammars, queries
from toolkit.validate.findings import Finding
from toolkit.validate.programs import GRAMMARS, Skipped
from toolkit.validate.runner import CHECKS as ALL_CHECKS
from toolkit.validate.runner import complete, name, run

MODULES = {dashboards.__name__, datasources.__name__, queries.__name__}
CHECKS = tuple(check for check in ALL_CHECKS if check.__module__ in MODULES)
BY_NAME = {name(check): check for check in CHECKS}


def test_the_dashboards_are_clean(clone: Path) -> None:
    assert not run(Unhurried(clone), CHECKS).problems


@pytest.mark.parametrize("mutation", DASHBOARD_MUTATIONS, ids=lambda mutation: mutation.name)
def test_mistake_is_found(clone: Path, mutation: Mutation) -> None:
    with seeded(clone, mutation):
        expect(complete(BY_NAME[mutation.check](Unhurried(clone))), clone, mutation)


def test_every_check_has_been_seen_to_fail() -> None:
    assert BY_NAME.keys() == {mutation.check for mutation in DASHBOARD_MUTATIONS}


def test_link_of_an_alert_to_a_dashboard_that_is_not_there(clone: Path) -> None:
    rules = clone / "monitoring/prometheus/rules/dangling.yml"
    rules.write_text(
        "groups:\n  - name: one\n    rules:\n      - alert: A\n        expr: up == 0\n        annotations:\n"
        '          dashboard_url: "{{ $externalLabels.grafana }}/d/netmon-nothing"\n'
    )
    checkout = Unhurried(clone)
    checkout.tracked = checkout.tracked | {str(rules.relative_to(clone))}
    try:
        problems = run(checkout, [dashboards.links]).problems
    finally:
        rules.unlink()
    assert [(each.line, each.problem) for each in problems] == [(7, "there is no dashboard netmon-nothing")]


@pytest.fixture
def installed(clone: Path) -> Iterator[None]:
    """The grammars of this checkout, seen by the clone."""
    if which("node") is None or not (ROOT / grammars.INSTALLED).is_dir():
        pytest.skip("Node.js or the grammars are not installed")
    (clone / grammars.INSTALLED).symlink_to(ROOT / grammars.INSTALLED)
    yield
    (clone / grammars.INSTALLED).unlink()


GRAMMAR_MUTATIONS = (
    Mutation("LogQL operator", GRAMMARS, LOGS, "detected_level=~", "detected_level==", "not LogQL", "=="),
    Mutation("TraceQL operator", GRAMMARS, TRACES, "status = error", "status error", "not TraceQL", "status error"),
)


@pytest.mark.parametrize("mutation", GRAMMAR_MUTATIONS, ids=lambda mutation: mutation.name)
@pytest.mark.usefixtures("installed")
def test_query_that_the_grammar_refuses(clone: Path, mutation: Mutation) -> None:
    assert not [each for each in grammars.queries(Unhurried(clone)) if isinstance(each, Finding) and each.problem]
    with seeded(clone, mutation):
        found = [each for each in grammars.queries(Unhurried(clone)) if isinstance(each, Finding) and each.problem]
        lines = [(clone / each.file).read_text().splitlines()[each.line - 1] for each in found]
    assert found
    assert all(mutation.says in each.problem for each in found)
    assert all(mutation.at in line for line in lines)


def test_grammars_that_are_not_installed_are_skipped_by_name(clone: Path) -> None:
    (skipped,) = grammars.queries(Unhurried(clone))
    assert isinstance(skipped, Skipped)
    assert skipped.name == GRAMMARS
    assert "lezer-logql" in skipped.why
