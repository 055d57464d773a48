"""The state of a target: properties for any history of results."""

import re
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon import migrations
from netmon.states import URGENCY, WINDOW_LIMIT, State, Verdict, next_state
from tests.unit.app.properties import PROPERTY

RANK: dict[State, int] = {"unknown": 0, "up": 0, "degraded": 1, "down": 2}
VERDICTS = st.sampled_from(get_args(Verdict))
HISTORY = st.lists(VERDICTS, max_size=30)


@st.composite
def rules(draw: st.DrawFn, least: int = 1) -> tuple[int, int]:
    """The failures and the window of a target."""
    window = draw(st.integers(least, WINDOW_LIMIT))
    return draw(st.integers(least, window)), window


def times(verdict: Verdict, count: int) -> list[Verdict]:
    """A verdict, repeated."""
    return [verdict] * count


def walk(history: list[Verdict], rule: tuple[int, int], state: State = "unknown") -> list[State]:
    """The states after each result."""
    states = []
    for end in range(1, len(history) + 1):
        state = next_state(state, history[:end], *rule)
        states.append(state)
    return states


@PROPERTY
@given(HISTORY, rules(least=2), st.sampled_from(["bad", "poor"]))
def test_a_single_result_does_not_end_the_state_up(
    before: list[Verdict], rule: tuple[int, int], single: Verdict
) -> None:
    history: list[Verdict] = [*before, *times("good", WINDOW_LIMIT), single]
    *_, settled, after = walk(history, rule)
    assert settled == after == "up"


@PROPERTY
@given(HISTORY, rules())
def test_enough_bad_results_lead_to_down_from_any_history(before: list[Verdict], rule: tuple[int, int]) -> None:
    assert walk([*before, *times("bad", rule[0])], rule)[-1] == "down"


@PROPERTY
@given(HISTORY, rules())
def test_enough_poor_results_lead_to_degraded_or_down(before: list[Verdict], rule: tuple[int, int]) -> None:
    assert walk([*before, *times("poor", rule[0])], rule)[-1] in ("degraded", "down")


@PROPERTY
@given(HISTORY, rules())
def test_a_window_of_good_results_leads_to_up_from_any_history(before: list[Verdict], rule: tuple[int, int]) -> None:
    assert walk([*before, *times("good", rule[1])], rule)[-1] == "up"


@PROPERTY
@given(HISTORY, rules())
def test_recovery_is_monotone(before: list[Verdict], rule: tuple[int, int]) -> None:
    states = walk([*before, *times("good", 2 * WINDOW_LIMIT)], rule)[len(before) :]
    assert [RANK[state] for state in states] == sorted((RANK[state] for state in states), reverse=True)


@PROPERTY
@given(HISTORY, rules())
def test_worsening_is_monotone(before: list[Verdict], rule: tuple[int, int]) -> None:
    states = walk([*before, *times("bad", 2 * WINDOW_LIMIT)], rule)[max(len(before) - 1, 0) :]
    assert [RANK[state] for state in states] == sorted(RANK[state] for state in states)


@PROPERTY
@given(HISTORY, rules(least=2), st.permutations(["good", "bad"]))
def test_alternating_results_do_not_make_the_state_flap(
    before: list[Verdict], rule: tuple[int, int], pair: list[Verdict]
) -> None:
    """Alternating results keep a state once the window contains nothing else."""
    states = walk(before + pair * 3 * WINDOW_LIMIT, rule)[len(before) + WINDOW_LIMIT :]
    assert len(set(states)) == 1


@PROPERTY
@given(HISTORY, rules())
def test_down_ends_only_after_enough_results_in_a_row(history: list[Verdict], rule: tuple[int, int]) -> None:
    states = walk(history, rule)
    for index, (before, after) in enumerate(pairwise(states), start=1):
        if before == "down" and after != "down":
            assert "bad" not in history[index + 1 - rule[0] : index + 1]
        if after == "down" and before != "down":
            assert history[index] == "bad"


@PROPERTY
@given(HISTORY, rules())
def test_results_before_the_window_are_ignored(history: list[Verdict], rule: tuple[int, int]) -> None:
    for state in RANK:
        assert next_state(state, history, *rule) == next_state(state, history[-rule[1] :], *rule)


@pytest.mark.parametrize("state", RANK)
def test_the_state_does_not_change_without_results(state: State) -> None:
    assert next_state(state, [], 2, 3) == state


@pytest.mark.parametrize(
    ("state", "verdicts", "following"),
    [
        ("down", ["good", "good"], "down"),
        ("down", ["good", "good", "good"], "up"),
        ("degraded", ["poor", "good", "good"], "degraded"),
        ("degraded", ["good", "good", "good"], "up"),
        ("unknown", ["good", "bad"], "unknown"),
        ("unknown", ["bad", "good"], "up"),
    ],
)
def test_a_state_does_not_end_before_enough_results(state: State, verdicts: list[Verdict], following: State) -> None:
    assert next_state(state, verdicts, failures=3, window=5) == following


def test_states_are_the_same_everywhere() -> None:
    """Standings allow all states, incidents the bad ones, and the status page sorts all of them."""
    sql = "".join(path.read_text() for path in sorted(Path(migrations.__path__[0]).glob("*.sql")))
    standings, incidents = re.findall(r"CHECK \(state IN \(([^)]*)\)\)", sql)
    states = set(get_args(State))
    assert set(re.findall(r"'(\w+)'", standings)) == states
    assert set(re.findall(r"'(\w+)'", incidents)) < states
    assert set(URGENCY) == {*states, "stale", "maintenance", "paused"}
