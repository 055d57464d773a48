"""An invalid file is refused with the line, the key and the reason of each mistake."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netmon.api.configuration_plan import Configuration, plan_configuration
from netmon.bulk_store import Stored
from netmon.target_models import TargetSettings
from tests.unit.toolkit.conftest import CHECKOUT
from toolkit.core.errors import ToolkitError
from toolkit.operate.targets import document, targetfile
from toolkit.operate.targets.document import Mistake, MistakesError

VALID = """\
# A comment.
defaults:
  interval_seconds: 30
  tags: [shop]
targets:
  - name: Shop
    spec:
      kind: http
      url: https://shop.example/
      headers:
        Authorization: secret:shop
        X-Trace: "1"
  - name: Mail
    spec: {kind: tcp, host: mail.example, port: 25}
    interval_seconds: 60
"""


def parsed(text: str) -> targetfile.TargetFile:
    return targetfile.parse("targets.yml", text.encode())


def mistakes(content: str | bytes) -> list[Mistake]:
    """The mistakes in a file."""
    with pytest.raises(MistakesError) as raised:
        targetfile.parse("targets.yml", content.encode() if isinstance(content, str) else content)
    assert "nothing was changed" in str(raised.value)
    return raised.value.mistakes


def test_targets_have_the_defaults() -> None:
    shop, mail = parsed(VALID).targets
    assert (shop["interval_seconds"], shop["tags"]) == (30, ["shop"])
    assert (mail["interval_seconds"], mail["tags"]) == (60, ["shop"])
    assert mail["spec"] == {"kind": "tcp", "host": "mail.example", "port": 25}


BOMB = "a: &a [x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(20)
)
LIST = "targets:\n- name: a\n"
INVALID: dict[str, tuple[str | bytes, int, str, str]] = {
    "a tab": ("targets:\n\t- name: a\n", 2, "", "a tab: indent with spaces"),
    "a tab later": ("targets:\n- name: a\n \tspec: {}\n", 3, "", "a tab: indent with spaces"),
    "duplicate names": (f"{LIST}- name: b\n- name: ' a'\n", 4, "targets[2].name", "duplicate name 'a', first in"),
    "an unknown section": ("target: []\ntargets: []\n", 1, "target", "unknown key; known: defaults, targets"),
    "a list where a map belongs": (f"{LIST}- [a]\n", 3, "targets[1]", "a map of settings is required, not a list"),
    "a map where a list belongs": ("targets:\n  a: {}\n", 1, "targets", "a list is required, not a map"),
    "a list at the top": ("- name: a\n", 1, "", "a map with the key targets is required, not a list"),
    "text": ("hello\n", 1, "", "a map with the key targets is required, not text"),
    "a list of defaults": ("targets: []\ndefaults: []\n", 2, "defaults", "a map of settings is required, not a list"),
    "a map of windows": ("targets: []\nmaintenance: {}\n", 2, "maintenance", "a list is required, not a map"),
    "duplicate windows": ("targets: []\nmaintenance: [{name: a}, {name: a}]\n", 2, "maintenance[1].name", "duplicate"),
    "a default name": ("targets: []\ndefaults:\n  name: a\n", 3, "defaults.name", "each target has its own"),
    "empty": ("", 1, "", "the file is empty"),
    "a comment": ("# nothing\n", 1, "", "the file is empty"),
    "no list": ("targets:\n", 1, "targets", "a list is required, not an empty value; an empty one: targets: []"),
    "no targets": ("defaults: {}\n", 1, "targets", "missing"),
    "no name": ("targets:\n- enabled: true\n", 2, "targets[0].name", "missing"),
    "a number as a name": ("targets:\n- name: 1\n", 2, "targets[0].name", "text is required, not a number"),
    "a number as a key": ("targets:\n- name: a\n  1: b\n", 3, "targets[0]", "a key must be text, and 1 is none"),
    "a duplicate key": (f"{LIST}  retries: 1\n  retries: 2\n", 4, "targets[0].retries", "duplicate key, first in"),
    "a list as a key": ("? [a]\n: b\n", 1, "", "a key must be text"),
    "not UTF-8": (b"targets:\n- name: \xe9t\xe9\n", 2, "", "not UTF-8: the byte 0xe9"),
    "UTF-16": ("targets: []\n".encode("utf-16"), 1, "", "not UTF-8: the byte 0xff"),
    "a control character": ("targets:\n- name: a\n  tags: [a\x07]\n", 3, "", "the control character U+0007"),
    "a null character": ("targets: []\n\0", 2, "", "the control character U+0000"),
    "an alias": ("defaults: &d {retries: 1}\ntargets:\n- *d\n", 3, "", "an alias"),
    "a merge key": ("targets:\n- name: a\n  <<: &b {retries: 1}\n- <<: *b\n  name: c\n", 4, "", "an alias"),
    "an alias bomb": (BOMB, 2, "", "an alias"),
    "a loop": ("targets: &a [*a]\n", 1, "", "an alias"),
    "an unknown alias": ("targets: *a\n", 1, "", "not valid YAML: found undefined alias"),
    "a tag": ("targets: !!python/object/apply:os.system [id]\n", 1, "targets", "the tag"),
    "a binary": ("targets: []\ndefaults: {severity: !!binary aGk=}\n", 2, "defaults.severity", "the tag !!binary"),
    "two documents": ("targets: []\n---\ntargets: []\n", 2, "", "expected a single document"),
    "an open bracket": ("targets: [\n", 2, "", "not valid YAML"),
    "a bad indent": ("targets:\n- name: a\n   spec: {}\n", 3, "", "not valid YAML"),
    "deep": ("targets: " + "[" * 500 + "]" * 500, 1, "targets" + "[0]" * 20, "nested too deeply"),
    "very deep": ("targets: " + "[" * 200_000, 1, "", "not valid YAML"),
    "10 MB": (b"#" * 10_000_000, 0, "", "the file is larger than 8 MiB"),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_file_is_refused_with_line_key_and_reason(name: str) -> None:
    content, line, key, reason = INVALID[name]
    began = time.monotonic()
    first = mistakes(content)[0]
    assert (first.line, first.key) == (line, key), first
    assert reason in first.reason
    assert time.monotonic() - began < 5


def test_every_mistake_is_listed() -> None:
    found = mistakes("defaults: 1\ntargets:\n- name: 1\n- []\nother: 1\n")
    assert [each.line for each in found] == [1, 3, 4, 5]
    with pytest.raises(MistakesError) as raised:
        parsed("targets:\n" + "- []\n" * 30)
    text = str(raised.value)
    assert text.startswith(
        "error: targets.yml has 30 mistakes: nothing was changed\n  targets.yml:2: targets[0]: a map"
    )
    assert "and 10 more" in text


@pytest.mark.parametrize("value", ["yes", "no", "on", "0o17", "012", "2026-01-31", "1e5", "12:30:45", "1_000", "0x1f"])
def test_plain_scalars_have_the_types_of_yaml_1_2(value: str) -> None:
    assert parsed(f"targets: [{{name: {value}, spec: {{}}}}]").targets[0]["name"] == value


def test_numbers_are_numbers() -> None:
    found = parsed("targets: [{name: a, a: -1, b: 1.5, c: 1.0e-5, d: true, e: ~, f: , g: 0}]").targets[0]
    assert found == {"name": "a", "a": -1, "b": 1.5, "c": 1e-5, "d": True, "e": None, "f": None, "g": 0}


def test_a_byte_order_mark_is_ignored() -> None:
    assert targetfile.parse("targets.yml", b"\xef\xbb\xbftargets: []\n").targets == []


REPORTED: dict[str, tuple[int, str, str]] = {
    "body/targets/1/spec/tcp/port": (14, "targets[1].spec.port", "x"),
    "body/targets/0/spec/http/headers/X-Trace": (12, "targets[0].spec.headers.X-Trace", "x"),
    "body/targets/0/spec/http/headers/X-Trace/[key]": (12, "targets[0].spec.headers.X-Trace", "x"),
    "body/targets/0/spec": (7, "targets[0].spec", "x"),
    "body/targets/0/interval_seconds": (3, "defaults.interval_seconds", "x"),
    "body/targets/1/interval_seconds": (15, "targets[1].interval_seconds", "x"),
    "body/targets/1/tags/0": (4, "defaults.tags[0]", "x"),
    "body/targets/1": (13, "targets[1]", "x"),
    "body/targets/1/spec/tcp/missing": (14, "targets[1].spec.missing", "x"),
    "body": (0, "", "x"),
    "body/targets/9/name": (0, "", "x"),
}


@pytest.mark.parametrize("at", REPORTED)
def test_a_mistake_that_the_application_reports_has_line_and_key(at: str) -> None:
    [found] = parsed(VALID).mistakes([{"at": at, "message": "x"}]).mistakes
    assert (found.line, found.key, found.reason) == REPORTED[at]


def test_a_mistake_in_the_defaults_is_reported_once() -> None:
    reported = [{"at": f"body/targets/{index}/tags/0", "message": "x"} for index in (0, 1)]
    assert len(parsed(VALID).mistakes(reported).mistakes) == 1


def test_an_unknown_key_is_reported_with_a_similar_one() -> None:
    file = parsed("targets:\n- name: a\n  interval_second: 5\n- name: b\n  spec: {kind: tcp, host/a: b}\n")
    unknown = "Extra inputs are not permitted"
    reported = [
        {"at": at, "message": unknown} for at in ("body/targets/0/interval_second", "body/targets/1/spec/tcp/host/a")
    ]
    first, second = file.mistakes(reported).mistakes
    assert (first.line, first.reason) == (3, "unknown key; did you mean interval_seconds?")
    assert (second.line, second.key) == (5, "targets[1].spec.host/a")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yml", tmp_path):
        with pytest.raises(ToolkitError, match="cannot read"):
            targetfile.load(str(path))
    large = tmp_path / "large.yml"
    large.write_bytes(b" " * 10_000_000)
    with pytest.raises(ToolkitError, match=r"large\.yml: the file is larger"):
        targetfile.load(str(large))


@pytest.mark.slow
def test_twenty_thousand_targets_fit() -> None:
    spec = (
        "spec: {kind: http, url: 'https://a-host-with-a-name.example.org/a/path', headers: {Authorization: secret:a}}"
    )
    text = "targets:\n" + "".join(f"- name: Target {n}\n  {spec}\n  interval_seconds: 30\n" for n in range(20_000))
    assert len(text) < document.MAX_BYTES
    assert len(parsed(text).targets) == 20_000


def test_the_example_of_the_document_is_valid() -> None:
    text = (CHECKOUT / "docs" / "targets.md").read_text()
    [example] = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    file = parsed(example)
    names = [TargetSettings.model_validate(each).name for each in file.targets]
    assert names == ["Shop", "Mail", "Orders", "MX", "Backup"]
    body = Configuration.model_validate({"targets": file.targets, "maintenance": file.maintenance})
    plan = plan_configuration(body, Stored([], [], datetime(2026, 1, 1, tzinfo=UTC)), lambda _spec: None, prune=False)
    assert plan.windows
    assert plan.windows.created == ["Weekly updates", "Move of the shop"]


def test_credentials_in_the_file_are_found() -> None:
    text = VALID.replace("secret:shop", "Bearer x")
    assert [each.name for each in parsed(text).exposed] == ["Authorization"]
    assert parsed(VALID).exposed == []
    assert parsed(VALID.replace("secret:shop", "•••")).exposed == []


@pytest.mark.parametrize(
    ("setting", "value", "exposed"),
    [
        ("password", "a", True),
        ("bearer_token", "a", True),
        ("client_certificate", "a", True),
        ("password", "secret:a", False),
        ("password", "•••", False),
        ("body", "a", False),
        ("ca_certificate", "a", False),
        ("username", "a", False),
    ],
)
def test_credentials_besides_headers_are_found(setting: str, value: str, exposed: bool) -> None:
    text = f"targets:\n- name: a\n  spec:\n    kind: http\n    {setting}: {value}\n"
    assert [each.name for each in parsed(text).exposed] == [setting] * exposed
    assert [(each.name, each.value) for each in parsed(text).values] == [(setting, value)]
