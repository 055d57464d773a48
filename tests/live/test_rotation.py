"""A credential of a running, populated stack is replaced under a steady load, and no request fails."""

from __future__ import annotations

import json

from tests.live import rotations
from tests.live.load import Load
from tests.live.stack import Stack
from toolkit.rotation.accounts import Credential


def silences(stack: Stack, why: str) -> list[str]:
    """The states of the silences that Alertmanager has for a reason."""
    address = "http://127.0.0.1:9093/api/v2/silences"
    listed = json.loads(stack.compose("exec", "--no-TTY", "alertmanager", "wget", "-q", "-O", "-", address))
    return [each["status"]["state"] for each in listed if each["comment"] == why]


def test_the_application_goes_over_to_the_other_account(prod_stack: Stack) -> None:
    account = rotations.all_of(prod_stack)["postgres_app"]
    proxy = prod_stack.front()
    load = Load(proxy.address, session=proxy.session)
    before, database = rotations.in_use(prod_stack, account), prod_stack.container("db")["State"]["StartedAt"]
    with load.running():
        done = prod_stack.invoke("secrets.rotate", f"--name={account.name}", "--yes")
    after = rotations.in_use(prod_stack, account)
    assert {before.user, after.user} == {"netmon_a", "netmon_b"}
    assert load.failures == []
    assert silences(prod_stack, f"rotation of {account.name}") == ["expired"]
    assert load.sent > 100
    assert load.unfinished(30) == [], "every accepted probe is carried out"
    assert rotations.lets_in(prod_stack, account, after)
    assert not rotations.lets_in(prod_stack, account, before)
    assert not rotations.lets_in(prod_stack, account, Credential(before.user, after.password))
    assert prod_stack.container("db")["State"]["StartedAt"] == database, "the database goes on running"
    said = done.stdout + done.stderr + prod_stack.compose("logs", "db", "app", "worker")
    assert not any(each.password in said for each in (before, after))
    prod_stack.invoke("secrets.check")
