"""The accounts of registries that `docker login` has kept, in its configuration or in the helper that it names."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from pathlib import Path

from toolkit.core.errors import ToolkitError
from toolkit.engine import compose

HELPER_SECONDS = 10


def basic_credentials(server: str) -> str:
    """User and password for a server as HTTP's basic authentication takes them; empty where there are none.

    The server is named as docker does: ``host:port``, and ``https://index.docker.io/v1/`` for Docker Hub.
    """
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        helper = config.get("credHelpers", {}).get(server) or config.get("credsStore")
        return _from_helper(helper, server) if helper else config.get("auths", {}).get(server, {}).get("auth") or ""
    except (OSError, ValueError, AttributeError):
        return ""  # docker is the one to complain of its configuration


def _from_helper(helper: str, server: str) -> str:
    """What a credential helper answers, see https://github.com/docker/docker-credential-helpers."""
    argv = [f"docker-credential-{helper}", "get"]
    try:
        result = compose.run(argv, cwd=Path("/"), stdin=server, timeout=HELPER_SECONDS)
    except ToolkitError:
        return ""
    if result.code:
        return ""
    found = json.loads(result.stdout)
    # The name for a token that only docker knows how to use.
    if found["Username"] == "<token>":
        return ""
    return b64encode(f"{found['Username']}:{found['Secret']}".encode()).decode()
