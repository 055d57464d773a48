"""The names of this host: its name servers (/etc/resolv.conf) and its own table (/etc/hosts), read again on change.

Search domains and options are ignored: names are complete, so that a name that is gone is not looked for elsewhere, and
a service of the stack is never looked for outside.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Generic, TypeVar

from netmon.probing.name_server import NameServer
from netmon.specs import DNS_PORT

RESOLV_CONF = Path("/etc/resolv.conf")
HOSTS = Path("/etc/hosts")
CHECK_SECONDS = 1.0
"""How often the files are looked at."""
MAX_SERVERS = 3
"""Name servers that are asked; as in the C library."""

_DEFAULT_SERVER = "127.0.0.1"

T = TypeVar("T")


class SystemNames:
    """The name servers and the table of this host.

    Args:
        resolv_conf: the list of name servers; that of this host without it listens on the loopback interface.
        hosts: the table.
        port: the port of the name servers.
    """

    def __init__(self, resolv_conf: Path = RESOLV_CONF, hosts: Path = HOSTS, port: int = DNS_PORT) -> None:
        self._port = port
        self._servers = _File(resolv_conf, self._parse_servers)
        self._table = _File(hosts, _parse_table)

    def servers(self) -> tuple[NameServer, ...]:
        """The name servers in their order: the same tuple until the file changes."""
        return self._servers.content()

    def table(self) -> dict[str, tuple[str, ...]]:
        """The addresses of the names in the table, in lower case."""
        return self._table.content()

    def _parse_servers(self, text: str) -> tuple[NameServer, ...]:
        found = []
        for line in text.splitlines():
            match line.split():
                case ["nameserver", address, *_] if _is_address(address):
                    with suppress(OSError):  # an interface that does not exist
                        found.append(NameServer(address, self._port))
                case _:
                    pass
        return tuple(found[:MAX_SERVERS]) or (NameServer(_DEFAULT_SERVER, self._port),)


class _File(Generic[T]):
    """The parsed content of a file, which may be absent."""

    def __init__(self, path: Path, parse: Callable[[str], T]) -> None:
        self._path = path
        self._parse = parse
        self._checked = 0.0
        self._version: tuple[int, ...] | None = None
        self._content = parse("")

    def content(self) -> T:
        """The content of `CHECK_SECONDS` ago or later."""
        now = time.monotonic()
        if self._version is None or now - self._checked >= CHECK_SECONDS:
            self._checked = now
            self._read()
        return self._content

    def _read(self) -> None:
        try:
            status = self._path.stat()
            version: tuple[int, ...] = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version == self._version:
                return
            text = self._path.read_text(errors="replace")
        except OSError:
            version, text = (0,), ""
            if version == self._version:
                return
        self._version = version
        self._content = self._parse(text)


def _parse_table(text: str) -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if _is_address(address):
            for name in names:
                known = table.get(name.lower().rstrip("."), ())
                table[name.lower().rstrip(".")] = (*known, address) if address not in known else known
    return table


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
