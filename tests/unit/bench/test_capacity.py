"""The search for the largest number of targets, and what counts as lag."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capacity import FIRST, HALVINGS, LAGS, LAST, MAX_LAG_SECONDS, Step, largest, sample, search, settle

GOOD = Step(6000, dict.fromkeys(LAGS, 0.5), 0, 0, 100, 0.5)


def measured(limit: int) -> tuple[list[Step], list[int]]:
    """The steps of a search in which no more targets than a limit hold, and their numbers in order."""
    counts: list[int] = []

    def measure(count: int) -> Step:
        counts.append(count)
        return replace(GOOD, targets=count, rate=count / 60, skipped=float(count > limit))

    return search(measure), counts


@pytest.mark.parametrize(
    ("limit", "counts"),
    [
        (999, [1000]),
        (1000, [1000, 2000, 1500, 1250]),
        (5000, [1000, 2000, 4000, 8000, 6000, 5000]),
        (7999, [1000, 2000, 4000, 8000, 6000, 7000]),
        (39_999, [1000, 2000, 4000, 8000, 16_000, 32_000, 40_000, 36_000, 38_000]),
        (50_000, [1000, 2000, 4000, 8000, 16_000, 32_000, 40_000]),
    ],
)
def test_the_number_is_doubled_and_then_halved(limit: int, counts: list[int]) -> None:
    assert measured(limit)[1] == counts


@given(st.integers(FIRST, 2 * LAST))
def test_the_largest_number_that_held_is_close_to_the_limit(limit: int) -> None:
    steps, counts = measured(limit)
    found = largest(steps)
    assert found <= limit
    assert found == LAST or limit - found < max(each / 2**HALVINGS for each in counts)


def test_a_machine_on_which_nothing_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="not even 1000 targets"):
        largest(measured(0)[0])


def test_a_step_holds() -> None:
    assert GOOD.holds


@pytest.mark.parametrize(
    "change",
    [
        *({"lags": {**GOOD.lags, name: MAX_LAG_SECONDS}} for name in LAGS),
        {"lags": {}, "unmeasured": 20},
        {"unmeasured": 1},
        {"skipped": 1},
        {"rate": 97},
    ],
    ids=str,
)
def test_a_step_with_lag_or_missing_probes_does_not_hold(change: dict[str, object]) -> None:
    assert not replace(GOOD, **change).holds  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lags", "slept"),
    [([0.5], [15.0]), ([7, None, 0.5], [3.0, 3.0, 15.0]), ([7] * 31, [3.0] * 31)],
)
def test_a_step_begins_once_the_worker_is_calm_or_cannot_become_so(
    monkeypatch: pytest.MonkeyPatch, lags: list[float | None], slept: list[float]
) -> None:
    found, pauses = iter([*lags, 7]), list[float]()
    monkeypatch.setattr("bench.capacity.time.sleep", pauses.append)
    monkeypatch.setattr("bench.capacity.time.monotonic", lambda: sum(pauses))

    class Worker:
        def lags(self) -> dict[str, float] | None:
            lag = next(found)
            return None if lag is None else {"schedule": lag, "outbox": 0.0}

    settle(Worker())  # type: ignore[arg-type]
    assert pauses == slept


def test_a_sample_of_an_exposition() -> None:
    text = "# TYPE netmon_lag gauge\nnetmon_lag_other 7\nnetmon_lag 1.5e3\n"
    assert sample(text, "netmon_lag") == 1500
    with pytest.raises(LookupError, match="no metric netmon_gone"):
        sample(text, "netmon_gone")
