"""Accounts whose password can be rotated; some alternate between two users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.checkout import credentials
from toolkit.checkout.project import Project, Secret
from toolkit.core.errors import ToolkitError


@dataclass(frozen=True)
class Credential:
    """A user name and a password."""

    user: str
    password: str


@dataclass(frozen=True)
class Account:
    """A password and, if the account alternates between two users, the secret that names the current one."""

    password: Secret
    users: Secret | None = None

    @property
    def name(self) -> str:
        """Its name in ``invoke secrets.rotate``."""
        return self.users.name.removesuffix("_user") if self.users else self.password.name

    @property
    def service(self) -> str:
        """The service that authenticates it."""
        return self.password.service

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The secrets that change together, the user first."""
        return (self.users, self.password) if self.users else (self.password,)

    def current_values(self, project: Project) -> dict[str, str]:
        """The current values, by secret.

        Raises:
            ToolkitError: a file is missing, unreadable or invalid.
        """
        return {secret.name: credentials.load(project, secret) for secret in self.secrets}

    def next_values(self, current: Mapping[str, str]) -> dict[str, str]:
        """New values: a random password and, if there are two users, the other one."""
        values = {self.password.name: credentials.generate()}
        if self.users:
            values[self.users.name] = next(user for user in self.users.users if user != current[self.users.name])
        return values

    def credential(self, values: Mapping[str, str]) -> Credential:
        """The credential that these values form."""
        user = values[self.users.name] if self.users else self.password.user
        return Credential(user, values[self.password.name])


def accounts(project: Project) -> list[Account]:
    """Every account, in the order of invoke.yaml."""
    secrets = project.secrets
    return [
        Account(each, secrets[each.user_file] if each.user_file else None) for each in secrets.values() if each.service
    ]


def require_account(project: Project, name: str) -> Account:
    """The account with a name, which may also be that of its password file.

    Raises:
        ToolkitError: the name is unknown; the message lists the known ones. Exit code 2.
    """
    known = accounts(project)
    for account in known:
        if name in {account.name, account.password.name}:
            return account
    names = ", ".join(account.name for account in known)
    raise ToolkitError(f"unknown secret '{name}'", f"known: {names}", "use one of the known names", code=2)
