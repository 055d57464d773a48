"""The one place that runs programs."""

from __future__ import annotations

import pytest

from netmon_backup import commands
from netmon_backup.errors import BackupError


def test_a_program_that_is_killed_has_reported_its_reason() -> None:
    """Restic retries a refused request for minutes, and writes the refusal before each."""
    done = commands.run(["sh", "-c", "echo refused >&2; exec sleep 30"], timeout=0.5)
    assert done.code == 124
    assert done.stderr == "refused\n\nno answer within 0.5 s"
    assert done.reason == "refused; no answer within 0.5 s"


def test_a_program_reads_its_input_and_its_variables() -> None:
    done = commands.run(["sh", "-c", "cat; echo $KIND"], stdin=b"text ", env={"KIND": "full"})
    assert (done.code, done.stdout) == (0, "text full\n")


def test_a_missing_program_is_an_error() -> None:
    with pytest.raises(BackupError, match="cannot run no-such-program"):
        commands.run(["no-such-program"])
