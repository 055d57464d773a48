"""The parser of the CI workflow: jobs and their scripts, and errors for unsupported features."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.workflow import PATH, Job, UnsupportedError, jobs

ROOT = Path(__file__).resolve().parents[3]
WORKFLOW = """\
on: push
jobs:
  files:
    name: ${{ matrix.session }}, Python ${{ matrix.python }}
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    strategy:
      matrix:
        include:
          - {session: lint, python: "3.14"}
          - {session: validate, python: "3.11", options: "-- --quick"}
    steps:
      - uses: actions/checkout@v6
      - uses: actions/setup-python@v6
        with:
          python-version: ${{ matrix.python }}
      - run: pip install .
      - run: nox --session ${{ matrix.session }} ${{ matrix.options }}
  stack:
    runs-on: ubuntu-24.04
    timeout-minutes: 60
    steps:
      - uses: actions/checkout@v6
      - uses: actions/setup-python@v6
        with: {python-version: "3.14"}
      - name: all of it
        run: |
          first
          second
"""


def test_each_combination_of_a_matrix_is_a_job() -> None:
    assert jobs(WORKFLOW) == [
        Job("lint, Python 3.14", "3.14", 5, ("pip install .", "nox --session lint ")),
        Job("validate, Python 3.11", "3.11", 5, ("pip install .", "nox --session validate -- --quick")),
        Job("stack", "3.14", 60, ("first\nsecond\n",)),
    ]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("actions/setup-python@v6\n        with:\n", "actions/cache@v4\n        with:\n", "the action actions/cache"),
        ("${{ matrix.options }}", "${{ secrets.KEY }}", "secrets.KEY"),
        ("${{ matrix.options }}", "${{ matrix.a || matrix.b }}", "the expression"),
        ("runs-on: ubuntu-24.04", "runs-on: windows-2025", "windows-2025"),
        ("      matrix:\n        include:", "      matrix:\n        session: [lint]\n        include:", "session"),
        ("      - name: all of it", "      - if: failure()", "a step with if"),
        ("      - name: all of it", "      - env: {A: b}", "a step with env"),
        ("    timeout-minutes: 60", "    timeout-minutes: 60\n    services: {}", "a job with services"),
        ("      - uses: actions/checkout@v6\n", "", "does not begin with"),
        ("      - run: pip install .\n", "      - uses: actions/checkout@v6\n", "has an action"),
        ('        with: {python-version: "3.14"}\n      - name', "      - name", "python-version"),
    ],
)  # fmt: skip
def test_an_unsupported_feature_is_an_error(old: str, new: str, error: str) -> None:
    assert old in WORKFLOW
    with pytest.raises(UnsupportedError, match=error):
        jobs(WORKFLOW.replace(old, new, 1))


def test_the_workflow_of_this_repository_is_supported() -> None:
    found = jobs((ROOT / PATH).read_text(encoding="utf-8"))
    scripts = [script for job in found for script in job.scripts]
    for session in ("lint", "validate", "tests"):
        assert any(script.startswith(f"nox --session {session}") for script in scripts), session
    assert any("scripts/test.sh" in script for script in scripts), "no job runs the stack"
    assert {job.python for job in found} >= {"3.11", "3.14"}, "the oldest or the newest Python is missing"
