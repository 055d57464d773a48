"""HTTPS to an address with another server name, without name resolution. A module of its own: requests loads slowly."""

from __future__ import annotations

import ssl
from typing import Any

from requests.adapters import HTTPAdapter


class ServerNameAdapter(HTTPAdapter):
    """Connects to an address with another server name."""

    def __init__(self, name: str, trust: ssl.SSLContext) -> None:
        self._name, self._trust = name, trust
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """Add the server name and the TLS context to every connection."""
        options |= {"server_hostname": self._name, "assert_hostname": self._name, "ssl_context": self._trust}
        super().init_poolmanager(connections, maxsize, block, **options)
