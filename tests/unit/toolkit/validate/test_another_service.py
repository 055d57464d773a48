"""An additional service by the recipe of CONTRIBUTING.md: ten files, and the validation needs each of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fixtures import another_service
from tests.fixtures.another_service import RUNBOOK, SERVICE
from tests.unit.toolkit.validate.composing import LazyCheckout
from toolkit.validate import (
    alerts,
    contracts,
    dashboards,
    documents,
    images,
    layers,
    policy,
    reachability,
    runbooks,
    scrapes,
)
from toolkit.validate.findings import Finding
from toolkit.validate.runner import Check, outcomes, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def extended(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the additional service."""
    root = tmp_path_factory.mktemp("extended") / "checkout"
    shutil.copytree(clone, root)
    another_service.add(root)
    documents.make(LazyCheckout(root))
    return root


def test_service_takes_ten_files() -> None:
    assert len(set(another_service.FILES)) == 10


def test_validation_passes(extended: Path) -> None:
    assert {str(problem) for problem in run(LazyCheckout(extended)).problems} == set()


@pytest.mark.parametrize(
    ("file", "check"),
    [
        ("docker-compose.monitoring.yml", layers.combinations),
        ("docker-compose.security.yml", policy.rules),
        ("images/compose.monitoring.yml", images.local),
        ("reachability.yml", reachability.members),
        (f"images/{SERVICE}/contract.yml", contracts.coverage),
        (f"monitoring/prometheus/scrape/pulled/{SERVICE}.yml", scrapes.services),
        (f"monitoring/prometheus/rules/pulled/{SERVICE}.yml", runbooks.shape),
        (f"monitoring/prometheus/tests/{SERVICE}_test.yml", alerts.tests),
        ("monitoring/grafana/dashboards/Services/netmon-statsd.json", dashboards.links),
        (RUNBOOK, runbooks.shape),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_validation_fails_without_one_of_the_files(clone: Path, extended: Path, file: str, check: Check) -> None:
    """The check of each file reports a problem without it."""
    path = extended / file
    before = path.read_text()
    if (clone / file).exists():
        shutil.copy(clone / file, path)
    else:
        path.unlink()
    try:
        assert any(isinstance(each, Finding) and each.problem for each in outcomes(check(LazyCheckout(extended))))
    finally:
        path.write_text(before)
