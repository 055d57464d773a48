"""Every mistake of the list is found where it is, and the repository as it stands has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.toolkit.validate.composing import Unhurried
from tests.unit.toolkit.validate.contract_mutations import CONTRACT_MUTATIONS
from tests.unit.toolkit.validate.dashboard_mutations import DASHBOARD_MUTATIONS
from tests.unit.toolkit.validate.hardening_mutations import BY_RULE, HARDENING_MUTATIONS
from tests.unit.toolkit.validate.monitoring_mutations import MONITORING_MUTATIONS
from tests.unit.toolkit.validate.mutations import LOCK_MUTATIONS, MUTATIONS, Mutation
from tests.unit.toolkit.validate.seeding import expect, seeded
from toolkit.policy.rules import RULES
from toolkit.validate.runner import CHECKS, complete, name, run

BY_NAME = {name(check): check for check in CHECKS}


def test_the_repository_is_clean(clone: Path) -> None:
    report = run(Unhurried(clone))
    assert not report.problems
    assert report.checks == len(CHECKS)


@pytest.mark.parametrize(
    "mutation",
    [*MUTATIONS, *HARDENING_MUTATIONS, *MONITORING_MUTATIONS, *CONTRACT_MUTATIONS],
    ids=lambda mutation: mutation.name,
)
def test_mistake_is_found(clone: Path, mutation: Mutation) -> None:
    with seeded(clone, mutation):
        expect(complete(BY_NAME[mutation.check](Unhurried(clone))), clone, mutation)


def test_every_check_has_been_seen_to_fail() -> None:
    seeded_for = {
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
    # The schema sees what Compose lets through, and that differs between its versions: tested by itself.
    assert BY_NAME.keys() - seeded_for == {"layers.schema"}


def test_every_rule_has_been_seen_to_be_broken() -> None:
    assert {rule.name for rule in RULES} == BY_RULE.keys()
