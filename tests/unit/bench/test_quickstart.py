"""The phases in the output of quickstart.sh."""

from __future__ import annotations

import pytest

from bench.quickstart import durations

OUTPUT = """
▶ engine  Docker Engine ≥ 25 and Compose ≥ 2.24; a running engine is not changed
  running

▶ images  pulls or builds missing images
  built netmon-local/redis:8 (6 s)
  images: 23.1 s

▶ up  containers, networks and volumes of the project
  up: 11.0 s
"""


def test_phases_have_their_seconds() -> None:
    assert durations(OUTPUT) == {"images": 23.1, "up": 11.0}


def test_output_without_phases_is_an_error() -> None:
    with pytest.raises(ValueError, match="no phases"):
        durations("error: no engine is installed")
