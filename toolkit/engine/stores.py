"""The data of the stores: its place in the volume of each, and the versions that the current images can open."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from string import Template


@dataclass(frozen=True)
class Requirement:
    """A file from which the version follows that has written the data.

    ``pattern`` is a regular expression that its text must contain, with ``${NAME}`` for a variable of the service.
    ``otherwise`` is the problem of data that does not meet it; ``{found}`` is the first word of the text.
    """

    file: str
    pattern: str
    otherwise: str


@dataclass(frozen=True)
class Store:
    """The data of a service.

    Paths are relative to the volume and may have wildcards. A volume that is not empty must contain one of ``data``:
    without it, the program would start empty beside the files of something else.

    Attributes:
        service: The service.
        volume: The volume's key in the compose files.
        target: Its folder in the container.
        program: The program, for messages.
        data: The first entry that the program creates, in any version that it can open.
        requires: The requirement on the data.
        signs: Files and folders of other programs, versions and layouts, with their names for messages.
        beside: Those of the signs that the program writes itself, beside its data.
        needs: Files without which the program would ignore others, and start empty: the others, and what they need.
    """

    service: str
    volume: str
    target: str
    program: str
    data: tuple[str, ...]
    requires: tuple[Requirement, ...] = ()
    signs: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict)

    @property
    def reads(self) -> tuple[str, ...]:
        """The files whose text is needed."""
        return tuple(dict.fromkeys((*(each.file for each in self.requires), *self.signs)))

    @property
    def variables(self) -> frozenset[str]:
        """The variables of the service that its data has to match."""
        return frozenset(name for each in self.requires for name in re.findall(r"\$\{(\w+)\}", each.pattern))


PGDATA = "18/docker"
NODE = "mnesia/rabbit@rabbitmq"

STORES = (
    Store(
        "db", "postgres_data", "/var/lib/postgresql", "PostgreSQL 18",
        data=(PGDATA,),
        requires=(
            Requirement(f"{PGDATA}/PG_VERSION", r"^18\s*$", "was written by PostgreSQL {found}"),
        ),
        # The last two are those of images up to 17, and of Debian's own packages.
        signs={"*/docker/PG_VERSION": "PostgreSQL {found}", "PG_VERSION": "PostgreSQL {found}",
               "*/PG_VERSION": "PostgreSQL {found}", "*/main/PG_VERSION": "PostgreSQL {found}"},
    ),
    Store(
        "redis", "redis_data", "/data", "Redis",
        # The single file is that of Redis 6, which later versions convert.
        data=("appendonlydir", "appendonly.aof"),
        requires=(
            Requirement("appendonlydir/*.base.rdb", r"\AREDIS\d{4}", "was written by a program other than Redis"),
        ),
        signs={"dump.rdb": "a snapshot, which Redis does not load if its append-only file is on",
               "*/appendonlydir": "Redis, in another folder", "*/dump.rdb": "Redis, in another folder"},
        beside=("dump.rdb",),
        needs={"appendonlydir/*.aof": "appendonlydir/*.manifest", "appendonlydir/*.rdb": "appendonlydir/*.manifest"},
    ),
    Store(
        "kafka", "kafka_data", "/var/lib/kafka/data", "Kafka 4",
        data=("meta.properties", "bootstrap.checkpoint"),
        requires=(
            Requirement("meta.properties", r"^version=1$", "was written by Kafka with ZooKeeper"),
            Requirement("meta.properties", r"^cluster\.id=${CLUSTER_ID}$", "belongs to another Kafka cluster"),
            Requirement("meta.properties", r"^node\.id=${KAFKA_NODE_ID}$", "belongs to another Kafka node"),
        ),
        signs={"*/meta.properties": "Kafka, in another folder", "version-2": "ZooKeeper"},
        needs={"*/partition.metadata": "__cluster_metadata-0/*.log"},
    ),
    Store(
        "rabbitmq", "rabbitmq_data", "/var/lib/rabbitmq", "RabbitMQ 4",
        data=(f"{NODE}-feature_flags", f"{NODE}/rabbitmq_metadata", f"{NODE}/coordination"),
        requires=(
            Requirement(f"{NODE}-feature_flags", r"\bkhepri_db\b",
                        "was written by RabbitMQ 4.1 or older, or without the feature flag khepri_db"),
        ),
        signs={"mnesia/*-feature_flags": "RabbitMQ under another host name",
               "mnesia/*/schema.DAT": "RabbitMQ under another host name, or older than 3.8"},
        beside=(f"{NODE}/schema.DAT",),
    ),
    Store(
        "prometheus", "prometheus_data", "/prometheus", "Prometheus 3",
        data=("wal", "01*", "queries.active"),
        signs={"VERSION": "Prometheus 1", "*/wal": "Prometheus, in another folder"},
    ),
    Store(
        "alertmanager", "alertmanager_data", "/alertmanager", "Alertmanager",
        data=("nflog*", "silences*"),
        signs={"*/nflog": "Alertmanager, in another folder"},
    ),
    Store(
        "grafana", "grafana_data", "/var/lib/grafana", "Grafana",
        data=("grafana.db", "plugins", "png", "csv", "pdf"),
        requires=(
            Requirement("grafana.db", r"\A(?:SQLite format 3|\Z)", "has a grafana.db that is not a SQLite database"),
        ),
        signs={"*/grafana.db": "Grafana, in another folder"},
    ),
    Store(
        "loki", "loki_data", "/loki", "Loki 3",
        data=("tsdb-shipper-active", "tsdb-shipper-cache", "wal", "compactor"),
        signs={"boltdb-shipper-active": "Loki with the index of version 2.7 or older",
               "index": "Loki with the index of version 1", "*/chunks": "Loki, in another folder"},
    ),
    Store(
        "tempo", "tempo_data", "/var/tempo", "Tempo",
        data=("wal", "blocks", "generator", "live-store", "traces"),
        signs={"*/wal": "Tempo, in another folder"},
        beside=("generator/wal", "live-store/wal"),
    ),
    Store(
        "otel-collector", "otel_collector_data", "/var/lib/otelcol", "the collector",
        data=("receiver_*", "exporter_*"),
        signs={"*/receiver_*": "the collector, in another folder"},
    ),
    Store(
        "victorialogs", "victorialogs_data", "/victoria-logs-data", "VictoriaLogs",
        data=("partitions", "flock.lock"),
        signs={"indexdb": "VictoriaMetrics", "*/partitions": "VictoriaLogs, in another folder"},
    ),
    Store(
        "proxy", "proxy_data", "/data", "Caddy",
        data=("caddy",),
        signs={"*/caddy": "Caddy, in another folder", "acme.json": "Traefik"},
    ),
    Store(
        "backup", "backup_data", "/var/lib/postgresql", "the backup service",
        data=("state.lock", "state.json"),
        signs={"*/docker/PG_VERSION": "PostgreSQL {found}", "PG_VERSION": "PostgreSQL {found}"},
    ),
)  # fmt: skip
"""Every service that keeps data."""

NO_DATA = ("lost+found",)
"""Entries that a file system creates in its root."""


@dataclass(frozen=True)
class Contents:
    """The content of a volume: paths, without empty folders, and the text of the files that identify the version.

    The content of ``unreadable`` folders is unknown.
    """

    entries: frozenset[str] = frozenset()
    files: Mapping[str, str] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()

    def having(self, patterns: Iterable[str]) -> list[str]:
        """The paths that match one of the patterns."""
        wanted = list(patterns)
        paths = self.entries | self.files.keys()
        return sorted(path for path in paths if any(matches(path, pattern) for pattern in wanted))

    @property
    def top(self) -> list[str]:
        """The files and folders in the root, without hidden ones."""
        return sorted(path for path in self.entries if "/" not in path and path[0] != "." and path not in NO_DATA)


def matches(path: str, pattern: str) -> bool:
    """Whether a path has the form of a pattern; a wildcard stands for a part of one name."""
    names, parts = path.split("/"), pattern.split("/")
    return len(names) == len(parts) and all(map(fnmatchcase, names, parts))


def problem(store: Store, contents: Contents, variables: Mapping[str, str | None]) -> str:
    """Why the program would ignore or refuse the data; empty if it opens it, or if there is none."""
    if contents.unreadable:
        return ""
    if not contents.having(store.data):
        found = others(store, contents) or contents.top[:5]
        return f"contains {', '.join(found)}; {store.program} would ignore this and start empty" if found else ""
    for ignored, needed in store.needs.items():
        if (present := contents.having([ignored])) and not contents.having([needed]):
            return f"contains {present[0]} without {needed}; {store.program} would ignore this and start empty"
    for each in store.requires:
        escaped = defaultdict(lambda: ".*", {name: re.escape(value or "") for name, value in variables.items()})
        pattern = re.compile(Template(each.pattern).safe_substitute(escaped), re.MULTILINE)
        for path in contents.having([each.file]):
            text = contents.files.get(path)
            if text is not None and not pattern.search(text):
                return f"{each.otherwise.format(found=first_word(text))} ({path}); {store.program} cannot open it"
    return ""


def others(store: Store, contents: Contents) -> list[str]:
    """The data of other programs, versions and layouts in a volume, each with its path."""
    own = (*store.data, *(each.file for each in store.requires))
    return [
        f"{name.format(found=first_word(contents.files.get(path, '')))} ({path})"
        for pattern, name in store.signs.items()
        for path in contents.having([pattern])
        if not any(matches(path, each) for each in own)
    ]


def unused(store: Store, contents: Contents) -> list[str]:
    """The data of other versions beside that in use, each with its path."""
    kept = Contents(
        frozenset(each for each in contents.entries if not _beside(store, each)),
        {path: text for path, text in contents.files.items() if not _beside(store, path)},
    )
    return others(store, kept) if contents.having(store.data) else []


def _beside(store: Store, path: str) -> bool:
    return any(matches(path, each) for each in store.beside)


def first_word(text: str) -> str:
    """The first word of a text."""
    return next(iter(text.split()), "")


def script(stores: Sequence[Store], folder: str) -> str:
    """A shell script that prints the content of the volumes, which are mounted below ``folder`` by their keys."""
    steps = []
    for store in stores:
        wanted = " ".join(dict.fromkeys(("*", *store.data, *store.signs, *store.needs, *store.needs.values())))
        steps.append(f"store={store.volume}; if cd {folder}/{store.volume}; then entries {wanted}; texts "
                     f"{' '.join(store.reads)}; else hidden .; fi")  # fmt: skip
    return "\n".join((FUNCTIONS, *steps, "exit 0"))


TEXT_BYTES = 2000
FUNCTIONS = f"""\
exec 2>/dev/null
line() {{ printf '%s\\t%s\\t%s\\t%s\\n' "$1" "$store" "$2" "$3"; }}
hidden() {{ line unreadable "$1" ''; }}
full() {{ for inner in "$1"/* "$1"/.[!.]*; do [ -e "$inner" ] && return 0; done; return 1; }}
entries() {{ for path in "$@"; do
  if [ -L "$path" ] || [ ! -e "$path" ]; then continue
  elif [ -d "$path" ] && [ ! -r "$path" ]; then hidden "$path"
  elif [ ! -d "$path" ] || full "$path"; then line entry "$path" ''
  fi
done; }}
texts() {{ for path in "$@"; do
  [ -f "$path" ] && [ ! -L "${{path%%/*}}" ] && line text "$path" "$(head -c {TEXT_BYTES} "$path" | base64 -w 0)"
done; }}"""
"""``entries`` and ``texts`` print a line for each path that exists: kind, volume, path, and the text in base64."""
