"""Broken data: each damage is found by its log line, in a service that shows it, and has a repair or an advice."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.unit.toolkit.containers import state
from toolkit.engine import damage, stores
from toolkit.engine.damage import DAMAGES, Damage
from toolkit.engine.diagnosis import cause

LINES = {
    ("redis", "aof"): [
        "1:M 30 Nov 2026 14:05:57.841 # Bad file format reading the append only file appendonly.aof.2.incr.aof: make a "
        "backup of your AOF file, then use ./redis-check-aof --fix <filename.manifest>",
    ],
    ("redis", "aof-missing"): [
        "1:M 30 Nov 2026 14:06:33.682 # Unable to obtain the AOF file appendonly.aof.2.incr.aof length. stat: No such "
        "file or directory",
    ],
    ("redis", "snapshot"): [
        "1:M 30 Nov 2026 14:06:16.955 # Wrong RDB checksum expected: (e9a3831f6b602cc5) but got (5dfd635d024f5cbe). "
        "Aborting now.",
        "1:M 30 Nov 2026 14:06:16.955 # Internal error in RDB reading offset 0, function at rdb.c:3698 -> RDB CRC "
        "error",
    ],
    ("redis", "owner"): [
        ">>> 'dir /data'\nPermission denied",
        "1:M 30 Nov 2026 14:06:40.402 # Opening the temp file for AOF rewrite in rewriteAppendOnlyFile(): Permission "
        "denied",
    ],
    ("db", "wal"): [
        "2026-11-30 14:06:53.450 UTC [24] PANIC:  could not locate a valid checkpoint record at 0/2288670",
    ],
    ("db", "control"): [
        '2026-11-30 14:07:24.367 UTC [1] PANIC:  could not read file "global/pg_control": read 0 of 296',
        'but could not open file "/var/lib/postgresql/18/docker/global/pg_control": No such file or directory',
    ],
    ("db", "transactions"): [
        "2026-11-30 14:09:42.461 UTC [24] FATAL:  could not access status of transaction 767",
    ],
    ("db", "folders"): [
        '2026-11-30 14:07:55.687 UTC [1] FATAL:  could not open directory "pg_notify": No such file or directory',
    ],
    ("db", "permissions"): [
        '2026-11-30 14:07:17.830 UTC [1] FATAL:  data directory "/var/lib/postgresql/18/docker" has invalid '
        "permissions",
    ],
    ("db", "index"): [
        '2026-11-30 14:08:54.707 UTC [54] ERROR:  index "t_pkey" contains unexpected zero page at block 10',
        '2026-11-30 14:09:02.334 UTC [54] ERROR:  could not read blocks 10..10 in file "base/16384/16412": read only 0 '
        "of 8192 bytes",
        '2026-11-30 14:09:10.626 UTC [55] ERROR:  invalid page in block 10 of relation "base/16384/16412"',
        '2026-11-30 14:09:35.593 UTC [54] ERROR:  2 invalid pages among blocks 3..6 of relation "base/16384/16406"',
        '2026-11-30 14:09:18.733 UTC [54] ERROR:  could not open file "base/16384/16412": No such file or directory',
    ],
    ("db", "owner"): [
        "chmod: changing permissions of '/var/lib/postgresql/18/docker': Operation not permitted",
        "mkdir: cannot create directory \u2018/var/lib/postgresql\u2019: Permission denied",
    ],
    ("kafka", "checkpoint"): [
        "java.io.IOException: Malformed line in checkpoint file "
        "[/var/lib/kafka/data/recovery-point-offset-checkpoint]: xx",
    ],
    ("kafka", "quorum"): [
        "java.io.UncheckedIOException: Error while reading the Quorum status from the file "
        "/var/lib/kafka/data/__cluster_metadata-0/quorum-state",
    ],
    ("kafka", "properties"): [
        "java.lang.RuntimeException: Error: node ID not found in /var/lib/kafka/data",
    ],
    ("kafka", "segment"): [
        "Caused by: org.apache.kafka.common.KafkaException: Record batch for partition lab-0 at offset 2275 is "
        "invalid, cause: Record is corrupt (stored crc = 2330179935, computed crc = 1202810042)",
    ],
    ("kafka", "node"): [
        'Exception in thread "main" java.lang.RuntimeException: Stored node id 7 doesn\'t match previous node id 1 in '
        "/var/lib/kafka/data/meta.properties. If you moved your data, make sure your configured node id matches.",
    ],
    ("kafka", "owner"): [
        "java.nio.file.AccessDeniedException: /var/lib/kafka/data/__cluster_metadata-0/00000000000000000000.log",
    ],
    ("rabbitmq", "cookie-owner"): [
        '{shutdown,{failed_to_start_child,auth,{\\"Error when reading /var/lib/rabbitmq/.erlang.cookie: eacces\\",',
    ],
    ("rabbitmq", "cookie-permissions"): [
        '{failed_to_start_child,auth,{\\"Cookie file /var/lib/rabbitmq/.erlang.cookie must be accessible by owner '
        'only\\",',
    ],
    ("rabbitmq", "cookie"): [
        '{shutdown,{failed_to_start_child,auth,{\\"Too short cookie string\\",[{auth,init_no_setcookie,0,',
    ],
    ("rabbitmq", "queues"): [
        "2026-11-30 14:25:33.562276+00:00 [error] <0.498.0>                             "
        "wal_checksum_validation_failure}}}}",
        "{failed_to_start_child,ra_log_ets,{{badmatch,{error,{not_a_dets_file,"
        '\\"/var/lib/rabbitmq/mnesia/rabbit@rabbitmq/coordination/rabbit@rabbitmq/names.dets\\"}}',
    ],
    ("prometheus", "head"): [
        'level=ERROR source=main.go:1373 msg="Fatal error" err="opening storage failed: '
        '/prometheus/chunks_head/000001: invalid magic number b31d5ded"',
    ],
    ("prometheus", "wal"): [
        'level=ERROR source=main.go:1373 msg="Fatal error" err="opening storage failed: get segment range: segments '
        'are not sequential"',
    ],
    ("prometheus", "block"): [
        'level=ERROR source=main.go:1373 msg="Fatal error" err="opening storage failed: invalid magic number 5a704ffa"',
        'level=ERROR source=main.go:1373 msg="Fatal error" err="opening storage failed: read TOC: read TOC: invalid '
        'checksum"',
        'level=ERROR source=main.go:1373 msg="Fatal error" err="opening storage failed: try lock file: open '
        '/prometheus/01M8PD74TEYCM5D6PX8WA7N74F/index: no such file or directory"',
        'level=ERROR source=db.go:1676 msg="Failed to read meta.json for a block during reloadBlocks. Skipping" '
        'component=tsdb dir=/prometheus/01M8PD74TEYCM5D6PX8WA7N74F err="unexpected end of JSON input"',
    ],
    ("prometheus", "owner"): [
        'level=ERROR source=query_logger.go:113 msg="Error opening query log file" component=activeQueryTracker '
        'file=/prometheus/queries.active err="open /prometheus/queries.active: permission denied"',
        'level=ERROR source=main.go:1373 msg="Fatal error" err="opening storage failed: open '
        '/prometheus/wal/00000001: permission denied"',
    ],
    ("loki", "index-wal"): ["building tsdb from old WAL files"],
    ("loki", "index-cache"): [
        "invalid tsdb path: /loki/tsdb-shipper-cache/index_19641/65867a84fe18-1675329762671420908-1696984200",
    ],
    ("loki", "owner"): ["mkdir /loki/rules: permission denied"],
    ("grafana", "locked"): ["Error: ✗ migration failed (id = create migration_log table): database is locked"],
    ("grafana", "database"): ["database disk image is malformed"],
    ("grafana", "owner"): ["GF_PATHS_DATA='/var/lib/grafana' is not writable."],
}
"""Log lines of damaged data, as the programs print them; that of ``segment`` is of a consumer, not of the broker."""

HEALED = {
    "redis": "# !!! Truncating the AOF appendonly.aof.2.incr.aof at offset 9177 !!!",
    "prometheus": 'msg="Encountered WAL read error, attempting repair" component=tsdb err="read records: corruption in '
                  'segment /prometheus/wal/00000000 at 689055: unexpected checksum 69bb970, expected 1fe7ef57"',
    "kafka": "WARN Found invalid messages in log segment /var/lib/kafka/data/lab-0/00000000000000000000.log at byte "
             "offset 130819. (org.apache.kafka.storage.internals.log.LogSegment)",
    "db": "LOG:  database system was not properly shut down; automatic recovery in progress",
}  # fmt: skip
"""Log lines of damages that the program has repaired by itself."""


def named(each: Damage) -> str:
    return f"{each.service}-{each.name}"


def test_names_are_unique_within_a_service() -> None:
    names = [(each.service, each.name) for each in DAMAGES]
    assert len(set(names)) == len(names)
    assert set(names) == set(LINES), "every damage has its log lines here"


@pytest.mark.parametrize("each", DAMAGES, ids=named)
def test_damage_is_found_by_its_log_lines(each: Damage) -> None:
    for line in (*LINES[each.service, each.name], *each.lines):
        log = f"starting\n{line}\nshutting down\n"
        assert damage.find(each.service, log) == each, line
        found = cause(state(each.service, "restarting", restarts=5), log)
        assert found is not None
        assert (found.why, found.fix) == (each.cause, each.fix)
        assert damage.find("app", log) is None


@pytest.mark.parametrize("service", HEALED)
def test_repaired_damage_is_none(service: str) -> None:
    assert damage.find(service, HEALED[service]) is None


@pytest.mark.parametrize("each", DAMAGES, ids=named)
def test_damage_of_a_healthy_service_is_one_with_which_it_serves(each: Damage) -> None:
    log = "\n".join(LINES[each.service, each.name])
    assert (damage.find(each.service, log, serving=True) == each) is each.serves


def test_a_full_disk_precedes_broken_data() -> None:
    log = "\n".join((*LINES["redis", "aof"], "Error writing to the AOF file: No space left on device"))
    found = cause(state("redis", "restarting", restarts=5), log)
    assert found is not None
    assert "disk" in found.why


@pytest.mark.parametrize("each", DAMAGES, ids=named)
def test_every_damage_has_a_repair_that_names_its_loss_or_an_advice(each: Damage) -> None:
    assert each.service in {store.service for store in stores.STORES}
    re.compile(each.sign)
    if each.repair is None:
        assert each.otherwise
        assert each.fix == each.otherwise
    else:
        assert each.repair.loses.startswith("loses ")
        assert each.fix == f"invoke repair --service={each.service} ({each.repair.loses})"
        for script in filter(None, (each.repair.command, each.repair.files)):
            subprocess.run(["sh", "-n", "-c", script], check=True)


def checkpoints(folder: Path) -> list[str]:
    """The checkpoint files of Kafka that the commands of the table find in a folder."""
    repair = next(each.repair for each in DAMAGES if (each.service, each.name) == ("kafka", "checkpoint"))
    assert repair is not None
    done = subprocess.run(["sh", "-c", repair.files], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("text", "torn"),
    [("", False), ("0\n0\n", False), ("0\n2\nlab 0 5000\nlab 1 7\n", False), ("0\n1\n0 12\n", False),
     ("xx", True), ("0\n", True), ("0\n2\nlab 0 5000\n", True), ("0\n1\nlab\n", True), ("\0\0\0\0", True)],
)  # fmt: skip
def test_torn_checkpoints_of_kafka_are_found(tmp_path: Path, text: str, torn: bool) -> None:
    (tmp_path / "lab-0").mkdir()
    (tmp_path / "bootstrap.checkpoint").write_text("binary")
    (tmp_path / "whole-checkpoint").write_text("0\n0\n")
    (tmp_path / "lab-0" / "leader-epoch-checkpoint").write_text(text)
    assert checkpoints(tmp_path) == (["lab-0/leader-epoch-checkpoint"] if torn else []), shlex.quote(text)
