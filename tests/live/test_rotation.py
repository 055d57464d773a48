"""A credential of a running, populated stack is replaced under a steady load, and no request fails."""

from __future__ import annotations

import json

from tests.live import rotations
from tests.live.load import Load
from tests.live.stack import Stack
from toolkit.checkout.accounts import Credential


def silences(stack: Stack, why: str) -> list[str]:
    """The states of the silences that Alertmanager has for a reason."""
    address = "http://127.0.0.1:9093/api/v2/silences"
    listed = json.loads(stack.compose("exec", "--no-TTY", "alertmanager", "wget", "-q", "-O", "-", address))
    return [each["status"]["state"] for each in listed if each["comment"] == why]


def test_the_token_is_replaced_while_clients_write(prod_stack: Stack) -> None:
    """Nothing is started again; a client that reads the file for each request is never turned away."""
    account = rotations.all_of(prod_stack)["api_token"]
    proxy = prod_stack.front()
    load = Load(proxy.address, prod_stack.access, rate=100, session=proxy.session)
    before, containers = rotations.in_use(prod_stack, account), prod_stack.containers()
    prod_stack.compose("up", "--detach", "--no-deps", "--scale", "app=2", "--no-recreate", "app")
    prod_stack.invoke("wait")
    try:
        with load.running():
            done = prod_stack.invoke("secrets.rotate", "--name=api_token", "--yes")
        replicas, after_it = prod_stack.containers("app"), prod_stack.containers()
    finally:
        prod_stack.invoke("up", "--no-smoke")
    after = rotations.in_use(prod_stack, account)
    assert load.failures == []
    assert len(load.accepted) > 20
    assert len(replicas) == 2
    assert set(after_it) >= set(containers), "no container was made anew"
    assert rotations.lets_in(prod_stack, account, after)
    assert not rotations.lets_in(prod_stack, account, before)
    said = done.stdout + done.stderr + prod_stack.compose("logs", "app", "proxy")
    assert not any(each.password in said for each in (before, after))
    prod_stack.invoke("secrets.check")


def test_the_application_goes_over_to_the_other_account(prod_stack: Stack) -> None:
    account = rotations.all_of(prod_stack)["postgres_app"]
    proxy = prod_stack.front()
    load = Load(proxy.address, prod_stack.access, session=proxy.session)
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
