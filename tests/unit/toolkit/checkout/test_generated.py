"""The record of generated passwords: only of those generated here, and until the stack has started."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from toolkit.checkout import credentials, generated
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core.errors import ToolkitError


def test_generated_password_is_recorded_without_its_value(project: Project) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    setup(project, "dev")
    since = generated.since(project, "db")
    assert since is not None
    assert before <= since <= before + timedelta(minutes=1)
    text = generated.path(project).read_text()
    assert credentials.load(project, project.secrets["postgres_password"]) not in text
    assert generated.path(project).stat().st_mode & 0o077 == 0
    assert generated.since(project, "redis") is None


def test_supplied_password_is_not_recorded(project: Project) -> None:
    project.env_file.write_text("POSTGRES_PASSWORD=supplied-by-the-user-1\n")
    setup(project, "dev")
    assert generated.since(project, "db") is None


def test_replaced_password_has_no_record(project: Project) -> None:
    setup(project, "dev")
    credentials.path_of(project, "postgres_password").write_text("of-the-other-checkout-1")
    assert generated.since(project, "db") is None


def test_later_setup_keeps_the_record_and_a_start_removes_it(project: Project) -> None:
    setup(project, "dev")
    text = generated.path(project).read_text()
    setup(project, "dev")
    assert generated.path(project).read_text() == text
    generated.forget(project)
    generated.forget(project)
    assert generated.since(project, "db") is None


def test_broken_record_is_none(project: Project) -> None:
    setup(project, "dev")
    entry = json.loads(generated.path(project).read_text())["postgres_password"]
    incomplete, undated, numbered = {"of": entry["of"]}, {**entry, "at": "yesterday"}, {**entry, "at": 1}
    entries: list[object] = ["x", None, [], {}, incomplete, undated, numbered]
    for text in ("{", "[]", "{}", *(json.dumps({"postgres_password": each}) for each in entries)):
        generated.path(project).write_text(text)
        assert generated.since(project, "db") is None, text


def test_record_that_cannot_be_removed_is_an_error(project: Project) -> None:
    generated.path(project).mkdir(parents=True)
    with pytest.raises(ToolkitError, match=r"cannot write .*generated.json: ") as raised:
        generated.forget(project)
    assert raised.value.fix
