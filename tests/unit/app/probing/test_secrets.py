"""Header values that are references to secrets: sent to the target's own origin, and shown nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from netmon.guard import Guard
from netmon.models import Outcome, Plan
from netmon.probing import Prober
from netmon.probing.secrets import MAX_SECRET
from netmon.secret_values import MASK
from netmon.specs import HttpSpec
from netmon.target_models import Target, TargetSettings
from tests.unit.app.probing.servers import OK, answers, redirects, server

pytestmark = pytest.mark.anyio

VALUE = "Bearer a-value-that-nobody-sees"


async def probed(folder: Path, url: str, retries: int = 0) -> Outcome:
    spec = HttpSpec(url=url, headers={"Authorization": "secret:token", "X-Token": "secret:token"})
    async with Prober(Guard(private=True), "test", folder) as prober:
        return await prober.probe(Plan(spec=spec, timeout_seconds=5, retries=retries))


async def test_a_probe_sends_the_content_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{VALUE}\n")
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as url:
        assert (await probed(tmp_path, url)).status == "succeeded"
        (tmp_path / "token").write_text("replaced")
        assert (await probed(tmp_path, url)).status == "succeeded"
    assert f"authorization: {VALUE}\r\n".lower().encode() in heads[0]
    assert f"x-token: {VALUE}\r\n".lower().encode() in heads[0]
    assert b"authorization: replaced\r\n" in heads[1], "a changed file takes effect with the next probe"


async def test_a_secret_is_not_sent_to_another_origin_after_a_redirect(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(VALUE)
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as elsewhere, server(redirects(elsewhere)) as url:
        assert (await probed(tmp_path, url)).status == "succeeded"
    assert len(heads) == 1
    assert b"authorization" not in heads[0]
    assert VALUE.lower().encode() not in heads[0]


def link(path: Path) -> None:
    outside = path.parent.parent / "outside"
    outside.write_text(VALUE)
    path.symlink_to(outside)


PROBLEMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _path: None, "the secret token is missing"),
    "empty": (lambda path: path.write_text(" \n"), "the secret token is empty"),
    "binary": (lambda path: path.write_bytes(f"{VALUE}\0".encode()), "the secret token is not one line"),
    "two-lines": (lambda path: path.write_text(f"{VALUE}\r\nX-Other: 1"), "the secret token is not one line"),
    "long": (lambda path: path.write_text(VALUE + "a" * MAX_SECRET), "the secret token is not one line"),
    "folder": (lambda path: path.mkdir(), "the secret token cannot be read"),
    "pipe": (os.mkfifo, "the secret token cannot be read"),
    "link": (link, "the secret token cannot be read"),
}


@pytest.mark.parametrize("name", PROBLEMS)
async def test_an_unusable_secret_fails_the_probe_before_a_request(tmp_path: Path, name: str) -> None:
    make, sentence = PROBLEMS[name]
    (tmp_path / "targets").mkdir()
    make(tmp_path / "targets" / "token")
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as url:
        outcome = await probed(tmp_path / "targets", url, retries=2)
    assert outcome.error == "secret"
    assert (outcome.detail or "").startswith(sentence)
    assert VALUE not in outcome.model_dump_json()
    assert outcome.attempts == 1, "a retry would not change it"
    assert heads == []


@pytest.mark.parametrize(
    "name", ["", "../api_token.txt", "/etc/passwd", "a/b", ".hidden", "a b", "a\\b", "-", "ä", "a" * 101, "a\n"]
)
async def test_a_reference_names_a_file_of_the_folder(name: str) -> None:
    with pytest.raises(ValidationError, match=r"name of a file|String should match"):
        HttpSpec(url="http://a/", headers={"X": f"secret:{name}"})


async def test_a_reference_is_shown_and_a_value_is_masked() -> None:
    spec = HttpSpec(url="http://a/", headers={"A": "secret:a.b_c-1", "B": "value"})
    target = Target.of(TargetSettings(name="a", spec=spec))
    shown = target.masked().spec
    assert isinstance(shown, HttpSpec)
    assert shown.headers == {"A": "secret:a.b_c-1", "B": MASK}
