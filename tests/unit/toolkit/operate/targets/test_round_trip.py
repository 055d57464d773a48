"""A file that was exported changes nothing when it is applied."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from netmon.api.bulk_plan import plan_list
from netmon.api.configuration_plan import Configuration, plan_configuration
from netmon.api.targets import TargetBody
from netmon.bulk_store import Stored
from netmon.kinds import KINDS
from netmon.maintenance import MaintenanceWindow, Once, Weekly, WindowView
from netmon.specs import HttpSpec
from netmon.target_models import Target, TargetSettings, TargetView
from tests.unit.app.properties import PROPERTY
from tests.unit.app.test_app_bulk import permits, shown, stored_targets
from tests.unit.app.test_app_configuration import NOW
from tests.unit.app.test_app_configuration import stored as configuration
from toolkit.core.errors import ToolkitError
from toolkit.operate.targets import export, targetfile

LIKE_YAML = (
    "yes", "No", "null", "~", "true", "12", "0o17", "012", "1_000", "1e5", "1.5", ".5", "2026-01-31", "12:30:45", "=",
    "- a", "# a", "a: b", "a #b", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a`", "'", '"', "{a}", "[a]", "a,b", "a\\b",
    "a\x85b", "a\u2028b", "a\ufeffb", "a\u00a0b", "a\x9fb", "a\ufffeb", "\U0001f600", "ä", "-", "?", "<<", "•••",
    "a  b",
)  # fmt: skip


@cache
def defaults() -> dict[str, dict[str, Any]]:
    """The defaults, in the form that the client reads from the OpenAPI document."""
    found = {}
    models: list[type[BaseModel]] = [TargetBody, *(kind.spec for kind in KINDS.values())]
    for model in models:
        schema = model.model_json_schema()
        found[model.__name__] = {
            name: each["default"] if "default" in each else {"array": [], "object": {}}.get(each.get("type"))
            for name, each in schema["properties"].items()
            if name not in schema.get("required", ())
        }
    return found


def exported(stored: list[Target], windows: Sequence[MaintenanceWindow] = ()) -> str:
    views = json.loads(TypeAdapter(list[TargetView]).dump_json([shown(target) for target in stored]))
    shown_windows = TypeAdapter(list[WindowView]).dump_json([WindowView.of(window, NOW) for window in windows])
    return export.render(views, defaults(), export.windows_of(json.loads(shown_windows), views, NOW))


def require_unchanged(stored: list[Target]) -> None:
    text = exported(stored)
    file = targetfile.parse("targets.yml", text.encode())
    bodies = TypeAdapter(list[TargetBody]).validate_json(json.dumps(file.targets))
    for prune in (False, True):
        change = plan_list(bodies, stored, permits, prune=prune)
        assert (change.create, change.update, list(change.delete), list(change.missing)) == ([], [], [], []), text
        assert change.unchanged == len(stored)


def test_the_schema_of_every_kind_is_known() -> None:
    assert {name: kind.spec.__name__ for name, kind in KINDS.items()} == export.SPECS


def test_every_setting_is_suggested_for_mistyped_keys() -> None:
    models: list[type[BaseModel]] = [TargetSettings, MaintenanceWindow, Once, Weekly]
    models += [kind.spec for kind in KINDS.values()]
    of_the_application = {"id", "created_at", "updated_at"}
    assert {name for model in models for name in model.model_fields} - of_the_application == targetfile.SETTINGS


@given(stored_targets)
@PROPERTY
def test_export_and_apply_changes_nothing(stored: list[Target]) -> None:
    require_unchanged(stored)


@given(configuration(), st.booleans())
@PROPERTY
def test_export_and_apply_changes_no_window(before: Stored, prune: bool) -> None:
    text = exported(list(before.targets), before.windows)
    file = targetfile.parse("targets.yml", text.encode())
    body = {"targets": file.targets, "maintenance": file.maintenance}
    plan = plan_configuration(Configuration.model_validate_json(json.dumps(body)), before, permits, prune=prune)
    assert not plan.change.windows.any, text
    assert plan.change.unchanged == len(before.targets)
    assert plan.windows is None or plan.windows.unchanged == len(before.windows)


@given(st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable() and text.strip() != ""))
@example("\x85 a")
@PROPERTY
def test_any_text_survives(text: str) -> None:
    spec = HttpSpec(url="https://a.example/", body_contains=text)
    require_unchanged([Target.of(TargetSettings(name=text, spec=spec))])


@pytest.mark.parametrize("text", LIKE_YAML)
def test_text_that_looks_like_yaml_survives(text: str) -> None:
    value = text if text.isascii() and text.isprintable() else "a"
    spec = HttpSpec(url="https://a.example/", body_contains=text, headers={"X-A": value, "Null": "yes", "Y": "1"})
    require_unchanged([Target.of(TargetSettings(name=text, spec=spec))])


def test_every_setting_of_http_survives() -> None:
    spec = HttpSpec.model_validate(
        {
            "url": "https://a.example/", "method": "POST", "body": "line 1\n\n  line 2\t\n",
            "content_type": "text/plain",
            "expected_status": [200, "3xx", "400-404"], "expected_headers": ["A", "B == yes", "C matches ^# :"],
            "body_excludes": "no", "body_matches": "^a: b$", "expected_json": ['$["a b"].c == "~"', "$.d[*] > 1.50"],
            "min_body_bytes": 1, "max_body_bytes": 10, "slow_phases_ms": {"tls": 1.5}, "expected_protocol": "HTTP/2",
            "username": "a", "password": "b", "client_certificate": "secret:identity", "verify_tls": False,
            "ip_version": 6, "connect_to": "b:1",
        }
    )  # fmt: skip
    stored = [Target.of(TargetSettings(name="a", spec=spec))]
    require_unchanged(stored)
    text = exported(stored)
    assert "password: •••" in text
    assert export.MASKED in text


def test_an_export_has_no_defaults_and_no_state() -> None:
    spec = HttpSpec(url="https://a.example/", headers={"A": "secret:a", "B": "value"})
    text = exported([Target.of(TargetSettings(name="a", spec=spec, slow_ms=500))])
    assert text.removeprefix(export.HEADER).removeprefix(export.MASKED) == (
        "targets:\n- name: a\n  spec:\n    kind: http\n    url: https://a.example/\n    headers:\n      A: secret:a\n"
        "      B: •••\n  slow_ms: 500.0\n"
    )
    assert "value" not in text.removeprefix(export.HEADER).removeprefix(export.MASKED)


def test_an_application_that_describes_no_targets_is_refused() -> None:
    with pytest.raises(ToolkitError, match="TargetBody"):
        export.render([], {})
