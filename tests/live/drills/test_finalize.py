"""An upgrade is finalized: the brokers, which were set up by an older version, write the formats of their own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.live.drills.test_upgrade import git, provide_environment, recorded
from tests.live.stack import Stack

Record = Callable[[str], None]

OLDER = "4.2"
"""The version of Kafka that has formatted its volume."""
FORMAT = f"""
printf '%s\\n' process.roles=broker,controller node.id=1 controller.quorum.voters=1@localhost:29093 \\
  controller.listener.names=CONTROLLER listeners=CONTROLLER://localhost:29093,PLAINTEXT://localhost:9092 \\
  listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT log.dirs=/var/lib/kafka/data >/tmp/format
/opt/kafka/bin/kafka-storage.sh format --config /tmp/format --cluster-id "$CLUSTER_ID" --release-version {OLDER}
"""
FLAGS = "khepri_db"
"""The only feature flag that is enabled besides those that are required."""
DESCRIBE = "/opt/kafka/bin/kafka-features.sh --bootstrap-server=localhost:29091 describe"


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack in a repository, whose brokers write older formats."""
    found = Stack.create(tmp_path_factory.mktemp("finalize") / "checkout", "netmon-finalize", COMPOSE_PROFILES="")
    override = {"services": {"rabbitmq": {"environment": {"RABBITMQ_FEATURE_FLAGS": FLAGS}}}}
    (found.root / "docker-compose.override.yml").write_text(yaml.safe_dump(override))
    provide_environment(found)
    try:
        git(found, "init", "--quiet", "--initial-branch=main")
        git(found, "add", "--all")
        git(found, "commit", "--quiet", "--message=one")
        git(found, "tag", "v1")
        found.invoke("setup", "--profile=dev")
        found.invoke("images.prepare", timeout=900)
        found.compose("run", "--rm", "--no-deps", "--no-TTY", "--entrypoint=bash", "kafka", "-c", FORMAT)
        found.invoke("up", "--without=monitoring", "--no-smoke", timeout=900)
        yield found
    finally:
        found.destroy()


def formats(stack: Stack) -> tuple[str, str]:
    """The disabled feature flags of RabbitMQ, and the line about the metadata of Kafka."""
    flags = stack.exec("rabbitmq", "rabbitmqctl", "--quiet", "list_feature_flags", "name", "state", "stability")
    disabled = [line for line in flags.splitlines() if "disabled" in line and "stable" in line]
    described = stack.exec("kafka", "sh", "-c", f"KAFKA_OPTS= KAFKA_HEAP_OPTS=-Xmx128m {DESCRIBE}")
    [metadata] = [line for line in described.splitlines() if "metadata.version" in line]
    return "\n".join(disabled), metadata.partition("Epoch")[0]


def test_an_upgrade_is_finalized_and_has_no_way_back(stack: Stack, record: Record) -> None:
    disabled, metadata = formats(stack)
    assert disabled
    assert f"FinalizedVersionLevel: {OLDER}-" in metadata

    path = stack.root / "config" / "redis" / "redis.conf"
    path.write_text(f"{path.read_text()}tcp-keepalive 299\n")
    git(stack, "commit", "--quiet", "--all", "--message=two")
    upgraded = stack.invoke("upgrade", "--yes", timeout=900).stdout
    assert "not finalized: feature flags " in upgraded
    assert f"metadata.version from {OLDER}-" in upgraded
    assert formats(stack) == (disabled, metadata), "only the last step raises them"
    for task in ("status", "doctor"):
        assert "the upgrade is not finalized: feature flags" in stack.invoke(task, check=False).stdout

    refused = stack.invoke("upgrade", "--finalize", check=False)
    assert refused.returncode == 1
    assert "confirmation required to raise these formats, which has no way back" in refused.stderr
    assert formats(stack) == (disabled, metadata)

    began = time.monotonic()
    done = stack.invoke("upgrade", "--finalize", "--yes")
    record(
        f"{disabled.count(chr(10)) + 1} feature flags and Kafka's metadata raised in {time.monotonic() - began:.0f} s"
    )
    assert "invoke upgrade --back is refused" in done.stdout
    left, metadata = formats(stack)
    assert left == ""
    assert f"FinalizedVersionLevel: {OLDER}-" not in metadata
    assert "not finalized" not in stack.invoke("doctor", check=False).stdout
    assert recorded(stack)["finalized"]

    head = git(stack, "rev-parse", "HEAD")
    back = stack.run(sys.executable, "-m", "invoke", "upgrade", "--back", "--yes", check=False)
    assert back.returncode == 1
    assert "cannot go back to v1" in back.stderr
    assert "the upgrade was finalized at" in back.stderr
    assert git(stack, "rev-parse", "HEAD") == head
    assert "nothing to finalize" in stack.invoke("upgrade", "--finalize").stdout
    stack.invoke("smoke")
