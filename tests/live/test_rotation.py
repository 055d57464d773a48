"""Rotation of a credential of a running stack under load, without a failed request."""

from __future__ import annotations

from tests.live import rotations
from tests.live.alerts import require_ending_silences
from tests.live.load import Load
from tests.live.stack import Stack
from toolkit.checkout.accounts import Credential


def test_rotation_of_the_token_fails_no_write(prod_stack: Stack) -> None:
    """No container is restarted; a client that reads the file for each request is never rejected."""
    account = rotations.all_accounts(prod_stack)["api_token"]
    proxy = prod_stack.proxy()
    load = Load(proxy.address, prod_stack.authorization, rate=100, session=proxy.session)
    before, containers = rotations.current_credential(prod_stack, account), prod_stack.containers()
    prod_stack.compose("up", "--detach", "--no-deps", "--scale", "app=2", "--no-recreate", "app")
    prod_stack.invoke("wait")
    try:
        with load.running():
            done = prod_stack.invoke("secrets.rotate", "--name=api_token", "--yes")
        replicas, containers_after = prod_stack.containers("app"), prod_stack.containers()
    finally:
        prod_stack.invoke("up", "--no-smoke")
    after = rotations.current_credential(prod_stack, account)
    assert load.failures == []
    assert len(load.accepted) > 20
    assert len(replicas) == 2
    assert set(containers_after) >= set(containers), "a container was recreated"
    assert rotations.accepts(prod_stack, account, after)
    assert not rotations.accepts(prod_stack, account, before)
    output = done.stdout + done.stderr + prod_stack.compose("logs", "app", "proxy")
    assert not any(each.password in output for each in (before, after))
    prod_stack.invoke("secrets.check")


def test_rotation_switches_the_application_to_the_other_account(prod_stack: Stack) -> None:
    account = rotations.all_accounts(prod_stack)["postgres_app"]
    proxy = prod_stack.proxy()
    load = Load(proxy.address, prod_stack.authorization, session=proxy.session)
    before, database = (
        rotations.current_credential(prod_stack, account),
        prod_stack.container("db")["State"]["StartedAt"],
    )
    with load.running():
        done = prod_stack.invoke("secrets.rotate", f"--name={account.name}", "--yes")
    after = rotations.current_credential(prod_stack, account)
    assert {before.user, after.user} == {"netmon_a", "netmon_b"}
    assert load.failures == []
    require_ending_silences(prod_stack, f"rotation of {account.name}")
    assert load.sent > 100
    assert load.unfinished(30) == [], "every accepted probe must finish"
    assert rotations.accepts(prod_stack, account, after)
    assert not rotations.accepts(prod_stack, account, before)
    assert not rotations.accepts(prod_stack, account, Credential(before.user, after.password))
    assert prod_stack.container("db")["State"]["StartedAt"] == database, "the database must not be restarted"
    output = done.stdout + done.stderr + prod_stack.compose("logs", "db", "app", "worker")
    assert not any(each.password in output for each in (before, after))
    prod_stack.invoke("secrets.check")
