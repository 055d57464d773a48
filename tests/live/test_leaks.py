"""No secret of a production stack leaks outside secrets/."""

from __future__ import annotations

import os

import pytest

from tests.live.leaks import PLACES, find
from tests.live.needles import needles, secrets_of
from tests.live.stack import Stack


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees every process's environment and every volume")
def test_no_secret_leaks_outside_its_folder(prod_stack: Stack) -> None:
    report = find(prod_stack, needles(secrets_of(prod_stack.root / "secrets")))
    assert not report.leaks, f"\n{report}"
    assert set(report.bytes) == set(PLACES)
    assert all(report.bytes.values()), f"a place was not read:\n{report}"
