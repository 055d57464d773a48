"""Verdicts of blackbox_exporter, from what it reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus.blackbox import blackbox_exporter, read_verdict
from tests.corpus.verdict import Verdict

pytestmark = pytest.mark.anyio


def report(status: int, success: int, redirects: int = 0, error: str = "") -> str:
    """Log and metrics of a probe, in the form of blackbox_exporter 0.28."""
    line = 'time=2026-11-30T12:09:38.973Z level=ERROR msg="Error for HTTP request" module=any_answer'
    return (
        f"Logs for the probe:\n{f'{line} err={error}' if error else ''}\n"
        f"Metrics that would have been returned:\n# TYPE probe_success gauge\n"
        f'probe_http_duration_seconds{{phase="tls"}} 0\nprobe_dns_lookup_time_seconds 3.1e-06\n'
        f"probe_http_redirects {redirects}\nprobe_http_status_code {status}\nprobe_success {success}\n"
        f"Module configuration:\nprober: http\n"
    )


UP, DOWN = report(200, 1), report(0, 0)


def test_a_response_has_its_status_and_text() -> None:
    assert read_verdict(UP, UP) == Verdict(status=200, error=None, text=True)
    assert read_verdict(UP, report(200, 0)) == Verdict(status=200, error=None, text=False)


@pytest.mark.parametrize(("success", "status"), [(1, 0), (0, None)])
def test_status_0_is_a_response_only_if_the_probe_succeeds(success: int, status: int | None) -> None:
    assert read_verdict(report(0, success), DOWN)["status"] == status


@pytest.mark.parametrize(("redirects", "status"), [(10, 302), (11, None)])
def test_a_redirect_that_is_not_followed_is_no_response(redirects: int, status: int | None) -> None:
    verdict = read_verdict(report(302, 1, redirects), DOWN)
    assert (verdict["status"], verdict["error"]) == (status, None if status else "too many redirects")


@pytest.mark.parametrize(
    ("logged", "error"),
    [
        ("EOF", "EOF"),
        (r'"Get \"http://127.0.0.1:4321/\": EOF"', "EOF"),
        (r'"Get \"http://127.0.0.1:4321/\": bad \"a\\tb\""', r'bad "a\tb"'),
        ('"read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset"', "read: read: connection reset"),
        ('"has expired: current time 2026-11-30T12:11:28Z is after 2026-11-29"', "has expired"),
    ],
)
def test_an_error_is_the_same_in_each_run(logged: str, error: str) -> None:
    assert read_verdict(report(0, 0, error=logged), DOWN) == Verdict(status=None, error=error, text=False)


@pytest.mark.parametrize(
    ("program", "problem"),
    [("/missing/blackbox_exporter", "cannot run /missing/blackbox_exporter"), ("/bin/false", "does not start")],
)
async def test_a_program_that_does_not_run_is_named(tmp_path: Path, program: str, problem: str) -> None:
    with pytest.raises(SystemExit, match=problem):
        async with blackbox_exporter(program, tmp_path / "ca.pem"):
            pass
