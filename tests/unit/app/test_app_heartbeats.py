"""Decisions about heartbeats: silent periods, interruptions of the platform, repetitions, and masked tokens."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from netmon import heartbeats
from netmon.heartbeats import Awaited, Decision, Reception, decide, wait_before, without_token
from tests.unit.app.properties import PROPERTY

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def awaited(since: float = 0, *, interval: int = 60, grace: int = 10, silent_since: float = 0) -> Awaited:
    return Awaited(at(since), at(silent_since), timedelta(seconds=interval), timedelta(seconds=grace))


def slow_decisions(up: Sequence[bool], beats: set[int], interval: int, grace: int) -> list[int]:
    """The seconds at which a period turns out to be silent, by looking at each second of the whole history."""
    base, found = 0, []
    for second in range(len(up)):
        if not up[second]:
            continue
        if second in beats:
            base = second
            continue
        due = base + interval
        if second < due + grace:
            continue
        if all(up[max(base, due - grace) : due + grace + 1]):
            found.append(second)
            base += interval
        else:
            base = second
            while base and up[base - 1]:
                base -= 1
    return found


def decisions(up: Sequence[bool], beats: set[int], interval: int, grace: int, workers: Sequence[bool]) -> list[int]:
    """The same by `decide`, at the seconds at which a worker runs; it knows what PostgreSQL has."""
    state, found = awaited(interval=interval, grace=grace), []
    reception: Reception | None = None
    for second in range(len(up)):
        now = at(second)
        if up[second]:
            continues = reception is not None and reception.until == at(second - 1)
            reception = Reception(reception.since if reception and continues else now, now)
        if up[second] and second in beats:
            state = state._replace(since=now, silent_since=now)
        elif workers[second]:
            decision = decide(state, reception)
            assert decision.awaited.since >= state.since
            if decision.silent:
                found.append(second)
                assert (decision.awaited.since - state.since) % state.interval == timedelta(0)
                assert decision.awaited.silent_since == state.silent_since
            state = decision.awaited
            assert decide(state, reception) == Decision(state), "each period is decided once"
    return found


seconds_of_history = 200
histories = st.lists(st.integers(0, 40), max_size=12).map(
    lambda lengths: [number % 2 == 0 for number, length in enumerate([*lengths, 1000]) for _ in range(length)][
        :seconds_of_history
    ]
)
beat_times = st.sets(st.integers(0, seconds_of_history - 1), max_size=12)
EVERY_SECOND = [True] * seconds_of_history


@given(histories, beat_times, st.integers(5, 60), st.integers(0, 70))
@example([True] * 30 + [False] * 5 + [True] * 165, {10}, 20, 5)
@PROPERTY
def test_silent_periods_are_those_of_the_whole_history(
    up: list[bool], beats: set[int], interval: int, grace: int
) -> None:
    assume(len(up) == seconds_of_history and up[0])
    slow = slow_decisions(up, beats, interval, grace)
    assert decisions(up, beats, interval, grace, EVERY_SECOND) == slow


@given(
    histories, beat_times, st.integers(5, 60), st.integers(0, 70), st.lists(st.booleans(), min_size=200, max_size=200)
)
@PROPERTY
def test_restarts_of_workers_add_no_silent_period(
    up: list[bool], beats: set[int], interval: int, grace: int, workers: list[bool]
) -> None:
    assume(len(up) == seconds_of_history and up[0])
    found = decisions(up, beats, interval, grace, workers)
    for second in found:
        heard = [beat for beat in beats if beat <= second and up[beat]]
        assert second - max(heard, default=0) >= interval + grace, "nothing was heard for so long"
    assert len(found) <= len(
        slow_decisions([True] * seconds_of_history, {beat for beat in beats if up[beat]}, interval, grace)
    )


@pytest.mark.parametrize(
    ("since", "until", "decision"),
    [
        (-100, 69, Decision(awaited())),
        (-100, 70, Decision(awaited(60), silent=True)),
        (-100, 129, Decision(awaited(60), silent=True)),
        # No worker ran for some periods: they are not made up for.
        (-100, 130, Decision(awaited(120), silent=True)),
        # The platform was interrupted before a heartbeat could come.
        (50, 70, Decision(awaited(60), silent=True)),
        # It was interrupted when the heartbeat may have come.
        (51, 70, Decision(awaited(51, silent_since=51))),
        (500, 500, Decision(awaited(500, silent_since=500))),
    ],
)
def test_a_period_is_silent_if_the_heartbeat_could_have_been_received(
    since: float, until: float, decision: Decision
) -> None:
    assert decide(awaited(), Reception(at(since), at(until))) == decision


def test_nothing_is_decided_before_an_api_was_there() -> None:
    assert decide(awaited(), None) == Decision(awaited())


def test_the_sentence_of_a_silent_period() -> None:
    outcome = heartbeats.silence(awaited(120), at(190.7))
    assert (outcome.error, outcome.detail) == ("no_heartbeat", "no heartbeat for 190 s, expected every 60 s")


@pytest.mark.parametrize(
    ("failed", "message", "duration_ms", "result"),
    [
        (False, "ignored", 12.5, ("succeeded", 12.5, None, None, None)),
        (False, "", None, ("succeeded", 0, None, None, None)),
        (False, "", 1500, ("succeeded", 1500, "slow", None, "it took 1500 ms, more than 1000 ms")),
        (True, "", None, ("failed", 0, None, "reported", "the job reported a failure")),
        (True, " disk \x00full\n", 1500, ("failed", 1500, None, "reported", "disk �full")),
        (True, "a" * 1000, None, ("failed", 0, None, "reported", "a" * 300)),
    ],
)
def test_the_result_of_a_heartbeat(
    failed: bool, message: str, duration_ms: float | None, result: tuple[object, ...]
) -> None:
    outcome = heartbeats.received(START, failed=failed, message=message, duration_ms=duration_ms, slow_ms=1000)
    assert (outcome.status, outcome.duration_ms, outcome.warning, outcome.error, outcome.detail) == result


@pytest.mark.parametrize(
    ("last", "succeeded", "success", "stored"),
    [
        (None, None, True, True),
        (-5, True, True, True),
        (-4.9, True, True, False),
        (-4.9, False, False, False),
        (-4.9, True, False, True),
        (-0.9, True, False, False),
        (-0.9, False, True, False),
        (-1, False, True, True),
        # From the future, by a clock that was set back since.
        (61, True, True, True),
        # By a heartbeat whose transaction began later but came first.
        (0.1, True, True, False),
    ],
)
def test_a_flood_of_heartbeats_is_not_stored(
    last: float | None, succeeded: bool | None, success: bool, stored: bool
) -> None:
    wait = wait_before(None if last is None else at(last), succeeded, START, success=success)
    assert (wait <= timedelta(0)) is stored


def test_tokens_are_random_and_long() -> None:
    tokens = {heartbeats.new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 35 for token in tokens)
    assert len({heartbeats.hash_of(token) for token in tokens}) == 100


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/api/heartbeats/{}", "/api/heartbeats/•••"),
        ("/api/heartbeats/{}/fail", "/api/heartbeats/•••"),
        ("//API/Heartbeats/{}", "//API/Heartbeats/•••"),
        ("/api/heartbeat/{}", "/api/heartbeat/hb_•••"),
        ("/{}", "/hb_•••"),
        ("/api/targets/a/heartbeat-url", "/api/targets/a/heartbeat-url"),
        ("/", "/"),
    ],
)
def test_a_path_is_shown_without_its_token(path: str, shown: str) -> None:
    token = heartbeats.new_token()
    assert without_token(path.format(token)) == shown
    assert token not in shown
