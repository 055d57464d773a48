"""Heartbeats: jobs report, silence is a failure, once a period, unless the platform could not receive anything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import uuid4

import requests

from tests.live import faults, pipeline
from tests.live.stack import Stack, until

INTERVAL, GRACE = 5, 2
MISSING = INTERVAL + GRACE + 15
"""Seconds within which silence must be a result: after about 4 s more, or later under the load of other tests."""


class Job:
    """A target of kind heartbeat, and the job that reports for it."""

    def __init__(self, stack: Stack, **settings: Any) -> None:
        self.stack = stack
        spec = {"kind": "heartbeat", "grace_seconds": GRACE}
        body = {"name": f"job-{uuid4()}", "spec": spec, "interval_seconds": INTERVAL, "failures": 1, "window": 1}
        self.target = str(self.change("POST", "", 201, body | settings)["id"])
        self.path = self.new_url()

    def change(self, method: str, path: str, status: int, body: Any = None) -> Any:
        """Send a request with the write token; the response must have this status."""
        url = self.stack.url(f"/api/targets{path}")
        answer = requests.request(method, url, json=body, headers=self.stack.authorization(), timeout=15)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def new_url(self) -> str:
        """Create a new URL, and return its path."""
        return str(self.change("POST", f"/{self.target}/heartbeat-url", 201)["path"])

    def report(self, suffix: str = "", *, method: str = "GET", status: int = 200) -> dict[str, Any]:
        """Report without the write token."""
        answer = requests.request(method, self.stack.url(self.path + suffix), timeout=15)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    def view(self) -> dict[str, Any]:
        """The target, as the API returns it."""
        answer = requests.get(self.stack.url(f"/api/targets/{self.target}"), timeout=15)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def until_state(self, state: str) -> dict[str, Any]:
        """Wait until the target is in a state; it must not become stale in the meantime."""

        def look() -> dict[str, Any] | None:
            found = self.view()
            assert not found["stale"], f"stale instead of {state}: {found}"
            return found if found["standing"]["state"] == state else None

        return until(look, MISSING, f"the job to be {state}")

    def silences(self) -> list[dict[str, Any]]:
        """The results of silent periods, oldest first."""
        return [each for each in pipeline.finished(self.stack, self.target) if each["error"] == "no_heartbeat"]


@contextmanager
def job(stack: Stack, **settings: Any) -> Iterator[Job]:
    """A job, which is deleted at the end."""
    found = Job(stack, **settings)
    try:
        yield found
    finally:
        pipeline.delete_targets(stack, found.target)


def test_a_job_reports_fails_and_falls_silent(stack: Stack) -> None:
    with job(stack) as backup:
        assert backup.report("?duration_ms=42")["outcome"] == "stored"
        assert backup.report()["outcome"] == "repeated"
        up = backup.until_state("up")
        assert (up["latest"]["kind"], up["latest"]["duration_ms"]) == ("heartbeat", 42)
        down = backup.until_state("down")
        silent = down["latest"]
        assert silent["error"] == "no_heartbeat"
        assert silent["detail"].endswith(f" s, expected every {INTERVAL} s")
        [incident] = requests.get(backup.stack.url(f"/api/incidents?target={backup.target}"), timeout=5).json()
        assert (incident["cause"], incident["ended_at"]) == ("no_heartbeat", None)

        until(lambda: len(backup.silences()) >= 4, 5 * MISSING, "four silent periods")
        assert not backup.view()["stale"]
        times = [datetime.fromisoformat(each["finished_at"]) for each in backup.silences()]
        for earlier, later in pairwise(times):
            assert (later - earlier).total_seconds() > INTERVAL / 2, "a period must be one result"

        backup.report(method="POST")
        backup.until_state("up")
        time.sleep(1.1)
        backup.report("/fail?message=disk%20full", method="HEAD")
        failed = backup.until_state("down")
        assert (failed["latest"]["error"], failed["latest"]["detail"]) == ("reported", "disk full")


def test_only_the_current_url_of_a_running_job_is_accepted(stack: Stack) -> None:
    with job(stack) as backup:
        former, backup.path = backup.path, backup.new_url()
        assert requests.get(stack.url(former), timeout=5).status_code == 404
        backup.report()
        backup.change("PATCH", f"/{backup.target}", 200, {"enabled": False})
        assert backup.report()["outcome"] == "ignored"
        backup.change("PATCH", f"/{backup.target}", 200, {"enabled": True})
        backup.change("DELETE", f"/{backup.target}/heartbeat-url", 204)
        backup.report(status=404)
        shown = requests.get(stack.url("/api/targets"), timeout=5).text + str(backup.view())
        assert former not in shown
        assert backup.path not in shown


def test_heartbeats_and_silence_need_the_database_only(stack: Stack) -> None:
    with job(stack) as backup, faults.stopped(stack, "redis", "kafka", "rabbitmq"):
        assert backup.report()["outcome"] == "stored"
        assert [each["status"] for each in pipeline.finished(stack, backup.target)] == ["succeeded"]
        until(lambda: backup.silences() or None, MISSING, "silence")


def test_the_workers_decide_what_happened_while_none_was_running(stack: Stack) -> None:
    with job(stack) as backup:
        with faults.stopped(stack, "worker"):
            backup.report()
            time.sleep(3 * INTERVAL + GRACE)
            assert backup.silences() == []
        until(lambda: backup.silences() or None, 2 * MISSING, "the silence of the time without a worker")


def test_a_token_is_in_no_log(stack: Stack) -> None:
    with job(stack) as backup:
        token = backup.path.rpartition("/")[2]
        for url in (backup.path, f"{backup.path}/fail", f"{backup.path}/other", f"/api/Heartbeats/{token}"):
            requests.get(stack.url(url), timeout=5)
        logs = until(lambda: _logs(stack), 5, "the requests in the log")
        assert token not in logs
        database = stack.exec("db", "pg_dump", "-U", "postgres", "--inserts", "network_monitor", timeout=60)
        assert backup.target in database
        assert token not in database


def _logs(stack: Stack) -> str | None:
    text = stack.compose("logs", "--no-log-prefix", "--since", "1m")
    return text if "/api/heartbeats/•••" in text else None
