"""A deploy under load: a working release goes live, and no request fails. Broken releases are drills."""

from __future__ import annotations

import pytest

from tests.live import releases
from tests.live.alerts import require_ending_silences
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
    require_ending_silences(prod_stack, "deploy of release ")
