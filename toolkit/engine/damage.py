"""Broken data of the stores: the log line of each kind of damage, its cause, its repair, and the data loss."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from toolkit.engine.stores import PGDATA

BACKUP = "restore a backup"


@dataclass(frozen=True)
class Repair:
    """How damaged data becomes usable again.

    Attributes:
        command: Shell commands in the root of the volume. ``$OWNER`` is the account of the service as user:group; the
            arguments are the paths that ``files`` has printed.
        loses: The data loss.
        files: Shell commands in the root of the volume which print the damaged paths, one a line. These are copied
            before the repair. Empty if the repair changes no content.
        running: The command runs in the container of the running service.
        summary: What long commands do, for the documentation.
    """

    command: str
    loses: str
    files: str = ""
    running: bool = False
    summary: str = ""

    @property
    def title(self) -> str:
        """The commands with the paths, or a summary of long ones."""
        paths = self.files.removeprefix("ls ").removeprefix("-d ")
        commands = self.command.replace('-- "$@"', paths)
        return self.summary or f"`{commands}`"


@dataclass(frozen=True)
class Damage:
    """A kind of damage.

    Attributes:
        name: Its name within the service.
        service: The service.
        lines: The log lines, as the documentation shows them.
        sign: A regular expression of the log lines.
        cause: The cause of the damage.
        repair: The repair that `invoke repair` runs; None if none is safe.
        otherwise: What to do without a repair, or if it fails.
        serves: The service stays healthy with this damage.
        source: The address of the log line, if the program is not in the images that are built here.
    """

    name: str
    service: str
    lines: tuple[str, ...]
    sign: str
    cause: str
    repair: Repair | None = None
    otherwise: str = ""
    serves: bool = False
    source: str = ""

    @property
    def fix(self) -> str:
        """The advice for the user."""
        if self.repair is None:
            return self.otherwise
        return f"invoke repair --service={self.service} ({self.repair.loses})"


NOTHING = "loses nothing"
WRITE_PROPERTIES = r"""
files=$(ls -d __cluster_metadata-0/*.checkpoint __cluster_metadata-0/*.log 2>/dev/null | paste -sd, -)
id=$(java -cp '/opt/kafka/libs/*' org.apache.kafka.tools.DumpLogSegments --cluster-metadata-decoder \
    --files "$files" |
  sed -n 's/.*"type":"REGISTER_BROKER_RECORD".*"logDirs":\["\([^"]*\)".*/\1/p' | tail -n 1)
[ -n "$id" ] || exit 1
printf 'version=1\ncluster.id=%s\nnode.id=%s\ndirectory.id=%s\n' "$CLUSTER_ID" "$KAFKA_NODE_ID" "$id" >meta.properties
chown "$OWNER" meta.properties
"""
"""Writes Kafka's description of its folder again, with the id that the metadata log has. With another id, Kafka deletes
every partition as that of a lost disk."""
CACHE = "are read from the database until new results arrive"


def foreign(service: str, line: str, sign: str) -> Damage:
    """The volume belongs to another account, as after a copy or a restore as root."""
    repair = Repair('chown -R "$OWNER" .', NOTHING)
    return Damage("owner", service, (line,), sign, "files in its volume belong to another account", repair)


DAMAGES = (
    Damage(
        "aof", "redis", ("Bad file format reading the append only file",),
        r"Bad file format reading the append only file",
        "the append-only file is corrupt in the middle",
        Repair(
            "yes | redis-check-aof --fix appendonlydir/appendonly.aof.manifest",
            f"loses the writes after the damaged place; latest states {CACHE}",
            "ls -d appendonlydir",
        ),
    ),
    Damage(
        "aof-missing", "redis", ("Unable to obtain the AOF file appendonly.aof.1.incr.aof length",),
        r"Unable to obtain the AOF file \S+\.incr\.aof length",
        "a part of the append-only file is missing",
        Repair(
            """awk '$6 == "i" { print $2 }' appendonlydir/appendonly.aof.manifest | while read -r name; do
  [ -e "appendonlydir/$name" ] || { : >"appendonlydir/$name"; chown "$OWNER" "appendonlydir/$name"; }
done""",
            f"loses the writes of that part; latest states {CACHE}",
            "ls -d appendonlydir",
            summary="creates the missing part, empty",
        ),
    ),
    Damage(
        "snapshot", "redis",
        ("Wrong RDB checksum",),
        r"Wrong RDB checksum|Internal error in RDB reading|Unexpected EOF reading RDB|AOF file \S+\.base\.rdb length",
        "the snapshot in the append-only file is corrupt",
        Repair(
            'rm -rf -- "$@"',
            f"loses all keys; latest states {CACHE}",
            # Without an append-only file, a snapshot beside it would be taken for the data.
            "ls -d appendonlydir dump.rdb 2>/dev/null || true",
            summary="removes the append-only file",
        ),
    ),
    foreign("redis", "Opening the temp file for AOF rewrite: Permission denied",
            r"(?:AOF|append only|appendonlydir|dump\.rdb|temp file).*Permission denied"
            r"|'dir /data'\s+Permission denied"),
    Damage(
        "wal", "db", ("could not locate a valid checkpoint record",),
        r"could not locate a valid checkpoint record",
        "the write-ahead log is missing or corrupt",
        otherwise=f"{BACKUP}; the last resort: docs/troubleshooting.md#without-a-write-ahead-log",
    ),
    Damage(
        "control", "db", ('could not read file "global/pg_control"',),
        r"could not read file \"global/pg_control\"|could not open file \"\S*/global/pg_control\"",
        "the control file is missing or empty",
        otherwise=BACKUP,
    ),
    Damage(
        "transactions", "db", ("could not access status of transaction",),
        r"could not access status of transaction",
        "the status of transactions (pg_xact) is missing",
        otherwise=BACKUP,
    ),
    Damage(
        "folders", "db", ('could not open directory "pg_notify": No such file or directory',),
        r"could not open directory \"pg_\w+\": No such file or directory",
        "empty folders are missing, as after a copy that leaves them out",
        Repair(
            f"""cd {PGDATA}
for name in pg_commit_ts pg_dynshmem pg_logical/mappings pg_logical/snapshots pg_notify pg_replslot pg_serial \
pg_snapshots pg_stat pg_stat_tmp pg_subtrans pg_tblspc pg_twophase pg_wal/archive_status pg_wal/summaries; do
  [ -d "$name" ] || {{ mkdir -p "$name"; chmod 700 "$name"; chown "$OWNER" "$name"; }}
done""",
            NOTHING,
            summary="creates the folders",
        ),
    ),
    Damage(
        "permissions", "db", ('data directory "/var/lib/postgresql/18/docker" has invalid permissions',),
        r"data directory \"\S+\" has invalid permissions",
        "other accounts may read the data folder, which PostgreSQL refuses",
        Repair(f"chmod 700 {PGDATA}", NOTHING),
    ),
    Damage(
        "index", "db",
        ('index "probes_pkey" contains unexpected zero page', 'could not read blocks 10..10 in file "base/16384/16412"',
         'invalid page in block 10 of relation "base/16384/16412"'),
        r"index \"\w+\" contains (?:unexpected zero|corrupted) page|could not read blocks? \S+ in file \"base/"
        r"|could not open file \"base/|invalid pages? (?:in block|among blocks) .* of relation \"base/",
        "a file of an index or a table is damaged",
        Repair(
            'reindexdb --username postgres --dbname "$POSTGRES_DB" --concurrently',
            "loses nothing: indexes are rebuilt from their tables",
            running=True,
        ),
        f"a table is damaged, not only an index: {BACKUP}",
        serves=True,
    ),
    foreign("db", "changing permissions of '/var/lib/postgresql/18/docker': Operation not permitted",
            r"cannot create directory \S/var/lib/postgresql\S: Permission denied"
                  r"|changing permissions of '\S*/docker': Operation not permitted"
                  r"|data directory \"\S+\" has wrong ownership|postgresql/\S+\": Permission denied"),
    Damage(
        "checkpoint", "kafka", ("Malformed line in checkpoint file",),
        r"Malformed line in checkpoint file",
        "a checkpoint file is torn",
        Repair(
            'rm -f -- "$@"',
            "loses nothing: Kafka checks its segments at the start instead",
            """# The version, the number of entries, and the entries.
for file in *-checkpoint */*-checkpoint; do
  [ ! -s "$file" ] || awk 'NR == 1 { whole = $0 == "0" } NR == 2 { count = $0 } NR > 2 && NF < 2 { whole = 0 }
    END { exit whole && count == NR - 2 }' "$file" || continue
  [ ! -s "$file" ] || echo "$file"
done""",
            summary="removes the torn checkpoint files",
        ),
    ),
    Damage(
        "quorum", "kafka", ("Error while reading the Quorum status from the file",),
        r"Error while reading the Quorum status from the file",
        "the file quorum-state is torn",
        Repair('rm -f -- "$@"', "loses nothing: a single node elects itself again",
               "ls __cluster_metadata-0/quorum-state"),
    ),
    Damage(
        "properties", "kafka", ("node ID not found in /var/lib/kafka/data",),
        r"node ID not found in /var/lib/kafka/data",
        "meta.properties is empty",
        Repair(
            WRITE_PROPERTIES,
            f"{NOTHING}: the id of the folder is in the metadata log",
            "ls meta.properties",
            summary="rewrites it with the id of the folder from the metadata log",
        ),
    ),
    Damage(
        "segment", "kafka", ("Record is corrupt",),
        r"CorruptRecordException|Record is corrupt",
        "a segment or its index is corrupt, which Kafka does not notice after a clean shutdown: consumers stop there",
        Repair(
            "find . -name '*.index' -o -name '*.timeindex' -o -name .kafka_cleanshutdown | xargs rm -f",
            "loses the events after the damaged place in its segment; the results are in the database",
            "ls -d *-[0-9]*",
            summary="removes the indexes and the marker of a clean shutdown: Kafka checks every segment at its start",
        ),
        serves=True,
    ),
    Damage(
        "node", "kafka", ("Stored node id 7 doesn't match",),
        r"Stored node id \S+ doesn't match",
        "the data belongs to another Kafka node",
        otherwise="use the volume of this node (docs/operations.md#data-of-another-version)",
    ),
    foreign("kafka", "AccessDeniedException: /var/lib/kafka/data",
            r"AccessDeniedException: /var/lib/kafka/data|/var/lib/kafka/data\S*: Permission denied"
                     r"|/var/lib/kafka/data/\S+ \(Permission denied\)"),
    Damage(
        "cookie-owner", "rabbitmq", ("Error when reading /var/lib/rabbitmq/.erlang.cookie: eacces",),
        r"Error when reading \S*\.erlang\.cookie: eacces",
        "files in its volume belong to another account",
        Repair('chown -R "$OWNER" .', NOTHING),
    ),
    Damage(
        "cookie-permissions", "rabbitmq",
        ("Cookie file /var/lib/rabbitmq/.erlang.cookie must be accessible by owner only",),
        r"Cookie file \S*\.erlang\.cookie must be accessible by owner only",
        "other accounts may read the Erlang cookie, which Erlang refuses",
        Repair("chmod 400 .erlang.cookie", NOTHING),
    ),
    Damage(
        "cookie", "rabbitmq", ("Too short cookie string",),
        r"Too short cookie string",
        "the Erlang cookie is empty",
        Repair('rm -f -- "$@"', "loses nothing: a single node generates another one", "ls -d .erlang.cookie"),
    ),
    Damage(
        "queues", "rabbitmq", ("wal_checksum_validation_failure", "not_a_dets_file",),
        r"wal_checksum_validation_failure|not_a_dets_file",
        "a log or an index of the quorum queues or of the metadata (Khepri) is corrupt",
        Repair(
            'rm -rf -- "$@"',
            "loses the queued jobs: targets are probed again at their next time, probes on demand stay queued",
            "ls -d mnesia/rabbit@rabbitmq mnesia/rabbit@rabbitmq-feature_flags",
        ),
    ),
    Damage(
        "head", "prometheus", ("opening storage failed: /prometheus/chunks_head/000001: invalid magic number",),
        r"opening storage failed: /prometheus/chunks_head/\S+: ",
        "the memory-mapped chunks of the latest hours are corrupt",
        Repair('rm -rf -- "$@"', "loses nothing that is in the write-ahead log: the chunks are built from it",
               "ls -d chunks_head"),
    ),
    Damage(
        "wal", "prometheus", ("segments are not sequential",),
        r"segments are not sequential|opening storage failed: .*(?:WAL|/wal/).*corrupt",
        "segments of the write-ahead log are missing",
        Repair('rm -rf -- "$@"', "loses the metrics of the last two to three hours", "ls -d wal chunks_head"),
    ),
    Damage(
        "block", "prometheus",
        ("opening storage failed: invalid magic number", "opening storage failed: read TOC",
         "Failed to read meta.json for a block"),
        r"opening storage failed: (?:try lock file: open /prometheus/01\w+/|invalid magic number|read (?:TOC|symbols)"
        r"|(?:open|stat) /prometheus/01\w+/)|Failed to read meta\.json for a block",
        "a block of metrics is corrupt",
        Repair(
            'rm -rf -- "$@"',
            "loses the metrics of that block: two hours to a few days",
            """trap 'rm -rf .checked' EXIT
for block in 01*; do
  rm -rf .checked && mkdir .checked && cp -al "$block" .checked/ || exit 1
  # An unreadable meta.json is skipped, so its block is not listed.
  promtool tsdb list .checked 2>/dev/null | grep -q "^$block" || echo "$block"
done""",
            summary="removes the blocks that `promtool tsdb list` cannot read",
        ),
        serves=True,
    ),
    foreign("prometheus", "open /prometheus/wal/00000001: permission denied",
            r"/prometheus/\S+: permission denied"),
    Damage(
        "index-wal", "loki", ("building tsdb from old WAL files",),
        r"building tsdb from (?:old )?WAL",
        "the write-ahead log of the index is corrupt",
        Repair('rm -rf -- "$@"', "loses the index of the last 15 minutes: their log lines are not found",
               "ls -d tsdb-shipper-active/wal"),
        source="https://github.com/grafana/loki/issues/12583",
    ),
    Damage(
        "index-cache", "loki", ("invalid tsdb path",),
        r"invalid tsdb path|failed to open existing index file",
        "the local copy of the index is corrupt",
        Repair('rm -rf -- "$@"', "loses nothing: it is copied again", "ls -d tsdb-shipper-cache"),
        source="https://github.com/grafana/loki/issues/10855",
    ),
    foreign("loki", "mkdir /loki/rules: permission denied",
            r"/loki\S*: permission denied"),
    Damage(
        "locked", "grafana", ("migration failed: database is locked",),
        r"migration failed.*database is locked",
        "another process holds the database, or its file system has no locks (NFS)",
        otherwise="stop the other process, then run invoke up; a volume on NFS needs a local disk",
        source="https://github.com/grafana/grafana/issues/115875",
    ),
    Damage(
        "database", "grafana", ("database disk image is malformed",),
        r"database disk image is malformed|file is not a database",
        "the SQLite database is corrupt",
        Repair('rm -f -- "$@"', "loses Grafana's accounts, sessions and preferences; dashboards come from files",
               "ls -d grafana.db*"),
        source="https://github.com/grafana/grafana/issues/33885",
    ),
    foreign("grafana", "GF_PATHS_DATA='/var/lib/grafana' is not writable",
            r"/var/lib/grafana\S* (?:is not writable|.*permission denied)|"
                       r"mkdir: can't create directory '/var/lib/grafana/"),
)  # fmt: skip
"""Every known kind of damage. The first one whose sign is in the log counts."""


def find(service: str, log: str, *, serving: bool = False) -> Damage | None:
    """The damage that a service's log shows; with ``serving`` only one with which it stays healthy."""
    known = (each for each in of_service(service) if each.serves or not serving)
    return next((each for each in known if re.search(each.sign, log, re.IGNORECASE)), None)


def of_service(service: str) -> Iterable[Damage]:
    """The known damages of a service's data."""
    return [each for each in DAMAGES if each.service == service]
