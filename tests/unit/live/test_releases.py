"""The broken releases of the deploy tests: each edit must apply to the current source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.live import releases

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("broken", [each for each in releases.ALL if each.old], ids=lambda broken: broken.name)
def test_an_edit_applies_to_the_source(broken: releases.BrokenRelease) -> None:
    source = (ROOT / broken.file).read_text()
    assert source.count(broken.old) == 1
    ast.parse(source.replace(broken.old, broken.new))
