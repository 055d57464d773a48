"""The versions of stores in the tags of their images: which changes their data survives."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from toolkit.core.errors import ToolkitError

GUIDE = "docs/operations.md#a-store-with-a-new-major-version"

MAJOR_CHANGES = ("db", "redis", "kafka", "rabbitmq", "prometheus", "alertmanager", "grafana", "loki", "tempo",
                 "victorialogs")  # fmt: skip
"""The services whose data a new major version may not open, or may convert for good: each has its own procedure."""

ONE_WAY: Mapping[str, int] = {
    "db": 1, "redis": 2, "kafka": 2, "rabbitmq": 2, "prometheus": 1, "alertmanager": 1, "grafana": 2, "loki": 2,
    "tempo": 2, "victorialogs": 1,
}  # fmt: skip
"""How many leading parts of a version an older image must share to open the data of a newer one.

PostgreSQL reads the files of every minor version of its major one. The others write new formats in minor versions:
snapshots of Redis, metadata of Kafka and feature flags of RabbitMQ, tables of Grafana, blocks and indexes of Loki and
Tempo.
"""

VERSION = re.compile(r":v?(\d+(?:\.\d+)*)")


def version(image: str) -> tuple[int, ...]:
    """The version in the tag of an image; empty without one."""
    found = VERSION.search(image.partition("@")[0].rpartition("/")[2])
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def major_changes(running: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    """The changes of a major version, in words.

    Args:
        running: The image of each service that has a container.
        wanted: The image of each service in the files.
    """
    for service in MAJOR_CHANGES:
        before, after = version(running.get(service, "")), version(wanted.get(service, ""))
        if before and after and before[0] != after[0]:
            yield f"{service} from {_text(before)} to {_text(after)}"


def one_way_changes(running: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """The stores whose wanted, older version may be unable to open the data of the current one, in words by service."""
    found = {}
    for service, parts in ONE_WAY.items():
        now, then = version(running.get(service, "")), version(wanted.get(service, ""))
        if now[:parts] > then[:parts] and then:
            found[service] = f"{service} from {_text(now)} to {_text(then)}"
    return found


def require_same_major(running: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Return if no store changes its major version.

    Raises:
        ToolkitError: one does; the error names the versions and the procedure.
    """
    if found := ", ".join(major_changes(running, wanted)):
        why = f"{found}: its data must be migrated first"
        raise ToolkitError("a store would change its major version", why, GUIDE)


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
