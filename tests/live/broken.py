"""Stores with broken data: single services of a checkout, their test data, and the damage that is done to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.live.stack import IMAGES, Stack, until
from toolkit.checkout.project import LOCAL
from toolkit.core import envfile
from toolkit.engine import damage
from toolkit.engine.damage import Damage
from toolkit.engine.stores import PGDATA, STORES

VOLUMES = {each.service: each for each in STORES}
WRITTEN = 200
"""The number of items that every store has before it is damaged."""
TOPIC, QUEUE = "broken", "broken"
HOURS = 4
"""Of metrics: two blocks, which Prometheus does not compact into one."""


@dataclass(frozen=True)
class Case:
    """A damage: shell commands in the root of the volume, and the number of items that its repair must leave."""

    service: str
    damage: str
    breakage: str
    left: range
    killed: bool = False
    """The service was killed before; otherwise it was stopped in an orderly way."""

    @property
    def name(self) -> str:
        """The name of the test."""
        return f"{self.service}-{self.damage}"


ALL = range(WRITTEN, WRITTEN + 1)
NONE = range(1)
HALF = range(1, WRITTEN)
FOREIGN = "chown -R 0:0 . && chmod -R go-rwx ."
GARBAGE = "head -c {bytes} /dev/urandom | dd of=$(ls -d {file}) bs=1 seek={at} conv=notrunc 2>/dev/null"
QUORUM = "mnesia/rabbit@rabbitmq/{}/rabbit@rabbitmq"
FIRST_BLOCK = "$(ls -d 01* | head -n 1)"


def garbage(file: str, at: int, count: int = 200) -> str:
    """Overwrite bytes in the middle of a file."""
    return GARBAGE.format(file=file, at=at, bytes=count)


COMMON = (Case("redis", "aof", garbage("appendonlydir/*.incr.aof", 2000), HALF),)
"""The damage of the live tests; the drills have all."""

OTHERS = (
    Case("db", "owner", FOREIGN, ALL),
    Case("prometheus", "block", garbage(f"{FIRST_BLOCK}/index", 0, 100), HALF),
    Case("redis", "aof-missing", "rm appendonlydir/*.incr.aof", HALF),
    Case("redis", "snapshot", garbage("appendonlydir/*.base.rdb", 200, 4), NONE),
    Case("redis", "owner", FOREIGN, ALL),
    Case("db", "permissions", f"chmod 777 {PGDATA}", ALL),
    Case("db", "folders", f"cd {PGDATA} && rmdir pg_tblspc pg_twophase && rm -r pg_notify", ALL),
    Case("db", "index", f"dd if=/dev/zero of={PGDATA}/$(cat /tmp/index) bs=8192 seek=1 count=1 conv=notrunc", ALL),
    Case("kafka", "checkpoint", "printf xx >recovery-point-offset-checkpoint", ALL),
    Case("kafka", "checkpoint", f"printf xx >{TOPIC}-0/leader-epoch-checkpoint", ALL),
    Case("kafka", "quorum", ": >__cluster_metadata-0/quorum-state", ALL),
    Case("kafka", "properties", ": >meta.properties", ALL),
    Case("kafka", "owner", FOREIGN, ALL),
    Case("kafka", "segment", garbage(f"{TOPIC}-0/00000000000000000000.log", 200_000), HALF),
    Case("rabbitmq", "cookie-owner", FOREIGN, ALL),
    Case("rabbitmq", "cookie-permissions", "chmod 644 .erlang.cookie", ALL),
    Case("rabbitmq", "cookie", ": >.erlang.cookie", ALL),
    Case("rabbitmq", "queues", garbage(f"{QUORUM.format('coordination')}/*.wal", 20_000, 500), NONE, killed=True),
    Case("rabbitmq", "queues", f"head -c 3000 /dev/urandom >{QUORUM.format('quorum')}/meta.dets", NONE),
    Case("prometheus", "block", f": >{FIRST_BLOCK}/meta.json", HALF),
    Case("prometheus", "block", f"rm {FIRST_BLOCK}/index", HALF),
    Case("prometheus", "head", "mkdir -p chunks_head && head -c 3000 /dev/urandom >chunks_head/000001", ALL),
    Case("prometheus", "wal", "head -c 40000 /dev/zero >wal/00000009", ALL),
    Case("prometheus", "owner", FOREIGN, ALL),
)
"""The others."""

UNREPAIRABLE = (
    Case("db", "wal", f"rm {PGDATA}/pg_wal/0*", NONE, killed=True),
    Case("db", "control", f"truncate -s 0 {PGDATA}/global/pg_control", NONE),
    Case("db", "transactions", f"rm {PGDATA}/pg_xact/0000", NONE),
    Case("kafka", "node", "sed -i s/node.id=.*/node.id=7/ meta.properties", NONE),
)
"""Damages without a safe repair."""

HEALED = (
    Case("redis", "torn", "truncate -s -7 appendonlydir/*.incr.aof", range(WRITTEN - 1, WRITTEN)),
    Case("kafka", "torn", f"truncate -s -100 {TOPIC}-0/00000000000000000000.log", range(WRITTEN), killed=True),
    Case("prometheus", "torn", "truncate -s -50 wal/00000000", ALL),
)
"""Damages that the program repairs by itself."""


class Stores:
    """Single services of a checkout, each with test data in its volume and a copy of that volume."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.images = {name: each["image"] for name, each in stack.configuration("*").items()}
        self._written: dict[tuple[str, bool], str] = {}

    def start(self, service: str, *, healthy: bool = True) -> None:
        """Start a single service, as it is."""
        self.stack.compose("up", "--detach", "--no-deps", "--no-build", "--pull", "never", service)
        if healthy:
            until(lambda: self.health(service) == "healthy", 90, f"health of {service}")

    def health(self, service: str) -> str:
        """The result of the health check."""
        return str(self.stack.container(service)["State"]["Health"]["Status"])

    def log(self, service: str) -> str:
        """The log of the present container."""
        done = self.stack.run("docker", "logs", self.stack.containers(service)[0])
        return done.stdout + done.stderr

    def in_volume(self, service: str, command: str, *other: str, image: str = "db") -> str:
        """Run shell commands as root in the root of a service's volume; ``other`` are more mounts."""
        store = VOLUMES[service]
        volume = f"{self.stack.name}_{store.volume}:{store.target}"
        mounts = (word for each in (volume, *other) for word in ("--volume", each))
        image = self.images[service if image == "own" else image]
        return self.stack.docker("run", "--rm", "--network", "none", "--user", "0", *mounts, "--workdir", store.target,
                                 "--entrypoint", "sh", image, "-c", command)  # fmt: skip

    def damage(self, case: Case) -> None:
        """Write the test data once, put its copy into the volume, and damage it."""
        key = (case.service, case.killed)
        if key not in self._written:
            self.clear(case.service)
            self.start(case.service)
            WRITE[case.service](self)
            until(lambda: COUNT[case.service](self) == WRITTEN, 60, f"data of {case.service}")
            if case.killed:
                self.stack.docker("kill", self.stack.containers(case.service)[0])
            self.stop(case.service)
            self._written[key] = f"{self.stack.name}_{case.service.replace('-', '_')}_good{int(case.killed)}"
            self.in_volume(case.service, "cp -a . /good/", f"{self._written[key]}:/good")
        self.stop(case.service)
        self.clear(case.service)
        good = f"{self._written[key]}:/good"
        self.in_volume(
            case.service, f"cp -a /good/. . && cp .index-of-test /tmp/index 2>/dev/null; {case.breakage}", good
        )

    def stop(self, *services: str) -> None:
        """Stop services and remove their containers."""
        self.stack.compose("rm", "--stop", "--force", *services)

    def clear(self, service: str) -> None:
        """Empty the volume of a service."""
        self.stop(service)
        self.stack.compose("create", "--no-build", "--pull", "never", service)
        self.stop(service)
        self.in_volume(service, "find . -mindepth 1 -delete")
        if service != "db":
            owner = self.stack.configuration("*")[service]["user"]
            self.in_volume(service, f"chown {owner} .")
        else:
            self.in_volume(service, "chown 999:999 .")

    def remove(self) -> None:
        """Remove the copies."""
        for name in (*self._written.values(), *self.copies()):
            self.stack.docker("volume", "rm", "--force", name, check=False)

    def copies(self) -> list[str]:
        """The volumes with the files from before a repair."""
        listed = self.stack.docker("volume", "ls", "--quiet", "--filter", "label=netmon.damaged").split()
        return [name for name in listed if name.startswith(f"{self.stack.name}_")]


def redis_cli(stores: Stores, commands: str) -> str:
    """The output of Redis commands."""
    password = (stores.stack.root / "secrets/redis_password.txt").read_text()
    return stores.stack.exec("redis", "env", f"REDISCLI_AUTH={password}", "redis-cli", "--user", "admin", text=commands)


def write_redis(stores: Stores) -> None:
    """Half of the keys in the snapshot, half in the append-only file after it."""
    half = WRITTEN // 2
    redis_cli(stores, "".join(f"SET netmon:k{i} value-{i}\n" for i in range(half)) + "BGREWRITEAOF\n")
    until(lambda: "aof_rewrite_in_progress:0" in redis_cli(stores, "INFO persistence\n"), 20, "the append-only file")
    redis_cli(stores, "".join(f"SET netmon:k{i} value-{i}\n" for i in range(half, WRITTEN)))


def psql(stores: Stores, sql: str, *, check: bool = True) -> str:
    """The output of SQL as the superuser."""
    return stores.stack.exec("db", "psql", "--quiet", "--tuples-only", "--username", "postgres", "--dbname",
                             "network_monitor", text=sql, check=check).strip()  # fmt: skip


def write_db(stores: Stores) -> None:
    """A table with an index; the path of the index is in the volume."""
    psql(stores, "CREATE TABLE broken (id int PRIMARY KEY, text text)")
    psql(stores, f"INSERT INTO broken SELECT id, 'text' FROM generate_series(1, {WRITTEN}) id")  # noqa: S608
    path = psql(stores, "SELECT pg_relation_filepath('broken_pkey')")
    stores.in_volume("db", f"echo {path} >.index-of-test")


def count_db(stores: Stores) -> int:
    """The rows, found by the index."""
    found = psql(stores, "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off;"
                         "SELECT count(text) FROM broken WHERE id > 0", check=False)  # fmt: skip
    return int(found or 0)


def kafka_tool(stores: Stores, tool: str, text: str = "", *, check: bool = True) -> str:
    """The output of a tool of Kafka."""
    command = f"unset KAFKA_OPTS; /opt/kafka/bin/{tool} --bootstrap-server localhost:29091 --topic {TOPIC}"
    name, _, options = tool.partition(" ")
    command = command.replace(tool, name) + f" {options}"
    return stores.stack.exec("kafka", "sh", "-c", command, text=text, check=check)


def write_kafka(stores: Stores) -> None:
    """A topic with one partition; a batch has eight messages."""
    kafka_tool(stores, "kafka-topics.sh --create --partitions 1")
    text = "".join(f"message-{i}-{'a' * 2000}\n" for i in range(WRITTEN))
    kafka_tool(stores, "kafka-console-producer.sh", text)


def count_kafka(stores: Stores) -> int:
    """The messages from the earliest offset."""
    options = f"--partition 0 --offset earliest --timeout-ms 8000 --max-messages {WRITTEN}"
    return kafka_tool(stores, f"kafka-console-consumer.sh {options}", check=False).count("message-")


def rabbitmq(stores: Stores, method: str, path: str, document: Mapping[str, object] | None = None) -> requests.Response:
    """A request to the management API."""
    password = (stores.stack.root / "secrets/rabbitmq_password.txt").read_text()
    url = stores.stack.url(f"/api/{path}", "RABBITMQ_UI_PORT")
    return requests.request(method, url, json=document, auth=("admin", password), timeout=10)


def write_rabbitmq(stores: Stores) -> None:
    """A quorum queue with messages."""
    arguments = {"x-queue-type": "quorum"}
    queue = {"durable": True, "arguments": arguments}
    # The account of the API is created shortly after that of the health check.
    until(lambda: rabbitmq(stores, "PUT", f"queues/%2f/{QUEUE}", queue).ok, 20, "the account of the API")
    message = {"properties": {"delivery_mode": 2}, "routing_key": QUEUE, "payload": "x" * 300,
               "payload_encoding": "string"}  # fmt: skip
    for _ in range(WRITTEN):
        rabbitmq(stores, "POST", "exchanges/%2f/amq.default/publish", message).raise_for_status()


def count_rabbitmq(stores: Stores) -> int:
    """The messages of the queue; 0 if it does not exist."""
    listed = stores.stack.exec("rabbitmq", "rabbitmqctl", "--quiet", "list_queues", "name", "messages", check=False)
    return next((int(line.split()[1]) for line in listed.splitlines() if line.split()[:1] == [QUEUE]), 0)


def write_prometheus(stores: Stores) -> None:
    """Blocks of two hours each, in the past, which the running server loads after a restart."""
    stores.stop("prometheus")
    end = int(time.time()) // 7200 * 7200 - 7200
    step = HOURS * 3600 // WRITTEN
    lines = [f'broken{{a="b"}} {i} {end - HOURS * 3600 + i * step}' for i in range(WRITTEN)]
    (stores.stack.root / "broken.txt").write_text("\n".join(["# TYPE broken gauge", *lines, "# EOF\n"]))
    command = "promtool tsdb create-blocks-from openmetrics /broken.txt . && chown -R 65534:65534 ."
    stores.in_volume("prometheus", command, f"{stores.stack.root}/broken.txt:/broken.txt:ro", image="own")
    stores.start("prometheus")


def count_prometheus(stores: Stores) -> int:
    """The samples."""
    url = stores.stack.url("/api/v1/query", "PROMETHEUS_PORT")
    result = requests.get(url, {"query": "count_over_time(broken[24h])"}, timeout=10).json()
    return int(result["data"]["result"][0]["value"][1]) if result["data"]["result"] else 0


WRITE: Mapping[str, Callable[[Stores], None]] = {
    "redis": write_redis,
    "db": write_db,
    "kafka": write_kafka,
    "rabbitmq": write_rabbitmq,
    "prometheus": write_prometheus,
}
COUNT: Mapping[str, Callable[[Stores], int]] = {
    "redis": lambda stores: int(redis_cli(stores, "DBSIZE\n")),
    "db": count_db,
    "kafka": count_kafka,
    "rabbitmq": count_rabbitmq,
    "prometheus": count_prometheus,
}


def has_images(stack: Stack) -> bool:
    """Whether the images of all stores are on this machine."""
    services = stack.configuration()
    images = [services[each]["image"] for each in COUNT]
    return all(not stack.run("docker", "image", "inspect", each, check=False).returncode for each in images)


@contextmanager
def stopped_stores(folder: Path) -> Iterator[Stores]:
    """The services of a development stack, of which none runs. The application's image is not built for them."""
    stack = Stack.create(folder, "netmon-broken")
    if IMAGES != "pull":
        envfile.update(stack.root / ".env", {"NETMON_IMAGES": LOCAL})
    stack.invoke("setup", "--profile=dev")
    if not has_images(stack):
        envfile.update(stack.root / ".env", {"NETMON_IMAGES": ""})
        stack.invoke("images.prepare", timeout=900)
    stores = Stores(stack)
    try:
        yield stores
    finally:
        stores.remove()
        stack.destroy()


@contextmanager
def no_service(stores: Stores) -> Iterator[None]:
    """The block ends without a service and without a copy."""
    try:
        yield
    finally:
        stores.stop(*COUNT)
        for copy in stores.copies():
            stores.stack.docker("volume", "rm", copy)


def start_damaged(stores: Stores, case: Case) -> Damage:
    """Damage the data of a service, start it, and wait until its log has the line of the damage."""
    known = next(each for each in damage.of_service(case.service) if each.name == case.damage)
    stores.damage(case)
    stores.start(case.service, healthy=known.serves and case.damage != "block")
    if case.service in {"db", "kafka"} and known.serves:
        until(lambda: COUNT[case.service](stores) < WRITTEN, 30, "clients to notice the damage")
    if case.service != "kafka" or not known.serves:  # a consumer has the line
        until(lambda: damage.find(case.service, stores.log(case.service)) is not None, 60, f"a log line of {case.name}")
        assert damage.find(case.service, stores.log(case.service)) == known
    return known


def assert_repaired(stores: Stores, case: Case) -> int:
    """The damage is found and repaired, after confirmation and a copy; returns the number of items that are left."""
    known = start_damaged(stores, case)
    assert known.repair is not None
    named = ["--damage=segment"] if case.damage == "segment" else []
    refused = stores.stack.invoke("repair", f"--service={case.service}", *named, check=False)
    assert refused.returncode == 1
    assert "confirmation required" in refused.stderr
    assert known.repair.loses in refused.stdout
    output = stores.stack.invoke("repair", f"--service={case.service}", "--yes", *named).stdout
    assert stores.health(case.service) == "healthy"
    left = COUNT[case.service](stores)
    assert left in case.left, output
    assert bool(known.repair.files) == bool(stores.copies()), output
    assert all(copy in output for copy in stores.copies())
    if not known.serves:
        again = stores.stack.invoke("repair", f"--service={case.service}", "--yes", check=False)
        assert f"{case.service} is healthy" in again.stderr
    return left
