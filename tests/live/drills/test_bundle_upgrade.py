"""A host without a network is upgraded by the bundle of the next release, and goes back."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.live.drills.test_bundle import BUNDLE, HOST, commit, empty
from tests.live.machine import Machine, checks

Record = Callable[[str], None]

NEXT = "/srv/next.bundle"
MIGRATION = "app/netmon/migrations/9999_bundle.sql"
CLIENT = """
while [ ! -e /tmp/enough ]; do
  curl --silent --insecure --fail --max-time 30 --output /dev/null https://netmon.localhost/api/targets &&
    echo answered || echo failed
  sleep 0.1
done
"""
"""A client of the proxy, which knows the name of its own machine."""


def test_a_host_without_a_network_is_upgraded_by_the_next_bundle(
    machine: Machine, quickstart: str, record: Record
) -> None:
    """In production: application and worker are replaced without a build and without a failed request, and back."""
    commit(machine)
    machine.invoke("bundle", f"--output={BUNDLE}", "--profile=prod", timeout=1500)
    machine.write(MIGRATION, "CREATE TABLE IF NOT EXISTS bundled (number integer);\n")
    machine.write("app/netmon/__init__.py", machine.read("app/netmon/__init__.py").replace('"""', '"""Upgraded. ', 1))
    commit(machine, "v1.1.0")
    machine.invoke("images.prepare", "--profile=prod", timeout=1500)
    machine.invoke("bundle", f"--output={NEXT}", "--profile=prod", timeout=1500)
    empty(machine)

    machine.run("tar", "-xf", BUNDLE, "-C", "/srv", "network-monitor", folder="/")
    machine.run("sh", "-c", "echo DOMAIN=netmon.localhost >.env", folder=HOST)
    machine.run("scripts/quickstart.sh", "--profile=prod", f"--bundle={BUNDLE}", folder=HOST, timeout=900)
    assert "Upgraded" not in document(machine)

    machine.run("tar", "-xf", NEXT, "-C", "/tmp", "network-monitor", folder="/")
    machine.run("git", "fetch", "--tags", "/tmp/network-monitor", "HEAD", folder=HOST)
    machine.run("git", "checkout", "--quiet", "FETCH_HEAD", folder=HOST)
    began = time.monotonic()
    upgrade = ("scripts/quickstart.sh", "--upgrade", "--yes", f"--bundle={NEXT}")
    output, answers = with_requests(machine, *upgrade)
    record(f"upgraded in {time.monotonic() - began:.0f} s: {len(answers)} requests, {answers.count('failed')} failed")
    assert "v1.1.0 is live" in output
    assert "Upgraded" in document(machine)
    assert set(checks(output).values()) == {"ok"}
    assert "failed" not in answers

    began = time.monotonic()
    _, answers = with_requests(machine, ".venv/bin/invoke", "upgrade", "--back", "--yes")
    record(f"back in {time.monotonic() - began:.0f} s: {len(answers)} requests, {answers.count('failed')} failed")
    assert "Upgraded" not in document(machine)
    assert "failed" not in answers


def document(machine: Machine) -> str:
    """The first line of the application's package."""
    ask = ("exec", "-T", "app", "python", "-c", "import netmon; print(netmon.__doc__)")
    return machine.run("docker", "compose", *ask, folder=HOST).stdout


def with_requests(machine: Machine, *argv: str) -> tuple[str, list[str]]:
    """The output of a command, and the outcome of each request meanwhile."""
    machine.run("sh", "-c", 'rm -f /tmp/enough; sh -c "$1" >/tmp/answers 2>&1 &', "load", CLIENT, folder="/")
    try:
        output = machine.run(*argv, folder=HOST, timeout=1500).stdout
    finally:
        machine.run("touch", "/tmp/enough", folder="/")
    time.sleep(1)
    answers = machine.run("cat", "/tmp/answers", folder="/").stdout.split()
    assert len(answers) > 10, answers
    return output, answers
