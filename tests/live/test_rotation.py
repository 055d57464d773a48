"""Rotation of a credential of a running stack under load, without a failed request."""

from __future__ import annotations

from tests.live import rotations
from tests.live.alerts import require_ending_silences, wait_until_inactive
from tests.live.load import Load
from tests.live.stack import Stack
from toolkit.checkout.accounts import Credential


def test_rotation_switches_the_application_to_the_other_account(prod_stack: Stack) -> None:
    account = rotations.all_accounts(prod_stack)["postgres_app"]
    proxy = prod_stack.proxy()
    load = Load(proxy.address, prod_stack.authorization, session=proxy.session)
    before, database = (
        rotations.current_credential(prod_stack, account),
        prod_stack.container("db")["State"]["StartedAt"],
    )
    wait_until_inactive(prod_stack, ["app", "worker"])
    with load.running():
        done = prod_stack.invoke("secrets.rotate", f"--name={account.name}", "--yes")
    after = rotations.current_credential(prod_stack, account)
    assert {before.user, after.user} == {"netmon_a", "netmon_b"}
    assert load.failures == []
    require_ending_silences(prod_stack, f"rotation of {account.name}", done.stdout)
    assert load.sent > 100
    assert load.unfinished(30) == [], "every accepted probe must finish"
    assert rotations.accepts(prod_stack, account, after)
    assert not rotations.accepts(prod_stack, account, before)
    assert not rotations.accepts(prod_stack, account, Credential(before.user, after.password))
    assert prod_stack.container("db")["State"]["StartedAt"] == database, "the database must not be restarted"
    output = done.stdout + done.stderr + prod_stack.compose("logs", "db", "app", "worker")
    assert not any(each.password in output for each in (before, after))
    prod_stack.invoke("secrets.check")
