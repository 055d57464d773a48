"""Broken data: the log line of a damage is known, and `invoke repair` makes the service work again.

Single services, without the application. The drills of the same name make every other damage.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.broken import COMMON, Case, Stores, assert_repaired, no_service, stopped_stores


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """The stores of a development stack, of which none runs."""
    with stopped_stores(tmp_path_factory.mktemp("broken") / "checkout") as stores:
        yield stores


@pytest.mark.parametrize("case", COMMON, ids=lambda each: each.name)
def test_damage_is_repaired(stores: Stores, case: Case) -> None:
    with no_service(stores):
        assert_repaired(stores, case)
