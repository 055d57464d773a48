"""Rotates a credential of a running stack: grant the new one, switch the clients, revoke the old one.

If an account has two users, or a user can have two passwords, both work meanwhile and no client is rejected. Every step
is idempotent and none is rolled back: once the new values are on disk (`rotation_journal`), the next run completes an
interrupted rotation.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

from toolkit.checkout import rotation_journal, setup
from toolkit.checkout.accounts import Account, Credential, accounts, require_account
from toolkit.checkout.project import Project
from toolkit.checkout.rotation_journal import StagedRotation
from toolkit.checks import doctor
from toolkit.checks.logins import login_error, login_errors, skip_reason
from toolkit.core import console, files
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.engine import health, shapes
from toolkit.engine.compose import Docker
from toolkit.operate import deploy, previous, rolling, silences
from toolkit.operate.deploy import release
from toolkit.operate.rotation.servers import SERVERS

PROPAGATION_SECONDS = 15.0
"""Seconds for a change of passwords to reach every part of a service."""


def rotate(project: Project, docker: Docker, name: str = "", *, timeout: float, yes: bool = False) -> None:
    """Rotate one credential, or all whose service is running, one after another; first complete an unfinished rotation.

    Args:
        project: The checkout.
        docker: Docker in its folder.
        name: The account, or the file of its password; default: all accounts.
        timeout: Seconds for each new container to become healthy.
        yes: The user has confirmed.

    Raises:
        ToolkitError: not confirmed, a name is unknown (exit code 2), or a step failed, with the next step.
    """
    requested = [require_account(project, name)] if name else accounts(project)
    with files.exclusive(project.lock_file, "rotate credentials"):
        doctor.require_engine(docker)
        previous.require_own_stack(project, docker)
        deploy.recover(project, docker, timeout)
        unfinished = rotation_journal.read(project)
        chosen = list(_rotatable(project, docker, requested, required=bool(name)))
        replaced = [*([f"{unfinished.account.name} (unfinished)"] if unfinished else []),
                    *(each.name for each in chosen if not unfinished or each != unfinished.account)]  # fmt: skip
        if not replaced:
            return
        console.confirm(f"replace {', '.join(replaced)}, and the containers that use it", yes)
        try:
            if unfinished:
                _Rotation(project, docker, unfinished, timeout).complete()
            for account in chosen:
                if not unfinished or account != unfinished.account:
                    _begin(project, docker, account, timeout).complete()
        except KeyboardInterrupt as error:
            raise _unfinished(project, ToolkitError("interrupted", code=130)) from error
        except ToolkitError as error:
            raise _unfinished(project, error) from error


def _unfinished(project: Project, error: ToolkitError) -> ToolkitError:
    """The error, extended by the unfinished rotation and the command that completes it."""
    if not (staged := rotation_journal.read(project)):
        return error
    why = f"{error.what}: {error.why}" if error.why else error.what
    fix = f"{error.fix}\n       then {staged.resume}" if error.fix else staged.resume
    return ToolkitError(f"the rotation of {staged.account.name} is unfinished", why, fix, error.code)


def _rotatable(project: Project, docker: Docker, requested: Iterable[Account], *, required: bool) -> Iterable[Account]:
    """The accounts whose service runs and requires credentials; others are skipped, or an error if ``required``."""
    up = {state.service for state in health.container_states(docker) if state.status == "running"}
    project.require_setup()
    for account in requested:
        why = skip_reason(project, docker, account.service)
        if not why and account.service not in up:
            why = f"{account.service} is not running"
        if not why:
            yield account
            continue
        if required:
            raise ToolkitError(f"cannot rotate {account.name}", why, "run: invoke up")
        say(f"  {account.name}: skipped, {why}", "skipped")


def _begin(project: Project, docker: Docker, account: Account, timeout: float) -> _Rotation:
    """Verify the current credential, and write the new values to disk.

    Raises:
        ToolkitError: the service rejects the current credential.
    """
    current = account.credential(account.current_values(project))
    if refusal := login_error(docker, account.service, current.user, current.password):
        why = f"{account.service} rejects the current credential: {refusal}"
        raise ToolkitError(f"cannot rotate {account.name}", why, "run invoke secrets.check, which shows the fix")
    return _Rotation(project, docker, rotation_journal.begin(project, account), timeout)


class _Rotation:
    def __init__(self, project: Project, docker: Docker, staged: StagedRotation, timeout: float) -> None:
        self._project, self._docker, self._timeout = project, docker, timeout
        self._staged, self._account = staged, staged.account
        self._server = SERVERS[self._account.service](project, docker, staged, timeout)
        self._files = setup.uses_secret_files(project, project.require_setup())

    def complete(self) -> None:
        """Run every step, whether or not an earlier run did it."""
        service, old, new = self._account.service, self._staged.old, self._staged.new
        user = f"{old.user} → {new.user}" if old.user != new.user else new.user
        with console.phase(f"rotate {self._account.name}", f"{user}, in {service}" if user else f"in {service}"):
            try:
                self._server.grant()
                self._wait_until_accepted(new)
                say(f"  {service} accepts the new credential")
                self._server.install()
                say(f"  updated {', '.join(each.file for each in self._account.secrets)}")
                self._replace_clients()
                self._server.revoke()
                self._wait_until_accepted(new)
                self._wait_until_rejected(old)
                say(f"  {service} rejects the old credential")
                rotation_journal.complete(self._project)
            finally:
                # Includes the silences of an earlier, killed run.
                silences.end(self._project, self._docker, self._reason)

    @property
    def _reason(self) -> str:
        return f"rotation of {self._account.name}"

    def _replace_clients(self) -> None:
        clients = self._clients()
        if clients:
            silences.begin(self._project, self._docker, self._reason, clients)
        for client in clients:
            self._replace(client)
        if not self._server.reads_itself:
            self._refresh_server()
            say("  every client uses the new credential")

    def _wait_until_accepted(self, credential: Credential) -> None:
        """Return once the service accepts the credential.

        Raises:
            ToolkitError: not within `PROPAGATION_SECONDS`.
        """
        deadline = time.monotonic() + PROPAGATION_SECONDS
        while refusal := login_error(self._docker, self._account.service, credential.user, credential.password):
            if time.monotonic() > deadline:
                raise ToolkitError(f"{self._account.service} does not accept the new credential", refusal)
            time.sleep(0.5)

    def _wait_until_rejected(self, credential: Credential) -> None:
        deadline = time.monotonic() + PROPAGATION_SECONDS
        while "" in login_errors(self._docker, self._account.service, credential.user, credential.password):
            if time.monotonic() > deadline:
                raise ToolkitError(f"{self._account.service} still accepts the old credential")
            time.sleep(0.5)

    def _clients(self) -> list[str]:
        """The running clients of the credential, services of the release first; without the server itself."""
        config = self._docker.effective()
        up = {state.service for state in health.container_states(self._docker, config["name"])}
        found = [name for name, spec in config["services"].items() if name in up and self._uses(spec)]
        released = [name for name in release.services(self._docker) if name in found]
        others = [name for name in found if name not in released]
        return [name for name in (*released, *others) if name != self._account.service]

    def _uses(self, spec: shapes.Service) -> bool:
        names = {each.name for each in self._account.secrets}
        mounted = {each["source"] for each in spec.get("secrets") or ()}
        return bool(names & mounted) or self._staged.new.password in json.dumps(spec.get("environment") or {})

    def _replace(self, service: str) -> None:
        """Replace the containers of a client, so that they read the new values.

        Services of the release are replaced one by one and drain; others are recreated, with a second of downtime.
        """
        if service in release.services(self._docker):
            rolling.replace(self._project, self._docker, service, timeout=self._timeout, keep=self._up_to_date(service))
        elif self._outdated(service):
            rolling.recreate(self._project, self._docker, service, timeout=self._timeout)
            say(f"  {service}: restarted")

    def _up_to_date(self, service: str) -> set[str]:
        """The ids of the containers that have the new values: from files read at start, or in their environment."""
        found, password = self._containers(service), self._staged.new.password
        if not self._files:
            return {each["Id"] for each in found if any(password in line for line in each["Config"].get("Env") or ())}
        since = rotation_journal.installed_at(self._project, self._staged)
        states = [health.parse_container(each) for each in found]
        return {state.id for state in states if state.started and state.started > since}

    def _outdated(self, service: str) -> bool:
        return len(self._containers(service)) > len(self._up_to_date(service))

    def _containers(self, service: str) -> list[shapes.Container]:
        label = "com.docker.compose.service"
        return [each for each in self._docker.containers() if each["Config"]["Labels"].get(label) == service]

    def _refresh_server(self) -> None:
        """Make the new values available inside the server's own container, for instance to its health check.

        A mounted file shows them, unless another file has replaced it since the container's start. Values in the
        environment need a new container.
        """
        service = self._account.service
        spec = self._docker.effective()["services"][service]
        if not self._uses(spec):
            return
        if self._files and all(self._sees_new_value(service, each["source"]) for each in spec.get("secrets") or ()):
            return
        if self._files or self._outdated(service):
            say(f"  {service} is restarted to read the new value and is unavailable meanwhile", "warning")
            affected = [service, *release.services(self._docker)]
            silences.begin(self._project, self._docker, self._reason, affected, silences.RESTARTING)
            rolling.recreate(self._project, self._docker, service, timeout=self._timeout)

    def _sees_new_value(self, service: str, secret: str) -> bool:
        value = self._staged.after.get(secret)
        if value is None:
            return True
        same = f'[ "$(cat)" = "$(cat /run/secrets/{secret})" ]'
        return self._docker.exec(service, "sh", "-c", same, stdin=value).code == 0
