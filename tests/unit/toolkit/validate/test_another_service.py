"""An additional service by the recipe of CONTRIBUTING.md: ten files, and the validation passes.

The service is an exporter with a published image and without a local one. Its own files are in
``tests/fixtures/another-service/``, with the paths of a checkout; `ADDITIONS` are its parts of existing files.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

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

FIXTURE = Path(__file__).parents[3] / "fixtures" / "another-service"
SERVICE, ALERT = "statsd-exporter", "StatsdLinesMalformed"
RUNBOOK, TEMPLATE = f"docs/alerts/{ALERT}.md", "docs/alerts/KafkaBrokersDown.md"
MOUNT = """\
      - type: bind
        source: ./images/prometheus/empty.yml
        target: /etc/prometheus/{kind}/statsd-exporter.yml
        read_only: true
        bind:
          create_host_path: false
"""
ADDITIONS: Mapping[str, Mapping[str, str]] = {
    "docker-compose.monitoring.yml": {
        "\nservices:\n": """\
  statsd-exporter:
    image: ${REGISTRY:-docker.io}/prom/statsd-exporter:v0.29.0
    profiles: [monitoring]
    user: "65534:65534"
    networks:
      - scrape-network
    healthcheck:
      <<: *monitoring-health
      test: ["CMD", "wget", "-q", "-T", "2", "-O", "/dev/null", "http://127.0.0.1:9102/-/ready"]
    restart: unless-stopped
    logging: *logging
    deploy:
      resources:
        limits:
          memory: 64M
          cpus: "0.5"

"""
    },
    "docker-compose.security.yml": {
        "\nservices:\n": """\
  statsd-exporter:
    <<: *hardening
    deploy:
      resources:
        limits:
          pids: 50

"""
    },
    "images/compose.monitoring.yml": {
        "\nservices:\n": "  statsd-exporter:\n    profiles: !override [absent]\n\n",
        "neither scraped nor alerted on.\n": MOUNT.format(kind="scrape") + MOUNT.format(kind="rules"),
    },
    "reachability.yml": {
        "\nconnections:\n": """\
  - to: statsd-exporter:9102
    from: [smoke, prometheus]
    because: metrics
  - to: statsd-exporter:9125
    from: []
    because: StatsD lines over TCP, of an application in place of ours
  - to: statsd-exporter:9125/udp
    from: []
    because: StatsD lines over UDP, of an application in place of ours
""",
        "  scrape-network:\n    members: [": "statsd-exporter, ",
    },
}
"""Additions to existing files: the text before an addition, and the addition."""
OWN = sorted(str(path.relative_to(FIXTURE)) for path in FIXTURE.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def extended(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the additional service."""
    root = tmp_path_factory.mktemp("extended") / "checkout"
    shutil.copytree(clone, root)
    shutil.copytree(FIXTURE, root, dirs_exist_ok=True)
    for name, additions in ADDITIONS.items():
        path = root / name
        text = path.read_text()
        for after, added in additions.items():
            assert after in text, (name, after)
            text = text.replace(after, after + added, 1)
        path.write_text(text)
    page = (root / TEMPLATE).read_text()
    (root / RUNBOOK).write_text(page.replace(Path(TEMPLATE).stem, ALERT).replace("*Kafka*", "*StatsD*"))
    subprocess.run(["git", "add", "--all"], cwd=root, check=True)
    documents.make(LazyCheckout(root))
    return root


def test_service_takes_ten_files() -> None:
    assert len([*ADDITIONS, *OWN, RUNBOOK]) == 10


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
        (f"monitoring/prometheus/scrape/{SERVICE}.yml", scrapes.services),
        (f"monitoring/prometheus/rules/{SERVICE}.yml", runbooks.shape),
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
