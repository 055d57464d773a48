"""The ledger of acknowledged writes, and the outcome of a cell: what is lost, missing or unexpected makes it red."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.live.cells import Outcome
from tests.live.fault_table import SWITCH, Expected
from tests.live.ledger import Ledger, Losses

NOTHING = Losses(frozenset(), frozenset())
DOWN = ("PostgresDown", "db")
EXPECTED = Expected(DOWN, 30, 60)
GOOD = Outcome(100, {"503": 3, "TimeoutError": 1}, 96, NOTHING, 0, 12.4, (DOWN, 6.6))


def ledger(*accepted: str) -> Ledger:
    """A ledger with accepted probes and three refusals."""
    written = Ledger(set(accepted))
    written.refused["503"] = 3
    return written


def test_nothing_is_lost_if_every_probe_has_a_result_and_an_event() -> None:
    written = ledger("a", "b")
    assert written.requests == 5
    assert written.losses({"a", "b", "of others"}, {"a", "b", "of others"}).count == 0


def test_a_probe_without_a_result_is_lost() -> None:
    lost = ledger("a", "b").losses({"a"}, {"a", "b"})
    assert lost == Losses(frozenset({"b"}), frozenset())
    assert str(lost) == "1 without a result: b …"


def test_a_result_without_an_event_is_lost() -> None:
    lost = ledger("a", "b").losses({"a", "b"}, {"b"})
    assert lost == Losses(frozenset(), frozenset({"a"}))


def test_a_probe_without_both_is_lost_once() -> None:
    assert ledger("a", "b").losses({"a"}, {"a"}).count == 1


def test_a_good_outcome_has_no_problem() -> None:
    assert GOOD.problems(EXPECTED) == []
    assert GOOD.measurements(EXPECTED) == [
        "refused: 4 of 100 (503 3, TimeoutError 1)",
        "lost: 0 of 96",
        "recovery: yes, after 12 s",
        "alert: PostgresDown db after 7 s",
    ]


LOST = Losses(frozenset({"a"}), frozenset())


@pytest.mark.parametrize(
    ("outcome", "expected", "problem"),
    [
        (replace(GOOD, lost=LOST), EXPECTED, "1 acknowledged writes lost, at most 0 expected: 1 without a result: a …"),
        (replace(GOOD, lost=Losses(frozenset("ab"), frozenset())), replace(EXPECTED, lost=1), "2 acknowledged writes"),
        (replace(GOOD, accepted=0), EXPECTED, "no request was accepted"),
        (replace(GOOD, miscounted=-1), EXPECTED, "the rollups count -1 results too many"),
        (replace(GOOD, recovered=None), EXPECTED, "no recovery by itself within 60 s"),
        (replace(GOOD, recovered=61.0), EXPECTED, "no recovery by itself within 60 s"),
        (replace(GOOD, alert=None), EXPECTED, "PostgresDown db did not arrive, but None"),
        (GOOD, replace(EXPECTED, alert=("RedisDown", "redis")), "RedisDown redis did not arrive, but (('PostgresDown'"),
        (GOOD, replace(EXPECTED, alert=("PostgresDown", "replica")), "PostgresDown replica did not arrive"),
        (GOOD, replace(EXPECTED, alert=SWITCH), "dead man's switch  did not arrive"),
    ],
)
def test_an_outcome_that_is_not_expected_is_a_problem(outcome: Outcome, expected: Expected, problem: str) -> None:
    [found] = outcome.problems(expected)
    assert found.startswith(problem)


def test_losses_within_a_documented_bound_are_no_problem() -> None:
    assert replace(GOOD, lost=LOST).problems(replace(EXPECTED, lost=1)) == []


def test_an_alert_that_is_not_expected_is_recorded_and_no_problem() -> None:
    outcome = replace(GOOD, alert=None, others=("KafkaDown after 7 s",))
    short = replace(EXPECTED, alert=None)
    assert outcome.problems(short) == []
    assert outcome.measurements(short)[-1] == "alert: none expected; KafkaDown after 7 s"


def test_an_outcome_without_recovery_says_so() -> None:
    assert replace(GOOD, recovered=None).measurements(EXPECTED)[2] == "recovery: no"


def test_an_outcome_survives_its_encoding() -> None:
    outcome = replace(GOOD, alert=None, lost=LOST)
    assert Outcome.decode(outcome.encode()) == outcome
