"""Log lines that were written while the collector was down: any order, any age up to the retention."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tests.live.faults import stopped
from tests.live.logstore import lines, replicas, write_file
from tests.live.stack import Stack, until

DOWN = timedelta(minutes=90)
"""How long the collector is down, for the log files."""
STEP = timedelta(seconds=30)
OLDEST = timedelta(days=6)
"""The age of further lines, within the retention of seven days."""


def record(replica: int, began: datetime, ended: datetime) -> Iterator[tuple[datetime, str]]:
    """The lines of a replica in a period, which are unique."""
    while began < ended:
        yield began, f"replica {replica} at {began.isoformat()}"
        began += STEP


def test_a_backlog_of_replicas_with_rotated_files_is_complete(stack: Stack) -> None:
    """Files of one service are read side by side, so old lines reach the store after new ones of the same service."""
    now = datetime.now(UTC)
    half = now - DOWN / 2
    with replicas(stack, 3) as (service, [*late, ahead]):
        write_file(stack, service, ahead, "", [(now, "ahead")])
        until(lambda: lines(stack, service) == ["ahead"], 30, "the newest line of the service")

        expected = {"ahead"}
        with stopped(stack, "otel-collector"):
            for replica, container in enumerate(late):
                files = {
                    ".2": list(record(replica, now - OLDEST, now - OLDEST + DOWN)),
                    ".1": list(record(replica, now - DOWN, half)),
                    "": list(record(replica, half, now)),
                }
                for suffix, written in files.items():
                    write_file(stack, service, container, suffix, written)
                    expected |= {text for _, text in written}

        found: set[str] = set()

        def complete() -> bool:
            found.update(lines(stack, service, since="7d"))
            return found >= expected

        try:
            until(complete, 60, "every line")
        except AssertionError as error:
            lost = sorted(expected - found)
            raise AssertionError(f"{error}; {len(lost)} of {len(expected)} lost: {lost[0]} to {lost[-1]}") from None
