"""What can be rotated: a password, and where its account has two users the one in use as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.checkout import credentials
from toolkit.checkout.project import Project, Secret
from toolkit.core.errors import ToolkitError


@dataclass(frozen=True)
class Credential:
    """What a client logs in with."""

    user: str
    password: str


@dataclass(frozen=True)
class Account:
    """A password, and the secret that names its user where the account has two of them in turn."""

    password: Secret
    users: Secret | None = None

    @property
    def name(self) -> str:
        """What a rotation of it is called by."""
        return self.users.name.removesuffix("_user") if self.users else self.password.name

    @property
    def service(self) -> str:
        """The service that asks for it."""
        return self.password.service

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The files that change together, the user's first."""
        return (self.users, self.password) if self.users else (self.password,)

    def current_values(self, project: Project) -> dict[str, str]:
        """The values in use, by secret.

        Raises:
            ToolkitError: one of the files cannot be used.
        """
        return {secret.name: credentials.load(project, secret) for secret in self.secrets}

    def next_values(self, current: Mapping[str, str]) -> dict[str, str]:
        """New values: a password made by chance and, of two users, the other one."""
        values = {self.password.name: credentials.generate()}
        if self.users:
            values[self.users.name] = next(user for user in self.users.users if user != current[self.users.name])
        return values

    def credential(self, values: Mapping[str, str]) -> Credential:
        """What these values let in."""
        user = values[self.users.name] if self.users else self.password.user
        return Credential(user, values[self.password.name])


def accounts(project: Project) -> list[Account]:
    """Every account, in the order of invoke.yaml."""
    secrets = project.secrets
    return [
        Account(each, secrets[each.user_file] if each.user_file else None) for each in secrets.values() if each.service
    ]


def require_account(project: Project, name: str) -> Account:
    """The account of a name, which may be that of its password's file.

    Raises:
        ToolkitError: there is none; the known names are listed. Exit code 2.
    """
    known = accounts(project)
    for account in known:
        if name in {account.name, account.password.name}:
            return account
    names = ", ".join(account.name for account in known)
    raise ToolkitError(f"unknown secret '{name}'", f"known: {names}", "use one of the known names", code=2)
