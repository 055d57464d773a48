"""Faults of a running stack: context managers that inject a fault on entry and repair it on exit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

from tests.live.stack import Stack, until

PROBED = "http://app:3000/api/health/live"
WATERMARK = "700MB"
"""RabbitMQ's memory limit, see config/rabbitmq."""


@contextlib.contextmanager
def together(*faults: contextlib.AbstractContextManager[object]) -> Iterator[None]:
    """Several faults at the same time."""
    with contextlib.ExitStack() as injected:
        for fault in faults:
            injected.enter_context(fault)
        yield


@contextlib.contextmanager
def killed(stack: Stack, service: str) -> Iterator[None]:
    """Kill the main process of a service; the engine does not restart a container after `docker kill`."""
    stack.control("kill", service)
    try:
        yield
    finally:
        stack.control("start", service)


@contextlib.contextmanager
def stopped(stack: Stack, *services: str) -> Iterator[None]:
    """Stop services, all at the same time."""
    stack.control("stop", *services)
    try:
        yield
    finally:
        stack.control("start", *services)


@contextlib.contextmanager
def frozen(container: dict[str, Any]) -> Iterator[None]:
    """Stop every process of a container with SIGSTOP; to the engine it is still running.

    ``docker pause`` would mark the container unhealthy without running its check.
    """
    main: int = container["State"]["Pid"]
    # The main process first, so that it cannot start processes that are missing in the list.
    os.kill(main, signal.SIGSTOP)
    processes = [main, *descendants(main)]
    for process in processes[1:]:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def descendants(pid: int) -> list[int]:
    """Every process below ``pid``."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in children for each in (int(child), *descendants(int(child)))]


@contextlib.contextmanager
def wrong_password(stack: Stack, service: str, variable: str) -> Iterator[None]:
    """Recreate a service with a password that its server rejects."""
    recreate = ("docker", "compose", "up", "--detach", "--no-deps", "--no-build", service)
    stack.run(*recreate, env={variable: "wrong-password-0123"})
    try:
        yield
    finally:
        stack.run(*recreate)


@contextlib.contextmanager
def password_changed(stack: Stack) -> Iterator[None]:
    """Change the application's password in RabbitMQ and close its connections."""
    ctl = ("rabbitmq", "rabbitmqctl")
    user = secret(stack, "rabbitmq_app_user")
    stack.exec(*ctl, "change_password", user, "another-password-0123")
    try:
        stack.exec(*ctl, "close_all_connections", "the password was changed")
        yield
    finally:
        stack.exec(*ctl, "change_password", user, secret(stack, "rabbitmq_app_password"))


def secret(stack: Stack, name: str) -> str:
    """The value of a credential of the stack."""
    return (stack.root / "secrets" / f"{name}.txt").read_text().strip()


@contextlib.contextmanager
def edited(path: Path, old: str, new: str, apply: Callable[[], object]) -> Iterator[None]:
    """Edit a file of the copy; ``apply`` applies it to the running service, on entry and on exit."""
    before = path.read_text(encoding="utf-8")
    assert old in before, path
    path.write_text(before.replace(old, new, 1), encoding="utf-8")
    try:
        apply()
        yield
    finally:
        path.write_text(before, encoding="utf-8")
        apply()


@contextlib.contextmanager
def poison_message(stack: Stack) -> Iterator[None]:
    """Publish a malformed job; the dead-letter queue is purged afterwards."""
    api, account = stack.url("/api", "RABBITMQ_UI_PORT"), ("admin", secret(stack, "rabbitmq_password"))
    message = {"properties": {}, "routing_key": "probes", "payload": "not a job", "payload_encoding": "string"}
    response = requests.post(f"{api}/exchanges/%2F/amq.default/publish", json=message, auth=account, timeout=10)
    assert response.json() == {"routed": True}, response.text
    try:
        yield
    finally:
        requests.delete(f"{api}/queues/%2F/probes.dead/contents", auth=account, timeout=10).raise_for_status()


@contextlib.contextmanager
def memory_alarm(stack: Stack) -> Iterator[None]:
    """Set RabbitMQ's memory limit below its memory usage."""
    limit = ("rabbitmq", "rabbitmqctl", "set_vm_memory_high_watermark", "absolute")
    stack.exec(*limit, "1MB")
    try:
        yield
    finally:
        stack.exec(*limit, WATERMARK)


@contextlib.contextmanager
def writes_paused(stack: Stack) -> Iterator[None]:
    """Pause writes in Redis, and request 150 probes, whose results it has to store."""
    redis(stack, "CLIENT", "PAUSE", "600000", "WRITE")
    try:
        for _ in range(150):
            stack.probe(PROBED)
        yield
    finally:
        redis(stack, "CLIENT", "UNPAUSE")


@contextlib.contextmanager
def full_volume(stack: Stack) -> Iterator[None]:
    """Fill the volume of Redis, with unsaved data left in memory."""
    shell = ("redis", "sh", "-c")
    stack.exec(*shell, "dd if=/dev/zero of=/data/filling bs=64k", check=False)
    try:
        redis(stack, "SET", "drill", "x" * 100_000, check=False)
        yield
    finally:
        stack.exec(*shell, "rm /data/filling")
        until(lambda: "OK" in redis(stack, "SET", "drill", "", check=False), 30, "Redis to accept writes")


def redis(stack: Stack, *command: str, check: bool = True) -> str:
    """Run a Redis command and return the reply."""
    password = (stack.root / "secrets" / "redis_password.txt").read_text().strip()
    client = ("redis-cli", "--user", "admin", *command)
    return stack.docker(
        "exec", "--env", f"REDISCLI_AUTH={password}", stack.container("redis")["Id"], *client, check=check
    )


@contextlib.contextmanager
def small_disk(stack: Stack) -> Iterator[Path]:
    """Mount a disk of 64 MB on this host, visible to node-exporter; not a fault in itself."""
    with tempfile.TemporaryDirectory() as folder:
        # node-exporter runs under an unprivileged account, which needs access to the folder.
        Path(folder).chmod(0o755)
        image, mounted = Path(folder) / "disk.img", Path(folder) / "disk"
        mounted.mkdir()
        with image.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
        try:
            # It sees the mounts that existed at its start.
            stack.control("restart", "node-exporter")
            yield mounted
        finally:
            subprocess.run(["umount", "--lazy", mounted], check=True)
            stack.control("restart", "node-exporter")


@contextlib.contextmanager
def full_disk(disk: Path) -> Iterator[None]:
    """Fill a file system to nearly 100 %."""
    filling = disk / "filling"
    space = os.statvfs(disk)
    with filling.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, int(space.f_bavail * space.f_frsize * 0.99))
    try:
        yield
    finally:
        filling.unlink()


CONNECTIONS = """\
import os, sys, psycopg
opened = [psycopg.connect(os.environ["DATABASE_URL"]) for _ in range({count})]
print("open", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def connections_leaked(stack: Stack, count: int = 85) -> Iterator[None]:
    """A client holds ``count`` idle connections to the database."""
    command = ["docker", "exec", "--interactive", stack.container("worker")["Id"], "python", "-c"]
    with subprocess.Popen([*command, CONNECTIONS.format(count=count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True, cwd=stack.root, env=stack.environment) as client:  # fmt: skip
        assert client.stdin
        assert client.stdout
        try:
            assert client.stdout.readline() == "open\n"
            yield
        finally:
            client.stdin.close()


DEADLOCK = """\
import os, threading, time, psycopg
first, second = (psycopg.connect(os.environ["DATABASE_URL"]) for _ in range(2))
first.execute("SELECT pg_advisory_xact_lock(1)")
second.execute("SELECT pg_advisory_xact_lock(2)")
waiting = threading.Thread(target=first.execute, args=["SELECT pg_advisory_xact_lock(2)"], daemon=True)
waiting.start()
time.sleep(0.2)
try:
    second.execute("SELECT pg_advisory_xact_lock(1)")
except psycopg.errors.DeadlockDetected:
    pass
"""


@contextlib.contextmanager
def deadlock(stack: Stack) -> Iterator[None]:
    """Two transactions wait for each other until the database aborts one."""
    stack.exec("worker", "python", "-c", DEADLOCK)
    yield


ERRORS = """\
import json
with open("/proc/1/fd/1", "w") as output:
    for number in range({count}):
        print(json.dumps({{"level": "error", "message": f"failed {{number}}"}}), file=output)
"""


@contextlib.contextmanager
def errors_logged(stack: Stack, service: str, count: int = 25) -> Iterator[None]:
    """A service written in Python logs errors, all at once."""
    stack.exec(service, "python", "-c", ERRORS.format(count=count))
    yield


@contextlib.contextmanager
def out_of_memory(stack: Stack, service: str) -> Iterator[None]:
    """A process in the container exceeds the memory limit, and the kernel kills it."""
    container = stack.container(service)
    limit = container["HostConfig"]["Memory"]
    done = stack.run("docker", "exec", container["Id"], "python", "-c", f"b'x' * {limit}", check=False)
    assert done.returncode == 128 + signal.SIGKILL, done
    yield


@contextlib.contextmanager
def main_process_out_of_memory(stack: Stack, service: str) -> Iterator[None]:
    """As `out_of_memory`, but the kernel chooses the main process, which takes the container and its cgroup with it."""
    container = stack.container(service)
    Path(f"/proc/{container['State']['Pid']}/oom_score_adj").write_text("1000")
    limit = container["HostConfig"]["Memory"]
    stack.run("docker", "exec", container["Id"], "python", "-c", f"b'x' * {limit}", check=False)
    until(lambda: stack.container(service)["RestartCount"] > container["RestartCount"], 30, f"the restart of {service}")
    yield


@contextlib.contextmanager
def crashing(stack: Stack, service: str, times: int = 4) -> Iterator[None]:
    """Kill the main process repeatedly; the engine restarts the service each time."""
    for restarts in range(1, times + 1):
        os.kill(stack.container(service)["State"]["Pid"], signal.SIGKILL)

        def restarted(restarts: int = restarts) -> bool:
            container = stack.container(service)
            return bool(container["RestartCount"] >= restarts and container["State"]["Pid"])

        until(restarted, 30, f"the restart of {service}")
    yield


@contextlib.contextmanager
def probe_requests(stack: Stack) -> Iterator[None]:
    """Request probes continuously, whatever the response; not a fault in itself."""
    stop = threading.Event()

    def request_probes() -> None:
        while not stop.wait(0.5):
            with contextlib.suppress(requests.RequestException):
                requests.post(stack.url("/api/probes"), json={"url": PROBED}, headers=stack.authorization(), timeout=10)

    client = threading.Thread(target=request_probes)
    client.start()
    try:
        yield
    finally:
        stop.set()
        client.join()
