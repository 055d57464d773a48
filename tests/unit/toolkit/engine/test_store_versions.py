"""Which version changes the data of a store survives."""

from __future__ import annotations

import pytest

from toolkit.core.errors import ToolkitError
from toolkit.engine.store_versions import (
    MAJOR_CHANGES,
    ONE_WAY,
    major_changes,
    one_way_changes,
    require_same_major,
    version,
)
from toolkit.engine.stores import STORES


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("docker.io/library/postgres:18.6-trixie", (18, 6)),
        ("registry.example:5000/library/redis:8.10.2-alpine@sha256:12ab", (8, 10, 2)),
        ("registry.example:5000/library/redis@sha256:12ab", ()),
        ("prom/prometheus:v3.13.0", (3, 13, 0)),
        ("netmon-local/kafka:4", (4,)),
        ("network-monitor:dev", ()),
        ("3f6d0a52c1e7", ()),
        ("", ()),
    ],
)
def test_version_of_a_tag(image: str, parts: tuple[int, ...]) -> None:
    assert version(image) == parts


@pytest.mark.parametrize("service", MAJOR_CHANGES)
def test_another_major_version_of_a_store_is_refused(service: str) -> None:
    for before, after in (("x:4.2", "x:5.0"), ("x:5.0", "x:4.2")):
        with pytest.raises(ToolkitError) as error:
            require_same_major({service: before}, {service: after})
        assert f"{service} from {before[2:]} to {after[2:]}" in error.value.why
        assert "docs/operations.md#" in error.value.fix


@pytest.mark.parametrize(
    ("before", "after"),
    [("x:4.2", "x:4.9"), ("x:4.2", "netmon-local/x:4"), ("x:dev", "x:5"), ("x:4", "x@sha256:5abc"), ("", "x:5")],
)
def test_other_changes_are_none_of_the_major_version(before: str, after: str) -> None:
    assert list(major_changes({"kafka": before} if before else {}, {"kafka": after})) == []


def test_a_program_without_data_may_change_its_major_version() -> None:
    require_same_major({"node-exporter": "x:1.9"}, {"node-exporter": "x:2.0"})


@pytest.mark.parametrize(
    ("service", "now", "then", "refused"),
    [
        ("db", "x:18.6", "x:18.2", False),
        ("redis", "x:8.10.2", "x:8.10.1", False),
        ("redis", "x:8.10.2", "x:8.8.9", True),
        ("rabbitmq", "x:4.3.1", "x:4.2.5", True),
        ("kafka", "x:4.2.0", "x:4.1.1", True),
        ("prometheus", "x:v3.13.0", "x:v3.5.0", False),
        ("grafana", "x:12.2.0", "x:13.0.0", False),
        ("app", "x:2", "x:1", False),
    ],
)
def test_an_older_program_opens_the_data_of_some_minor_versions(
    service: str, now: str, then: str, refused: bool
) -> None:
    assert (service in one_way_changes({service: now}, {service: then})) is refused


def test_every_store_has_its_rules() -> None:
    """A store without a rule has files that any version reads: the queues of the collector, certificates, backups."""
    assert set(ONE_WAY) == set(MAJOR_CHANGES)
    assert {each.service for each in STORES} - set(MAJOR_CHANGES) == {"backup", "otel-collector", "proxy"}
