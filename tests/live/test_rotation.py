"""A credential of a running, populated stack is replaced under a steady load, and no request fails."""

from __future__ import annotations

from tests.live import rotations
from tests.live.load import Load
from tests.live.stack import Stack
from toolkit.rotation.accounts import Credential


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
    assert load.sent > 100
    assert load.unfinished(30) == [], "every accepted probe is carried out"
    assert rotations.lets_in(prod_stack, account, after)
    assert not rotations.lets_in(prod_stack, account, before)
    assert not rotations.lets_in(prod_stack, account, Credential(before.user, after.password))
    assert prod_stack.container("db")["State"]["StartedAt"] == database, "the database goes on running"
    said = done.stdout + done.stderr + prod_stack.compose("logs", "db", "app", "worker")
    assert not any(each.password in said for each in (before, after))
    prod_stack.invoke("secrets.check")
