"""The likely cause of a failure, from log, health check and container state."""

from __future__ import annotations

import re

import pytest

from tests.unit.toolkit.containers import state
from toolkit.engine.diagnosis import CAUSES, KILLED, OUT_OF_MEMORY, STOPPED, cause, is_permanent

MARKER = 'ERROR:  relation "platform.initialisation" does not exist'
SAMPLES = {
    MARKER: "first initialisation",
    'FATAL:  role "monitoring_a" does not exist': "lacks the accounts",
    'FATAL:  password authentication failed for user "postgres"': "password",
    "PLAIN login refused: user 'admin' - invalid credentials": "password",
    "The database cluster was initialized by PostgreSQL version 17, which is not compatible": "another version",
    "error: /var/lib/postgresql/PG_VERSION is of PostgreSQL 17, whose data would be ignored": "would start empty",
    "kafka.common.InconsistentClusterIdException: The Cluster ID A doesn't match stored clusterId B": "Kafka cluster",
    "Error: listen tcp :9090: bind: address already in use": "uses a port",
    "Bind for 127.0.0.1:3000 failed: port is already allocated": "uses a port",
    "could not extend file: No space left on device": "disk",
    "java.lang.OutOfMemoryError: Java heap space": "OOM-killed",
    "Can't open the file /etc/redis/redis.conf: Permission denied": "cannot read a file",
    "open /etc/prometheus/prometheus.yml: permission denied": "cannot read a file",
    "mkdir /prometheus/wal: permission denied": "lacks write permission",
    'could not translate host name "db" to address: Name or service not known': "cannot resolve",
    "exec /bin/prometheus: exec format error": "another CPU architecture",
    'exec: "sh": executable file not found in $PATH': "missing in its container",
    'level=error msg="Error loading config" err="yaml: line 3"': "configuration file",
    "# >>> 'nonsense yes' Unresolved Configuration(s) Detected": "configuration file",
}


@pytest.mark.parametrize("line", SAMPLES)
def test_cause_is_found_by_its_sign_in_the_log(line: str) -> None:
    found = cause(state(status="exited", code=1), f"starting\n{line}\n")
    assert found is not None
    assert SAMPLES[line] in found.why


def test_every_cause_has_a_sample_and_a_fix() -> None:
    for each in CAUSES:
        assert any(re.search(each.sign, line, re.IGNORECASE) for line in SAMPLES), each.sign
        assert each.fix


def test_cause_is_found_by_its_sign_in_health_check_and_engine_error() -> None:
    assert cause(state(health="unhealthy", checks=[(1, 1, MARKER)]), "") == CAUSES[0]
    error = "driver failed: port is already allocated"
    assert "port" in getattr(cause(state(status="created", error=error), ""), "why", "")


def test_cause_is_found_by_exit_code_without_a_sign() -> None:
    assert cause(state(status="exited", code=137, out_of_memory=True), "yaml: ") is OUT_OF_MEMORY
    assert cause(state(status="exited", code=137), "bye") is KILLED
    assert cause(state(status="exited", code=0), "bye") is STOPPED
    assert cause(state(status="exited", code=1), "bye") is None
    assert cause(state(health="unhealthy"), "bye") is None


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ([(3, 3, MARKER), (2, 3, MARKER), (1, 3, MARKER)], True),
        ([(4, 1, "refused"), (3, 3, MARKER), (2, 3, MARKER), (1, 3, MARKER)], True),
        ([(2, 3, MARKER), (1, 3, MARKER)], False),
        ([(3, 3, MARKER), (2, 1, "connection refused"), (1, 3, MARKER)], False),
        ([(3, 3, MARKER), (2, 3, MARKER), (1, 0, MARKER)], False),
        ([], False),
    ],
)
def test_a_failure_is_permanent_after_three_checks(checks: list[tuple[float, int, str]], expected: bool) -> None:
    assert is_permanent(state(health="starting", checks=checks)) is expected
