"""Broken data: every damage that the toolkit knows is made, found in the log, and repaired or refused."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.live.broken import (
    COMMON,
    COUNT,
    HEALED,
    OTHERS,
    UNREPAIRABLE,
    WRITTEN,
    Case,
    Stores,
    assert_repaired,
    no_service,
    start_damaged,
    stopped_stores,
)
from tests.live.stack import until
from toolkit.engine import damage

Record = Callable[[str], None]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """The stores of a development stack, of which none runs."""
    with stopped_stores(tmp_path_factory.mktemp("broken") / "checkout") as stores:
        yield stores


@pytest.mark.parametrize("case", [*COMMON, *OTHERS], ids=lambda each: each.name)
def test_damage_is_repaired(stores: Stores, case: Case, record: Record) -> None:
    with no_service(stores):
        left = assert_repaired(stores, case)
    record(f"{left} of {WRITTEN} items are left")


@pytest.mark.parametrize("case", UNREPAIRABLE, ids=lambda each: each.name)
def test_damage_without_a_safe_repair_is_named(stores: Stores, case: Case) -> None:
    with no_service(stores):
        known = start_damaged(stores, case)
        done = stores.stack.invoke("repair", f"--service={case.service}", "--yes", check=False)
    assert done.returncode == 1
    assert known.cause in done.stderr
    assert known.otherwise in done.stderr


@pytest.mark.parametrize("case", HEALED, ids=lambda each: each.name)
def test_torn_file_heals_by_itself(stores: Stores, case: Case, record: Record) -> None:
    with no_service(stores):
        stores.damage(case)
        stores.start(case.service)
        assert damage.find(case.service, stores.log(case.service)) is None
        left = COUNT[case.service](stores)
    assert left in case.left
    record(f"{left} of {WRITTEN} items are left")


def test_interrupted_repair_leaves_the_data_as_it_was(stores: Stores, record: Record) -> None:
    """Ctrl-C in each step: until the copy, during it, and during the repair."""
    case = COMMON[0]
    command = "find . -type f | sort | xargs sha256sum"
    interrupted = 0
    with no_service(stores):
        start_damaged(stores, case)
        before = stores.in_volume(case.service, command)
        for pause in (0.3, 0.8, 1.2, 1.6, 2.0):
            process = stores.stack.start("repair", f"--service={case.service}", "--yes")
            until(lambda: not stores.stack.containers(case.service), 30, "the end of the container")
            time.sleep(pause)
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=60)[0]
            if process.returncode == 0 or "redis is repaired" in output:
                break
            assert process.returncode == 130, output
            assert "its data is unchanged" in output
            assert stores.in_volume(case.service, command) == before, output
            assert stores.copies() == [], output
            assert not stores.stack.docker("ps", "--quiet", "--filter", f"name={stores.stack.name}-repair"), output
            interrupted += 1
            stores.start(case.service, healthy=False)
            until(lambda: damage.find(case.service, stores.log(case.service)) is not None, 60, "the log line")
    assert interrupted
    record(f"{interrupted} interruptions")
