"""Replacing a credential of a running stack: the service takes the new one, clients go over to it, the old one ends.

Where an account has two users, or a user can have two passwords, both open the service meanwhile and no client is
turned away. Every step can be repeated, and none is undone: from the moment on when the new values are on disk
(`staging`) a run that was cut off is completed by the next one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from toolkit.checkout import rotation_journal, setup
from toolkit.checkout.accounts import Account, Credential, accounts, require_account
from toolkit.checkout.project import Project
from toolkit.checkout.rotation_journal import StagedRotation
from toolkit.checks import doctor
from toolkit.checks.logins import attempt, attempts, unasked
from toolkit.core import console, files
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.engine import health
from toolkit.engine.compose import Docker
from toolkit.operate import deploy, rolling, silences
from toolkit.operate.deploy import release
from toolkit.operate.rotation.servers import SERVERS

PATIENCE = 15.0
"""Seconds in which a change of passwords has to reach every part of a service."""


def rotate(project: Project, docker: Docker, name: str = "", *, timeout: float, yes: bool = False) -> None:
    """Replace a credential, or every one whose service runs, one after another; complete an unfinished one before.

    Args:
        project: The checkout.
        docker: Docker in its folder.
        name: The account or the file of its password; default: all.
        timeout: Seconds for each new container to become healthy.
        yes: The user has agreed.

    Raises:
        ToolkitError: consent is missing, a name is unknown (exit code 2), or a step failed: what is to be done then.
    """
    wanted = [require_account(project, name)] if name else accounts(project)
    with files.exclusive(project.lock_file, "rotate credentials"):
        doctor.require_engine(docker)
        deploy.recover(project, docker, timeout)
        unfinished = rotation_journal.read(project)
        chosen = list(_possible(project, docker, wanted, insist=bool(name)))
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
            raise _unfinished(project, ToolkitError("stopped", code=130)) from error
        except ToolkitError as error:
            raise _unfinished(project, error) from error


def _unfinished(project: Project, error: ToolkitError) -> ToolkitError:
    """The error, with what it has left behind and how that is completed."""
    if not (staged := rotation_journal.read(project)):
        return error
    why = f"{error.what}: {error.why}" if error.why else error.what
    fix = f"{error.fix}\n       then {staged.resume}" if error.fix else staged.resume
    return ToolkitError(f"the rotation of {staged.account.name} is unfinished", why, fix, error.code)


def _possible(project: Project, docker: Docker, wanted: Iterable[Account], *, insist: bool) -> Iterable[Account]:
    """Those whose service runs and asks for them; the others are told, or refused where the user insists."""
    up = {state.service for state in health.container_states(docker) if state.status == "running"}
    project.require_setup()
    for account in wanted:
        why = unasked(project, docker, account.service)
        if not why and account.service not in up:
            why = f"{account.service} does not run"
        if not why:
            yield account
            continue
        if insist:
            raise ToolkitError(f"cannot rotate {account.name}", why, "invoke up")
        say(f"  {account.name}: skipped, {why}", "skipped")


def _begin(project: Project, docker: Docker, account: Account, timeout: float) -> _Rotation:
    """Make sure that what is in use works, and put the new values on disk.

    Raises:
        ToolkitError: the service does not know the present credential.
    """
    present = account.credential(account.current_values(project))
    if said := attempt(docker, account.service, present.user, present.password):
        why = f"{account.service} does not accept the present one: {said}"
        raise ToolkitError(f"cannot rotate {account.name}", why, "run invoke secrets.check, which says how to mend it")
    return _Rotation(project, docker, rotation_journal.begin(project, account), timeout)


class _Rotation:
    def __init__(self, project: Project, docker: Docker, staged: StagedRotation, timeout: float) -> None:
        self._project, self._docker, self._timeout = project, docker, timeout
        self._staged, self._account = staged, staged.account
        self._server = SERVERS[self._account.service](project, docker, staged, timeout)
        self._files = setup.uses_secret_files(project, project.require_setup())

    def complete(self) -> None:
        """Every step, whether or not it was done before; each says what holds once it has ended."""
        service, old, new = self._account.service, self._staged.old, self._staged.new
        user = f"{old.user} → {new.user}" if old.user != new.user else new.user
        with console.phase(f"rotate {self._account.name}", f"{user}, in {service}" if user else f"in {service}"):
            try:
                self._server.grant()
                self._require(new)
                say(f"  {service} accepts the new one")
                self._server.install()
                say(f"  {', '.join(each.file for each in self._account.secrets)} say it")
                self._replace_clients()
                self._server.revoke()
                self._require(new)
                self._refuse(old)
                say(f"  {service} refuses the old one")
                rotation_journal.complete(self._project)
            finally:
                # Also what a run before that was killed has silenced.
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
            self._reach_server()
            say("  every client uses it")

    def _require(self, credential: Credential) -> None:
        """Return once the service lets it in.

        Raises:
            ToolkitError: it does not.
        """
        deadline = time.monotonic() + PATIENCE
        while said := attempt(self._docker, self._account.service, credential.user, credential.password):
            if time.monotonic() > deadline:
                raise ToolkitError(f"{self._account.service} does not accept the new credential", said)
            time.sleep(0.5)

    def _refuse(self, credential: Credential) -> None:
        deadline = time.monotonic() + PATIENCE
        while "" in attempts(self._docker, self._account.service, credential.user, credential.password):
            if time.monotonic() > deadline:
                raise ToolkitError(f"{self._account.service} still accepts the old credential")
            time.sleep(0.5)

    def _clients(self) -> list[str]:
        """The running services that use the credential, those with several replicas first; not the one that asks."""
        config = self._docker.effective()
        up = {state.service for state in health.container_states(self._docker, config["name"])}
        found = [name for name, spec in config["services"].items() if name in up and self._uses(spec)]
        ours = [name for name in release.services(self._docker) if name in found]
        others = [name for name in found if name not in ours]
        return [name for name in (*ours, *others) if name != self._account.service]

    def _uses(self, spec: dict[str, Any]) -> bool:
        names = {each.name for each in self._account.secrets}
        mounted = {each["source"] for each in spec.get("secrets") or ()}
        return bool(names & mounted) or self._staged.new.password in json.dumps(spec.get("environment") or {})

    def _replace(self, service: str) -> None:
        """Let every container of a client read the new values, by others in their place.

        What is of the application has replicas and drains; the others are stopped for the second that they need.
        """
        if service in release.services(self._docker):
            rolling.replace(self._project, self._docker, service, timeout=self._timeout, keep=self._current(service))
        elif self._outdated(service):
            rolling.recreate(self._project, self._docker, service, timeout=self._timeout)
            say(f"  {service}: restarted")

    def _current(self, service: str) -> set[str]:
        """The ids of the containers that have read the new values: at their start, or from what they were made with."""
        found, password = self._containers(service), self._staged.new.password
        if not self._files:
            return {each["Id"] for each in found if any(password in line for line in each["Config"].get("Env") or ())}
        since = rotation_journal.installed_at(self._project, self._staged)
        states = [health.parse_container(each) for each in found]
        return {state.id for state in states if state.started and state.started > since}

    def _outdated(self, service: str) -> bool:
        return len(self._containers(service)) > len(self._current(service))

    def _containers(self, service: str) -> list[dict[str, Any]]:
        label = "com.docker.compose.service"
        return [each for each in self._docker.containers() if each["Config"]["Labels"].get(label) == service]

    def _reach_server(self) -> None:
        """Make sure that what runs in the service's own container, such as its health check, reads the new values.

        A mounted file shows them, unless it was replaced by another file since the container's start. What is in the
        container's environment stays there: such a container is made anew.
        """
        service = self._account.service
        spec = self._docker.effective()["services"][service]
        if not self._uses(spec):
            return
        if self._files and all(self._shows(service, each["source"]) for each in spec.get("secrets") or ()):
            return
        if self._files or self._outdated(service):
            say(f"  {service} is started again, to read the new value: it does not answer meanwhile", "warning")
            affected = [service, *release.services(self._docker)]
            silences.begin(self._project, self._docker, self._reason, affected, [*silences.REPLACING, ".+Down"])
            rolling.recreate(self._project, self._docker, service, timeout=self._timeout)

    def _shows(self, service: str, secret: str) -> bool:
        value = self._staged.after.get(secret)
        if value is None:
            return True
        same = f'[ "$(cat)" = "$(cat /run/secrets/{secret})" ]'
        return self._docker.compose("exec", "--no-TTY", service, "sh", "-c", same, stdin=value).code == 0
