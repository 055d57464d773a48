"""Every mutation is reported at its line, and the repository itself has no problem."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.toolkit.validate.composing import LazyCheckout
from tests.unit.toolkit.validate.contract_mutations import CONTRACT_MUTATIONS
from tests.unit.toolkit.validate.dashboard_mutations import DASHBOARD_MUTATIONS
from tests.unit.toolkit.validate.hardening_mutations import BY_RULE, HARDENING_MUTATIONS
from tests.unit.toolkit.validate.monitoring_mutations import MONITORING_MUTATIONS
from tests.unit.toolkit.validate.mutations import LOCK_MUTATIONS, MUTATIONS, Mutation
from tests.unit.toolkit.validate.seeding import expect, seeded
from toolkit.policy.rules import RULES
from toolkit.validate.runner import CHECKS, name, outcomes, run

pytestmark = pytest.mark.slow

BY_NAME = {name(check): check for check in CHECKS}


def test_repository_has_no_problem(clone: Path) -> None:
    report = run(LazyCheckout(clone))
    assert not report.problems
    assert report.checks == len(CHECKS)


@pytest.mark.parametrize(
    "mutation",
    [*MUTATIONS, *HARDENING_MUTATIONS, *MONITORING_MUTATIONS, *CONTRACT_MUTATIONS],
    ids=lambda mutation: mutation.name,
)
def test_mutation_is_reported(clone: Path, mutation: Mutation) -> None:
    with seeded(clone, mutation):
        expect(outcomes(BY_NAME[mutation.check](LazyCheckout(clone))), clone, mutation)


def test_every_check_has_a_mutation() -> None:
    mutated = {
        mutation.check
        for mutations in (
            MUTATIONS,
            LOCK_MUTATIONS,
            HARDENING_MUTATIONS,
            MONITORING_MUTATIONS,
            DASHBOARD_MUTATIONS,
            CONTRACT_MUTATIONS,
        )
        for mutation in mutations
    }
    # The schema rejects files that Compose accepts, which differ between its versions: it has a test of its own.
    assert BY_NAME.keys() - mutated == {"layers.schema"}


def test_every_rule_has_a_mutation() -> None:
    assert {rule.name for rule in RULES} == BY_RULE.keys()
