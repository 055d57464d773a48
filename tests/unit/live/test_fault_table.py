"""The fault table: complete, made of cells that a drill runs, and readable in the document."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench.origin import Machine
from tests.live.alerts import RUNBOOKS
from tests.live.cells import INJECTIONS, VOLUMES
from tests.live.drills import matrix, test_fault_table
from tests.live.drills.results import Result
from tests.live.fault_table import FAULTS, SERVICES, SWITCH, Expected, Inapplicable, cells, expected
from tests.live.stack import CHECKOUT, STORES
from tests.live.torn_records import TEARS

MACHINE = Machine("a processor", 2, 24, "Debian", "6.18", "28.5", "2.40", "3.11")
NO_ROW = {"smoke", "backup", "grafana", "kafka-exporter"}
"""A one-off container, a service of a group with drills of its own, and services without a local image."""
FILE = "test_fault_table.py"
GOOD = ["refused: 4 of 100", "lost: 0 of 96", "recovery: yes, after 12 s", "alert: PostgresDown db after 7 s"]


def result(outcome: str = "passed", measurements: list[str] = GOOD) -> Result:
    """The result of a cell."""
    return Result(outcome, measurements, 50, MACHINE, "abc123", "2026-01-31")


def test_there_are_enough_cells() -> None:
    assert len(list(cells(*FAULTS))) >= 60


def test_every_cell_of_a_fault_is_run_by_a_drill() -> None:
    assert {*test_fault_table.INJECTED, "power", "engine"} == FAULTS.keys()
    assert set(test_fault_table.INJECTED) - INJECTIONS.keys() == {"clock", "disk full", "torn record"}
    assert {service for service, _ in cells("torn record")} == TEARS.keys()
    assert {service for service, _ in cells("disk full")} == test_fault_table.SIZES.keys() <= VOLUMES.keys()


def test_every_service_has_a_row() -> None:
    files = [CHECKOUT / f"docker-compose{layer}.yml" for layer in ("", ".monitoring", ".prod")]
    configured = {name for file in files for name in yaml.load(file.read_text(), Loader)["services"]}  # noqa: S506
    stores = {name for names in STORES.values() for name in names}
    assert configured - stores - NO_ROW == SERVICES.keys() - {"log store", "trace store"}


class Loader(yaml.SafeLoader):
    """Reads Compose files, whose tags concern other layers."""


Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)


def test_every_difference_belongs_to_a_fault() -> None:
    for name, service in SERVICES.items():
        assert service.differs.keys() <= FAULTS.keys(), name


def test_every_alert_has_a_runbook() -> None:
    wanted = [expected(service, fault) for service, fault in cells(*FAULTS)]
    alerts = {each.alert for each in wanted if isinstance(each, Expected) and each.alert}
    assert SWITCH in alerts
    for name, _ in alerts - {SWITCH}:
        assert Path(CHECKOUT / RUNBOOKS / f"{name}.md").is_file(), name


def test_no_acknowledged_write_may_be_lost() -> None:
    assert {expected(service, fault).lost for service, fault in cells(*FAULTS)} == {0}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("found", "cell"),
    [
        (result(), "12 s"),
        (result("failed"), matrix.FAILED),
        (result("passed", []), matrix.FAILED),
        (result("skipped", ["nbdkit is missing"]), "skipped"),
    ],
)
def test_the_matrix_has_the_outcome_of_a_cell(found: Result, cell: str) -> None:
    text = matrix.markdown({f"{FILE}::test_service_under_a_fault[db/kill]": found})
    [row] = [line for line in text.splitlines() if line.startswith("| db |")]
    assert row.split(" | ")[1:3] == [cell, matrix.NOT_RUN]


def test_a_cell_that_does_not_apply_has_its_reason() -> None:
    text = matrix.markdown({})
    assert expected("app", "torn record") == Inapplicable("no volume")
    [row] = [line for line in text.splitlines() if line.startswith("| app |")]
    assert " | no volume | " in row


def test_every_measurement_of_a_cell_is_in_the_document() -> None:
    text = matrix.markdown({f"{FILE}::test_service_under_a_fault[db/hang]": result()})
    row = (
        "| hang | db | passed | 4 of 100 | 0 of 96 | yes, after 12 s | PostgresDown db after 7 s | 2026-01-31, abc123 |"
    )
    assert row in text


def test_a_test_that_is_no_cell_is_in_no_table() -> None:
    assert matrix.markdown({f"{FILE}::test_disk_loses_what_was_not_synced": result()}) == matrix.markdown({})
