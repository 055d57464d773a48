"""Making a checkout ready: secrets/ and .env, each written in one step, so that a run that was cut off is completed."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable

from toolkit.checkout import credentials, rotation_journal
from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.checkout.variables import variables_used
from toolkit.core import envfile, files
from toolkit.core.errors import ToolkitError, require_known

ENGINE_FOLDER, USUAL_FOLDER = "DOCKER_ROOT_DIR", "/var/lib/docker"


def setup(
    project: Project,
    profile: str | None,
    images: str | None = None,
    groups: Iterable[str] | None = None,
    folder: str | None = None,
) -> list[str]:
    """Create the secrets that are missing and bring .env in line; what is right already is not touched.

    Args:
        project: The checkout.
        profile: Default: the one that .env names, else the first of invoke.yaml.
        images: The image set in use from now on, ``local`` or ``pulled``; default: unchanged.
        groups: The parts of the stack that are on from now on; default: unchanged.
        folder: Where the engine keeps its files, see `Docker.data_root`; default: not known, so unchanged.

    Returns:
        What was done, a line each; empty where nothing had to be.

    Raises:
        ToolkitError: unknown names (exit code 2), or something that cannot be used or written.
    """
    with files.exclusive(project.lock_file, "set this checkout up"):
        wanted = settings(project, profile, images, groups)
        require_loopback(project, wanted["NETMON_PROFILE"])
        before = project.env
        if folder and (folder != USUAL_FOLDER or ENGINE_FOLDER in before):
            wanted[ENGINE_FOLDER] = folder
        rotation_journal.recover(project)
        created = credentials.ensure(project)
        done = [f"created secrets/{name}.txt" for name in created] + credentials.protect(project)
        wanted |= passwords(project, wanted["NETMON_PROFILE"])
        files.remove_temporaries(project.env_file)
        if envfile.update(project.env_file, wanted):
            changed = [name for name, value in wanted.items() if before.get(name) != value]
            done.append(f".env: {', '.join(changed)} set")
        return done


def settings(
    project: Project, profile: str | None = None, images: str | None = None, groups: Iterable[str] | None = None
) -> dict[str, str]:
    """What .env has to say beside the passwords; arguments as in `setup`."""
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
    """What .env has to say for each credential that a compose file of the profile takes from there.

    That is the value, or nothing of it where the containers read the files.

    Raises:
        ToolkitError: a credential cannot be used.
    """
    used = variables_used(project, project.layers(profile))
    values = {name: value for name, value in credentials.read(project).items() if name in used}
    return dict.fromkeys(values, credentials.UNUSED) if uses_secret_files(project, profile) else values


def uses_secret_files(project: Project, profile: str) -> bool:
    """Whether the containers of a profile read the credentials from files, so that .env holds none."""
    return project.data["secrets_layer"] in project.layers(profile)


def require_loopback(project: Project, profile: str) -> None:
    """Refuse to publish the ports of a profile that is meant for this machine to others.

    Raises:
        ToolkitError: BIND_ADDRESS, which the profile uses, is not an address of the loopback interface.
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
            f"the ports of the profile {profile} have no further protection, so only loopback addresses will do",
            "set BIND_ADDRESS to 127.0.0.1 in .env or remove it, or use the profile prod",
        )


def _with_user_files(project: Project, layers: list[str]) -> list[str]:
    """The layers, and in front of the override the files that the user added to COMPOSE_FILE."""
    ours = {*project.shipped_files, *map(project.lock_of, project.shipped_files), project.data["override"]}
    own = [
        name
        for name in project.env.get("COMPOSE_FILE", "").split(":")
        if name and name not in ours and (project.root / name).exists()
    ]
    override = [project.data["override"]] if project.data["override"] in layers else []
    return [layer for layer in layers if layer not in override] + own + override


def _groups(project: Project, env: dict[str, str], groups: Iterable[str] | None) -> list[str]:
    """The groups that are on, in the order of invoke.yaml, then Compose profiles of the user's own files."""
    current = [name for name in env.get("COMPOSE_PROFILES", "").split(",") if name]
    own = [name for name in current if name not in project.groups]
    if groups is not None:
        chosen = {require_known("group", name, project.groups) for name in groups}
    elif "COMPOSE_PROFILES" in env:
        chosen = set(current)
    else:
        chosen = {group.name for group in project.groups.values() if group.default}
    return [name for name in project.groups if name in chosen] + own
