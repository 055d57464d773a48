"""The changelog and pyproject.toml name the same release."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADING = re.compile(r"^## \[(.+?)\](?: - (\S+))?$", re.MULTILINE)


def test_the_newest_release_is_the_version_of_the_project() -> None:
    headings = HEADING.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert headings[0] == ("Unreleased", "")
    released = [(tuple(map(int, version.split("."))), date.fromisoformat(day)) for version, day in headings[1:]]
    assert released == sorted(released, reverse=True)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert headings[1][0] == version, "a release changes both"
