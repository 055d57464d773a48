"""Deploys under load: a working release goes live, a broken one is rolled back, and no request fails."""

from __future__ import annotations

import json

import pytest

from tests.live import releases
from tests.live.load import Load
from tests.live.stack import Stack


@pytest.fixture
def load(prod_stack: Stack) -> Load:
    """Clients of the proxy."""
    proxy = prod_stack.proxy()
    return Load(proxy.address, prod_stack.authorization, session=proxy.session)


def test_a_working_release_goes_live(prod_stack: Stack, load: Load) -> None:
    before = releases.release(prod_stack)
    done = releases.deploy(prod_stack, load)
    assert done.code == 0, done.output
    assert releases.release(prod_stack) not in {before, "dev"}
    assert releases.versions(prod_stack) == {releases.release(prod_stack)}
    assert not releases.journal(prod_stack).exists()
    assert load.failures == []
    assert load.unfinished(30) == [], "every accepted probe must finish"
    assert [silence for silence in silences(prod_stack) if silence["status"]["state"] == "active"] == []


def test_a_broken_release_is_rolled_back(prod_stack: Stack, load: Load) -> None:
    """The release is healthy, but its API fails: detected before clients are affected."""
    before = releases.release(prod_stack), releases.versions(prod_stack)
    with releases.in_checkout(prod_stack, releases.FAILS_REQUESTS):
        done = releases.deploy(prod_stack, load)
    assert done.code == 1, done.output
    assert releases.FAILS_REQUESTS.error in done.output
    assert str(prod_stack.root / ".netmon" / "app.log") in done.output
    assert "broken" in (prod_stack.root / ".netmon" / "app.log").read_text()
    assert (releases.release(prod_stack), releases.versions(prod_stack)) == before
    assert not releases.journal(prod_stack).exists()
    assert load.failures == []
    assert load.unfinished(30) == [], "every accepted probe must finish"


def silences(stack: Stack) -> list[dict[str, dict[str, str]]]:
    """All silences in Alertmanager."""
    program = "import urllib.request as r; print(r.urlopen('http://alertmanager:9093/api/v2/silences').read().decode())"
    found: list[dict[str, dict[str, str]]] = json.loads(stack.exec("worker", "python", "-c", program))
    assert found, "the deploy has created no silence"
    return found
