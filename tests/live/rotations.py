"""What a rotation is looked at by: the values in secrets/, and whom a service lets in."""

from __future__ import annotations

from tests.live.stack import Stack
from toolkit.checkout import rotation_journal
from toolkit.checkout.accounts import Account, Credential, accounts
from toolkit.checkout.project import Project
from toolkit.checks.logins import attempt
from toolkit.engine.compose import Docker


def all_of(stack: Stack) -> dict[str, Account]:
    """The accounts by name."""
    return {account.name: account for account in accounts(Project.load(stack.root))}


def in_use(stack: Stack, account: Account) -> Credential:
    """What secrets/ says."""
    return account.credential(account.current_values(Project.load(stack.root)))


def lets_in(stack: Stack, account: Account, credential: Credential) -> bool:
    """Whether the service accepts it."""
    return not attempt(Docker(stack.root), account.service, credential.user, credential.password)


def unfinished(stack: Stack) -> bool:
    """Whether a rotation has left its journal."""
    return rotation_journal.folder(Project.load(stack.root)).exists()
