"""The table of what is tested of each alert has no open cell."""

from __future__ import annotations

from tests.unit.toolkit.validate.conftest import ROOT
from toolkit.validate import coverage
from toolkit.validate.checkout import Checkout


def test_every_alert_is_tested_in_every_respect() -> None:
    found = coverage.table(Checkout(ROOT))
    assert len(found) > 100
    assert [each.alert for each in found if coverage.NO in each or "" in each] == []
    assert [each.alert for each in found if each.resolves == coverage.NEVER] == ["Watchdog"]
