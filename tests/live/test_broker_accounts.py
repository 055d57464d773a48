"""Permissions of the brokers' accounts, with the layers of production and the brokers' own clients."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.live.faults import secret
from tests.live.stack import Stack

INTERNAL, HOST, ADMIN = "kafka:29092", "localhost:9092", "localhost:29091"
FOREIGN = "foreign"
"""A topic and a queue that do not belong to the application."""
COMPRESSED = "compressed"
"""A topic with a message of each codec."""
ACCOUNT = """
security.protocol=SASL_PLAINTEXT
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="{}" password="{}";
"""
ANONYMOUS = "security.protocol=PLAINTEXT\n"
TIMEOUTS = "request.timeout.ms=2000\ndefault.api.timeout.ms=3000\n"

# An AMQP client: one operation with one account; prints the outcome.
AMQP = """
import asyncio, sys
import aio_pika
url, operation, name = sys.argv[1:]

async def main():
    try:
        connection = await aio_pika.connect(url, timeout=5)
    except Exception:
        return "login refused"
    async with connection:
        channel = await connection.channel(on_return_raises=True)
        match operation:
            case "declare":
                await channel.declare_queue(name, durable=True)
            case "exchange":
                await channel.declare_exchange(name)
            case "read":
                await (await channel.get_queue(name, ensure=False)).get(fail=False)
            case "publish":
                exchange = await channel.get_exchange(name, ensure=False) if name else channel.default_exchange
                await exchange.publish(aio_pika.Message(b"{}"), routing_key="probes")
            case "delete":
                await channel.queue_delete(name)
    return "done"

try:
    print(asyncio.run(main()))
except Exception as error:
    print(type(error).__name__)
"""
# A probe, whose result passes both brokers on its way to the cache.
PROBE = """
import json, time, urllib.request
url = "http://127.0.0.1:3000/api"
token = open("/run/secrets/api_token").readline().strip()
request = urllib.request.Request(f"{url}/probes", b'{"url": "http://app:3000/api/health/live"}',
                                 {"Content-Type": "application/json", "Authorization": f"Bearer {token}"})
target = json.load(urllib.request.urlopen(request))["target"]
for _ in range(100):
    time.sleep(0.1)
    try:
        answer = urllib.request.urlopen(f"{url}/targets/{target}/latest")
    except urllib.error.HTTPError:
        continue
    if answer.headers["X-Cache"] == "hit":
        print("cached")
        break
"""
HTTP = """
import base64, sys, urllib.error, urllib.request
account, method, path = sys.argv[1:]
login = base64.b64encode(account.encode()).decode()
body = {"method": method, "headers": {"Authorization": f"Basic {login}", "Content-Type": "application/json"}}
request = urllib.request.Request(f"http://rabbitmq:15672/api{path}", b'{"password": "x", "tags": ""}', **body)
try:
    print(urllib.request.urlopen(request).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture(scope="module")
def brokers(prod_stack: Stack) -> Iterator[Stack]:
    """The production stack with a topic and a queue of somebody else."""
    kafka(prod_stack, "topics", "--create", "--topic", FOREIGN, at=ADMIN)
    assert amqp(prod_stack, "admin", "declare", FOREIGN) == "done"
    yield prod_stack
    for topic in (FOREIGN, COMPRESSED):
        kafka(prod_stack, "topics", "--delete", "--if-exists", "--topic", topic, at=ADMIN)
    amqp(prod_stack, "admin", "delete", FOREIGN)


def replace(stack: Stack, name: str, value: str) -> None:
    """Replace a credential by rename, like a rotation."""
    path = stack.root / "secrets" / f"{name}.txt"
    new = Path(f"{path}.new")
    new.write_text(value, encoding="utf-8")
    new.rename(path)


def account(stack: Stack, user: str) -> str:
    """The configuration of a Kafka client that logs in as ``netmon`` or ``monitoring``."""
    if user == "netmon":
        return ACCOUNT.format(secret(stack, "kafka_app_user"), secret(stack, "kafka_app_password"))
    return ACCOUNT.format(user, secret(stack, f"kafka_{user}_password"))


def kafka(stack: Stack, tool: str, *args: str, at: str = INTERNAL, login: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of Kafka's own tools over a listener of the broker; ``login`` is the client's configuration."""
    settings = '--command-config <(printf %s "$login")'
    script = f'login=$1; shift; exec /opt/kafka/bin/kafka-{tool}.sh --bootstrap-server {at} {settings} "$@" </dev/null'
    environment = ("--env=KAFKA_HEAP_OPTS=-Xmx128m", "--env=KAFKA_OPTS=")
    container = str(stack.container("kafka")["Id"])
    return stack.run("docker", "exec", *environment, container, "bash", "-c", script, "kafka", TIMEOUTS + login, *args,
                     check=at == ADMIN, timeout=60)  # fmt: skip


def run_in_kafka(stack: Stack, script: str, *args: str) -> str:
    """The standard output of a script in Kafka's container, with the small heap of a tool."""
    container = str(stack.container("kafka")["Id"])
    environment = ("--env=KAFKA_HEAP_OPTS=-Xmx128m", "--env=KAFKA_OPTS=")
    return stack.docker("exec", *environment, container, "bash", "-c", script, "bash", *args)


def client(stack: Stack, program: str, *args: str) -> str:
    """The last line of a program's output in the application's container."""
    return stack.docker("exec", stack.containers("app")[0], "python", "-c", program, *args).splitlines()[-1]


def amqp(stack: Stack, user: str, operation: str, name: str) -> str:
    """The outcome of a RabbitMQ client's operation: ``done``, or the name of the error."""
    return client(stack, AMQP, f"amqp://{rabbitmq_login(stack, user)}@rabbitmq/", operation, name)


def rabbitmq_login(stack: Stack, user: str) -> str:
    """User and password of one of RabbitMQ's accounts."""
    match user:
        case "netmon":
            return f"{secret(stack, 'rabbitmq_app_user')}:{secret(stack, 'rabbitmq_app_password')}"
        case "monitoring":
            return f"monitoring:{secret(stack, 'rabbitmq_monitoring_password')}"
        case "admin":
            return f"admin:{secret(stack, 'rabbitmq_password')}"
        case _:
            return f"{user}:{user}"


def logs_in(stack: Stack, user: str, password: str) -> bool:
    """Whether RabbitMQ accepts the user's password."""
    ctl = ("exec", str(stack.container("rabbitmq")["Id"]), "rabbitmqctl", "authenticate_user", user, password)
    return stack.run("docker", *ctl, check=False).returncode == 0


def smoke(stack: Stack) -> None:
    """Run the application's smoke checks of both brokers."""
    output = stack.compose("run", "--rm", "--no-deps", "smoke", "smoke", "--only", "kafka", "rabbitmq")
    assert output.count('"ok": true') == 2, output


def test_the_permissions_of_the_application_are_sufficient(brokers: Stack) -> None:
    smoke(brokers)
    assert client(brokers, PROBE) == "cached"


def test_kafka_accepts_every_compression_codec(brokers: Stack) -> None:
    codecs = {"none", "gzip", "lz4", "snappy", "zstd"}
    kafka(brokers, "topics", "--create", "--topic", COMPRESSED, at=ADMIN)
    tool = f"/opt/kafka/bin/kafka-console-$1.sh --bootstrap-server {ADMIN} --topic {COMPRESSED}"
    for codec in codecs:
        run_in_kafka(brokers, f"echo {codec} | {tool} --compression-codec {codec}", "producer")
    read = run_in_kafka(brokers, f"{tool} --from-beginning --max-messages {len(codecs)} --timeout-ms 15000", "consumer")
    assert set(read.split()) == codecs


@pytest.mark.parametrize("listener", [INTERNAL, HOST])
def test_kafka_requires_a_login(brokers: Stack, listener: str) -> None:
    user, password = secret(brokers, "kafka_app_user"), secret(brokers, "kafka_app_password")
    right = kafka(brokers, "topics", "--list", at=listener, login=account(brokers, "netmon"))
    assert right.returncode == 0, right.stderr
    assert "probe.results" in right.stdout
    assert FOREIGN not in right.stdout
    for login, error in (
        (ACCOUNT.format(user, f"{password}x"), "SaslAuthenticationException"),
        (ACCOUNT.format("admin", password), "SaslAuthenticationException"),
        (ANONYMOUS, "Timed out"),
    ):
        wrong = kafka(brokers, "topics", "--list", at=listener, login=login)
        assert wrong.returncode != 0, login
        assert error in wrong.stdout + wrong.stderr


USERS = ("configs", "--alter", "--entity-type", "users", "--entity-name", "mallory",
         "--add-config", "SCRAM-SHA-512=[password=mallory]")  # fmt: skip
RETENTION = ("configs", "--alter", "--entity-type", "topics", "--add-config", "retention.ms=1")
READ = ("console-consumer", "--timeout-ms", "4000", "--max-messages", "1")
READ_ALONE = (*READ, "--partition", "0", "--offset", "earliest")
REFUSED_TO_ALL = (
    (USERS, "ClusterAuthorizationException"),
    (("acls", "--list"), "ClusterAuthorizationException"),
    (("configs", "--alter", "--entity-type", "brokers", "--entity-name", "1", "--add-config", "log.cleaner.threads=2"),
     "ClusterAuthorizationException"),
    (("topics", "--create", "--topic", "other"), "TopicAuthorizationException"),
    (("topics", "--delete", "--topic", "probe.results"), "TopicAuthorizationException"),
    ((*RETENTION, "--entity-name", "probe.results"), "TopicAuthorizationException"),
    ((*READ_ALONE, "--topic", FOREIGN), "TopicAuthorizationException"),
)  # fmt: skip
REFUSED = (
    *(("netmon", *each) for each in REFUSED_TO_ALL),
    ("netmon", (*READ, "--topic", "probe.results", "--group", FOREIGN), "GroupAuthorizationException"),
    *(("monitoring", *each) for each in REFUSED_TO_ALL),
    ("monitoring", (*READ_ALONE, "--topic", "probe.results"), "TopicAuthorizationException"),
    ("monitoring", ("consumer-groups", "--delete", "--group", "latest-state"), "GroupAuthorizationException"),
)


@pytest.mark.parametrize(("user", "command", "error"), REFUSED)
def test_kafka_denies_operations_without_an_acl(brokers: Stack, user: str, command: Sequence[str], error: str) -> None:
    done = kafka(brokers, *command, login=account(brokers, user))
    assert error in done.stdout + done.stderr, done


def test_kafka_permits_monitoring_to_describe_topics_and_groups(brokers: Stack) -> None:
    login = account(brokers, "monitoring")
    topics = kafka(brokers, "topics", "--list", login=login).stdout
    assert {"probe.results", FOREIGN} <= set(topics.split())
    groups = kafka(brokers, "consumer-groups", "--describe", "--all-groups", login=login).stdout
    assert "latest-state" in groups


@pytest.mark.parametrize(
    ("user", "operation", "name", "outcome"),
    [
        ("netmon", "declare", "other", "ChannelAccessRefused"),
        ("netmon", "declare", "probes.other", "ChannelAccessRefused"),
        ("netmon", "exchange", "other", "ChannelAccessRefused"),
        ("netmon", "read", FOREIGN, "ChannelAccessRefused"),
        ("netmon", "delete", FOREIGN, "ChannelAccessRefused"),
        ("netmon", "publish", "amq.topic", "ChannelAccessRefused"),
        ("netmon", "read", "probes", "done"),
        ("netmon", "read", "probes.batches", "done"),
        ("monitoring", "read", "probes", "login refused"),
    ],
)
def test_rabbitmq_denies_access_to_resources_of_others(
    brokers: Stack, user: str, operation: str, name: str, outcome: str
) -> None:
    assert amqp(brokers, user, operation, name) == outcome


@pytest.mark.parametrize(
    ("user", "method", "path", "status"),
    [
        ("netmon", "GET", "/overview", 401),
        ("netmon", "PUT", "/users/mallory", 401),
        ("monitoring", "GET", "/overview", 200),
        ("monitoring", "GET", "/queues", 200),
        ("monitoring", "PUT", "/users/mallory", 401),
        # It has no access to the virtual host, so it finds no queue.
        ("monitoring", "DELETE", "/queues/%2F/probes", 404),
        ("admin", "GET", "/queues/%2F/probes", 200),
        ("monitoring", "GET", "/definitions", 401),
        ("guest", "GET", "/overview", 401),
        ("admin", "GET", "/users", 200),
    ],
)
def test_rabbitmq_management_api_enforces_tags(brokers: Stack, user: str, method: str, path: str, status: int) -> None:
    assert client(brokers, HTTP, rabbitmq_login(brokers, user), method, path) == str(status)


def test_a_changed_secret_is_reported_as_rejected(brokers: Stack) -> None:
    """A running service uses the secrets that it has read at its start."""
    drifted = {f"{service}_app_password": secret(brokers, f"{service}_app_password")
               for service in ("postgres", "redis", "rabbitmq", "kafka")}  # fmt: skip
    try:
        for name in drifted:
            replace(brokers, name, secrets.token_hex(32))
        done = brokers.invoke("secrets.check", check=False)
    finally:
        for name, value in drifted.items():
            replace(brokers, name, value)
    assert done.returncode == 1
    assert {line.split()[1] for line in done.stdout.splitlines() if line.startswith("failed")} == drifted.keys()
    for service in ("db", "redis", "rabbitmq", "kafka"):
        assert f"{service} rejects it" in done.stdout
        assert f"up --detach --force-recreate {service}" in done.stdout
    assert "failed" not in brokers.invoke("secrets.check").stdout
