"""No secret of a production stack leaks outside secrets/."""

from __future__ import annotations

import os
from collections.abc import Iterator
from secrets import token_hex

import pytest

from tests.live.leaks import PLACES, find
from tests.live.needles import needles, secrets_of
from tests.live.stack import Stack, until


@pytest.fixture
def target(prod_stack: Stack) -> Iterator[None]:
    """A target with a header whose value is a secret; it has been probed."""
    secret = prod_stack.root / "secrets" / "targets" / "leak-search"
    secret.write_text(f"{token_hex(16)}\n")
    secret.chmod(0o644)
    spec = {"kind": "http", "url": "http://app:3000/api/health/live", "headers": {"X-Key": f"secret:{secret.name}"}}
    proxy, access = prod_stack.proxy(), prod_stack.authorization()
    targets, session = f"{proxy.address}/api/targets", proxy.session()
    added = session.post(targets, json={"name": "leak search", "spec": spec}, headers=access, timeout=10)
    assert added.status_code == 201, added.text
    address = f"{targets}/{added.json()['id']}"
    until(lambda: session.get(f"{address}/latest", timeout=10).json().get("status") == "succeeded", 30, "a result")
    yield
    assert session.delete(address, headers=access, timeout=10).status_code == 204
    secret.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees every process's environment and every volume")
@pytest.mark.usefixtures("target")
def test_no_secret_leaks_outside_its_folder(prod_stack: Stack) -> None:
    report = find(prod_stack, needles(secrets_of(prod_stack.root / "secrets")))
    assert not report.leaks, f"\n{report}"
    assert set(report.bytes) == set(PLACES)
    assert all(report.bytes.values()), f"a place was not read:\n{report}"
