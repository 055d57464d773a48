"""The services' own validators accept the configuration and reject the mistakes that only they detect."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures import another_service
from tests.live.stack import Stack
from tests.unit.toolkit.validate.monitoring_mutations import MONITORING_PROGRAM_MUTATIONS, TESTS
from tests.unit.toolkit.validate.mutations import Mutation
from tests.unit.toolkit.validate.seeding import expect, seeded
from toolkit.validate.checkout import Checkout
from toolkit.validate.programs import ABSENT, PROGRAMS
from toolkit.validate.runner import run

BY_NAME = {program.name: program for program in PROGRAMS}


@pytest.fixture(scope="module")
def checkout(idle_stack: Stack) -> Path:
    """A checkout with its images; only its text is read."""
    return idle_stack.root


@pytest.mark.image_set
def test_the_configuration_is_accepted_and_only_unavailable_services_are_skipped(idle_stack: Stack) -> None:
    """Without the tests of rules, which take a minute and run in `nox -s validate`."""
    report = run(Checkout(idle_stack.root), [], [program for program in PROGRAMS if program.name != "promtool-tests"])
    assert not report.problems
    lacking = {program.name for program in PROGRAMS if program.service in idle_stack.unavailable()}
    assert {(skip.name, skip.reason) for skip in report.skipped} == {(name, ABSENT) for name in lacking}


@pytest.mark.parametrize("mutation", MONITORING_PROGRAM_MUTATIONS, ids=lambda mutation: mutation.name)
def test_mistake_is_found(checkout: Path, mutation: Mutation) -> None:
    program = BY_NAME[mutation.check]
    if program.name == "promtool-tests":  # the tests of other files would take a minute and do not cover the mistake
        program = replace(program, files=(f"{TESTS}/{Path(mutation.file).stem}_test.yml",))
    with seeded(checkout, mutation):
        report = run(Checkout(checkout), [], [program])
        if report.skipped:
            pytest.skip(f"{mutation.check}: {report.skipped[0].why}")
        expect(report.problems, checkout, mutation)


def test_another_service_is_accepted(checkout: Path, tmp_path: Path) -> None:
    """Its scrape job, its rules, and their tests."""
    root = tmp_path / "checkout"
    shutil.copytree(checkout, root, symlinks=True)
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    another_service.add(root)
    own = replace(BY_NAME["promtool-tests"], files=(f"{TESTS}/{another_service.SERVICE}_test.yml",))
    programs = [program for program in PROGRAMS if program.service == own.service and program.name != own.name]
    report = run(Checkout(root), [], [*programs, own])
    assert not report.problems
    assert not report.skipped


def test_every_validator_has_a_mistake() -> None:
    assert BY_NAME.keys() == {mutation.check for mutation in MONITORING_PROGRAM_MUTATIONS}
