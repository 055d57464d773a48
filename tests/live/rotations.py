"""Accounts and credentials for the tests of rotations: values in secrets/, and logins to services."""

from __future__ import annotations

from tests.live.stack import Stack
from toolkit.checkout import rotation_journal
from toolkit.checkout.accounts import Account, Credential, accounts
from toolkit.checkout.project import Project
from toolkit.checks.logins import login_error
from toolkit.engine.compose import Docker


def all_accounts(stack: Stack) -> dict[str, Account]:
    """The accounts of the stack by name."""
    return {account.name: account for account in accounts(Project.load(stack.root))}


def current_credential(stack: Stack, account: Account) -> Credential:
    """The credential of an account in secrets/."""
    return account.credential(account.current_values(Project.load(stack.root)))


def accepts(stack: Stack, account: Account, credential: Credential) -> bool:
    """Whether the account's service accepts a credential."""
    return not login_error(Docker(stack.root), account.service, credential.user, credential.password)


def unfinished(stack: Stack) -> bool:
    """Whether the journal of a rotation exists."""
    return rotation_journal.folder(Project.load(stack.root)).exists()
