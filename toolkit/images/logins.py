"""Registry credentials saved by `docker login`, in docker's configuration or in a credential helper."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from pathlib import Path

from toolkit.core.errors import ToolkitError
from toolkit.engine import compose

HELPER_SECONDS = 10


def basic_credentials(server: str) -> str:
    """The credentials for a server, encoded for HTTP basic authentication; empty if there are none.

    The server is ``host:port``, or ``https://index.docker.io/v1/`` for Docker Hub.
    """
    try:
        folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        helper = config.get("credHelpers", {}).get(server) or config.get("credsStore")
        return _from_helper(helper, server) if helper else config.get("auths", {}).get(server, {}).get("auth") or ""
    except (OSError, ValueError, AttributeError, RuntimeError):
        return ""  # no home folder; docker itself reports errors in its configuration


def _from_helper(helper: str, server: str) -> str:
    """The credentials in a credential helper, see https://github.com/docker/docker-credential-helpers."""
    argv = [f"docker-credential-{helper}", "get"]
    try:
        result = compose.run(argv, cwd=Path("/"), stdin=server, timeout=HELPER_SECONDS)
    except ToolkitError:
        return ""
    if result.code:
        return ""
    found = json.loads(result.stdout)
    # The user name of an identity token, which only docker can exchange.
    if found["Username"] == "<token>":
        return ""
    return b64encode(f"{found['Username']}:{found['Secret']}".encode()).decode()
