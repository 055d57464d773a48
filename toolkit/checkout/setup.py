"""The setup of a checkout: secrets/ and .env, written atomically, so that an interrupted run can be repeated."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable

from toolkit.checkout import backupkey, credentials, generated, rotation_journal, setting_rules
from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.checkout.variables import variables_used
from toolkit.core import envfile, files
from toolkit.core.errors import ToolkitError, require_known

ENGINE_FOLDER, DEFAULT_FOLDER = "DOCKER_ROOT_DIR", "/var/lib/docker"


def setup(
    project: Project,
    profile: str | None,
    images: str | None = None,
    groups: Iterable[str] | None = None,
    folder: str | None = None,
) -> list[str]:
    """Create missing secrets and update .env; correct values are not changed.

    Args:
        project: The checkout.
        profile: Default: the one in .env, else the first of invoke.yaml.
        images: The image set to use, ``local`` or ``pulled``; default: unchanged.
        groups: The optional parts of the stack to switch on; default: unchanged.
        folder: The engine's data folder, see `Docker.data_root`; default: unknown, therefore unchanged.

    Returns:
        One line for each change; empty if nothing changed.

    Raises:
        ToolkitError: a name is unknown (exit code 2), a value is invalid, or a file cannot be written.
    """
    with files.exclusive(project.lock_file, "set this checkout up"):
        setting_rules.require(project)
        wanted = settings(project, profile, images, groups)
        require_loopback(project, wanted["NETMON_PROFILE"])
        before = project.env
        if folder and (folder != DEFAULT_FOLDER or ENGINE_FOLDER in before):
            wanted[ENGINE_FOLDER] = folder
        rotation_journal.recover(project)
        supplied = {secret.name for secret in project.secrets.values() if credentials.env_value(project, secret)}
        created = credentials.ensure(project)
        generated.record(project, (name for name in created if name not in supplied))
        done = [f"created secrets/{name}.txt" for name in created] + credentials.protect(project)
        if backupkey.ensure(project):
            done.append("created secrets/backup/key: store a copy of it elsewhere (docs/backup.md)")
        wanted |= backupkey.folder(project)
        wanted |= passwords(project, wanted["NETMON_PROFILE"])
        files.remove_temporaries(project.env_file)
        if envfile.update(project.env_file, wanted):
            changed = [name for name, value in wanted.items() if before.get(name) != value]
            done.append(f".env: {', '.join(changed)} set")
        return done


def settings(
    project: Project, profile: str | None = None, images: str | None = None, groups: Iterable[str] | None = None
) -> dict[str, str]:
    """The variables that .env needs besides the passwords; arguments as in `setup`."""
    env = project.env
    profile = profile or project.profile or next(iter(project.data["profiles"]))
    images = images or project.images
    on = _groups(project, env, groups)
    wanted = {
        "COMPOSE_FILE": ":".join(_with_user_files(project, project.compose_files(profile, images, on))),
        "COMPOSE_PROFILES": ",".join(on),
        "NETMON_PROFILE": profile,
    }
    if images:
        wanted["NETMON_IMAGES"] = require_known("image set", images, (LOCAL, PULLED))
    return wanted


def passwords(project: Project, profile: str) -> dict[str, str]:
    """The variables that .env needs for the credentials that the profile's compose files interpolate.

    Each has its value, or a placeholder if containers read the file instead.

    Raises:
        ToolkitError: a credential is invalid.
    """
    used = variables_used(project, project.layers(profile))
    values = {name: value for name, value in credentials.read(project).items() if name in used}
    return dict.fromkeys(values, credentials.UNUSED) if uses_secret_files(project, profile) else values


def uses_secret_files(project: Project, profile: str) -> bool:
    """Whether the containers of a profile read credentials from files, so that .env has none."""
    return project.data["secrets_layer"] in project.layers(profile)


def require_loopback(project: Project, profile: str) -> None:
    """Refuse to publish the ports of a development profile to other hosts.

    Raises:
        ToolkitError: the profile uses BIND_ADDRESS, and it is not a loopback address.
    """
    address = os.environ.get("BIND_ADDRESS") or project.env.get("BIND_ADDRESS")
    if not address or "BIND_ADDRESS" not in variables_used(project, project.layers(profile)):
        return
    try:
        loopback = ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ToolkitError(
            f"BIND_ADDRESS={address} is refused",
            f"the ports of the profile {profile} have no other protection, so only loopback addresses are allowed",
            "set BIND_ADDRESS to 127.0.0.1 in .env or remove it, or use the profile prod",
        )


def _with_user_files(project: Project, layers: list[str]) -> list[str]:
    """The layers with the files that the user added to COMPOSE_FILE, before the override."""
    shipped = {*project.shipped_files, *map(project.lock_of, project.shipped_files), project.data["override"]}
    added = [
        name
        for name in project.env.get("COMPOSE_FILE", "").split(":")
        if name and name not in shipped and (project.root / name).exists()
    ]
    override = [project.data["override"]] if project.data["override"] in layers else []
    return [layer for layer in layers if layer not in override] + added + override


def _groups(project: Project, env: dict[str, str], groups: Iterable[str] | None) -> list[str]:
    """The groups that are on, in the order of invoke.yaml, then the Compose profiles that the user added."""
    current = [name for name in env.get("COMPOSE_PROFILES", "").split(",") if name]
    added = [name for name in current if name not in project.groups]
    if groups is not None:
        chosen = {require_known("group", name, project.groups) for name in groups}
    elif "COMPOSE_PROFILES" in env:
        chosen = set(current)
    else:
        chosen = {group.name for group in project.groups.values() if group.default}
    return [name for name in project.groups if name in chosen] + added
