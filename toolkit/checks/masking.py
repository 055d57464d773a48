"""The effective configuration with masked secrets."""

from __future__ import annotations

import re
from typing import Any

import yaml

from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker

MASK = "********"

SECRET_NAME = re.compile(r"(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|CREDENTIALS?)$", re.IGNORECASE)
"""Names of variables that contain a secret; names of files (``…_FILE``) are not included."""

URL_PASSWORD = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)", re.IGNORECASE)


def masked_config(project: Project, docker: Docker) -> str:
    """The effective configuration as YAML, with known secrets, values of secret names and passwords in URLs masked."""
    config = docker.effective()
    return yaml.safe_dump(mask(config, known_secrets(project)), sort_keys=False, width=120, allow_unicode=True)


def known_secrets(project: Project) -> set[str]:
    """Every readable password of .env and secrets/; users are not secret."""
    passwords = [secret for secret in project.secrets.values() if not secret.users]
    values = {project.env.get(secret.variable, "") for secret in passwords}
    for secret in passwords:
        try:
            values.update(credentials.load_all(project, secret))
        except ToolkitError:
            continue
    return values - {"", credentials.UNUSED}


def mask(node: Any, secrets: set[str], name: str = "") -> Any:
    """A copy of a configuration with ``secrets`` masked at any depth."""
    match node:
        case dict():
            return {key: mask(value, secrets, str(key)) for key, value in node.items()}
        case list():
            return [mask(value, secrets) for value in node]
        case str() if SECRET_NAME.search(name) and node not in {"", credentials.UNUSED}:
            return MASK
        case str():
            text = node
            for secret in sorted(secrets, key=len, reverse=True):
                text = text.replace(secret, MASK)
            return URL_PASSWORD.sub(rf"\g<before>{MASK}", text)
        case _:
            return node
