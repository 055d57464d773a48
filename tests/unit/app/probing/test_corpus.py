"""The corpus: the probe has the verdict of other clients wherever they agree; otherwise the choice has a reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from netmon.guard import Guard
from tests.corpus import CORPUS
from tests.corpus.answer import REFUSED, STRICTER, TEXT, Answer
from tests.corpus.record import CLIENTS, FILE, facts
from tests.corpus.server import Authority, serving
from tests.corpus.verdict import Verdict
from tests.unit.app.probing.probes import probe

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SECONDS = 1.5
ANSWERS = {f"{group}: {answer.name}": answer for group, answers in CORPUS.items() for answer in answers}
RECORDED: Mapping[str, Mapping[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def _trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))


@pytest.mark.parametrize("name", ANSWERS)
async def test_the_probe_has_the_expected_verdict(name: str, authority: Authority) -> None:
    answer = ANSWERS[name]
    async with serving(answer, authority) as url:
        plain = await probe(url, timeout=SECONDS)
    async with serving(answer, authority) as url:
        searched = await probe(url, timeout=SECONDS, body_contains=TEXT)
    assert (plain.http_status, plain.error) == (answer.status, answer.error), plain.detail
    assert (searched.error is None) is answer.found, searched.detail


@pytest.mark.parametrize("group", CORPUS)
async def test_no_answer_comes_from_an_address_that_the_guard_refuses(group: str, authority: Authority) -> None:
    for answer in CORPUS[group]:
        async with serving(answer, authority) as url:
            outcome = await probe(url, timeout=SECONDS, allowed=Guard())
        assert (outcome.error, outcome.http_status) == ("refused_address", None), answer.name


@pytest.mark.parametrize(
    "name",
    [
        "Redirects: to another origin",
        "Redirects: without scheme",
        "Redirects: scheme in upper case",
        "Redirects: with user and password",
        "Redirects: to a closed port",
        "TLS: redirect to plain HTTP",
    ],
)
async def test_no_redirect_leads_to_an_address_that_the_guard_refuses(name: str, authority: Authority) -> None:
    async with serving(ANSWERS[name], authority) as url:
        only_this = Guard.parse(url.split("/")[2])
        assert (await probe(url, timeout=SECONDS, allowed=only_this)).error == "refused_address"


def reported_status(answer: Answer) -> int | None:
    """The status of a response that the probe accepts."""
    return answer.status if answer.error in (None, "http_status") else None


@pytest.mark.parametrize("name", ANSWERS)
def test_the_expected_verdict_is_that_of_curl_and_chromium_or_has_a_reason(name: str) -> None:
    answer, recorded = ANSWERS[name], RECORDED[name]
    curl, chromium = recorded["curl"], recorded["chromium"]
    agreed = curl["status"] == chromium["status"] == reported_status(answer)
    if answer.error is None:
        agreed = agreed and chromium["text"] == answer.found
        # curl does not decode text, so that it has no opinion on charsets.
        agreed = agreed and (name.startswith("Charsets") or curl["text"] == answer.found)
    assert agreed or answer.reason, f"curl {curl}, Chromium {chromium}, the probe {facts(answer)['probe']}"
    assert not (agreed and answer.reason), "the reason explains nothing"


def test_the_recorded_verdicts_are_those_of_the_corpus() -> None:
    known = {name: {key: value[key] for key in ("probe", "reason")} for name, value in RECORDED.items()}
    assert known == {name: facts(answer) for name, answer in ANSWERS.items()}


def test_each_client_has_a_verdict_on_each_answer() -> None:
    for name, entry in RECORDED.items():
        assert entry.keys() == {"probe", "reason", *CLIENTS}, name
        for client in CLIENTS:
            verdict = entry[client]
            assert verdict.keys() == Verdict.__annotations__.keys(), (name, client)
            assert isinstance(verdict["status"], int | None), (name, client)
            assert isinstance(verdict["text"], bool), (name, client)


def test_all_clients_agree_against_the_probe_on_one_answer() -> None:
    """docs/probes.md names it."""
    agreed = {name: {entry[client]["status"] for client in CLIENTS} for name, entry in RECORDED.items()}
    differs = [name for name, each in agreed.items() if len(each) == 1 and each != {reported_status(ANSWERS[name])}]
    assert differs == ["Beginning: two spaces before the status"]


def test_blackbox_exporter_accepts_three_answers_that_are_refused_as_by_curl() -> None:
    """docs/probes.md names them."""
    refused = [name for name, answer in ANSWERS.items() if answer.reason == REFUSED]
    accepted = [name for name in refused if RECORDED[name]["blackbox_exporter"]["status"] is not None]
    assert accepted == ["Length: Content-Length is empty", "Beginning: HTTP/1.2", "HTTP/2: HTTP/2 with Connection"]


def test_the_corpus_is_large() -> None:
    assert len(ANSWERS) == sum(map(len, CORPUS.values())) >= 200


def test_only_few_answers_that_browsers_show_are_refused() -> None:
    """A library that becomes stricter is noticed."""
    refused = [name for name, answer in ANSWERS.items() if answer.reason in (REFUSED, STRICTER)]
    assert len(refused) <= 17


def test_an_answer_has_a_name_of_its_own() -> None:
    names = [answer.name for answers in CORPUS.values() for answer in answers]
    assert len(set(names)) == len(names)
