"""A service more takes ten files, after which the validation is green; without any one of them it is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fixtures import another_service
from tests.fixtures.another_service import RUNBOOK, SERVICE
from tests.unit.toolkit.validate.composing import Unhurried
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
from toolkit.validate.runner import Check, complete, run


@pytest.fixture(scope="module")
def extended(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with one service more."""
    root = tmp_path_factory.mktemp("extended") / "checkout"
    shutil.copytree(clone, root)
    another_service.add(root)
    documents.make(Unhurried(root))
    return root


def test_it_takes_ten_files() -> None:
    assert len(set(another_service.FILES)) == 10


def test_validation_is_green(extended: Path) -> None:
    assert {str(problem) for problem in run(Unhurried(extended)).problems} == set()


@pytest.mark.parametrize(
    ("file", "check"),
    [
        ("docker-compose.monitoring.yml", layers.combinations),
        ("docker-compose.security.yml", policy.rules),
        ("images/compose.monitoring.yml", images.local),
        ("reachability.yml", reachability.members),
        (f"images/{SERVICE}/contract.yml", contracts.known),
        (f"monitoring/prometheus/scrape/{SERVICE}.yml", scrapes.services),
        (f"monitoring/prometheus/rules/{SERVICE}.yml", runbooks.shape),
        (f"monitoring/prometheus/tests/{SERVICE}_test.yml", alerts.tests),
        ("monitoring/grafana/dashboards/Services/netmon-statsd.json", dashboards.links),
        (RUNBOOK, runbooks.shape),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_of_them_is_needed(clone: Path, extended: Path, file: str, check: Check) -> None:
    """Without it the check that is about it complains."""
    path = extended / file
    before = path.read_text()
    if (clone / file).exists():
        shutil.copy(clone / file, path)
    else:
        path.unlink()
    try:
        assert any(isinstance(each, Finding) and each.problem for each in complete(check(Unhurried(extended))))
    finally:
        path.write_text(before)
