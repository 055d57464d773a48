"""The commands of the runbooks that only look, typed in a stack of each profile."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from tests import runbooks
from tests.live.documents import typed
from tests.live.stack import Stack
from toolkit.checkout import expectations
from toolkit.core import promql

NAME = "worker"
"""The service for NAME, and that of the container for CONTAINER."""
SERVICE = re.compile(r"--service=([\w-]+)|docker compose (?:exec|ps -q) ([\w-]+)")
PRODUCTION_ONLY = re.compile(r"openssl s_client|--service=proxy")
DEPENDS_ON_PROFILE = re.compile(rf"docker compose exec|invoke (dead-letters|status)|{PRODUCTION_ONLY.pattern}")
"""Commands that meet other accounts, permissions and images in production; the rest is typed in development only."""
HOST_CLOCK = re.compile(r"chronyc|timedatectl|systemctl")
"""Commands that need systemd or an NTP client on the host."""
AMOUNT = re.compile(r"--(?:tail|since)=\w+")
"""A number of lines, or a period: commands that differ only in it are typed once."""
FAILURE = re.compile(r"(?<![\w.:-])(?:error\b|no such|not found|unknown|invalid|denied|refused)", re.IGNORECASE)
"""Not within a name, as that of the target nowhere.invalid."""
LOGS = re.compile(r"invoke logs")
"""Its output has errors of others."""
NO_FAILURE = {"grep": 1, "du": 1}
"""Exit codes that are no failure: no line was selected; a folder was deleted meanwhile."""
DELETED_MEANWHILE = re.compile(r"^du: cannot (?:access|read directory) .*: No such file or directory$", re.MULTILINE)


class Command(NamedTuple):
    """A command without its filter, its filters (``grep …``, or empty) in all runbooks, and the alerts of these."""

    line: str
    filters: set[str]
    alerts: set[str]


def looking() -> list[Command]:
    """The commands that change nothing, each once."""
    found: dict[str, Command] = {}
    for line, alerts in runbooks.commands().items():
        if runbooks.only_looks(line):
            source, _, rest = line.partition(" | ")
            same = found.setdefault(AMOUNT.sub("", source), Command(source, set(), set()))
            same.alerts.update(alerts)
            same.filters.add(rest)
    return list(found.values())


def skip_reason(line: str, running: Iterable[str], production: bool) -> str:
    """Why a command is not typed in a stack; empty if it is."""
    if HOST_CLOCK.match(line) and not (
        shutil.which(line.split(maxsplit=1)[0]) and Path("/run/systemd/system").exists()
    ):
        return "this machine has no such program"
    if production and not DEPENDS_ON_PROFILE.search(line):
        return "as in development"
    if not production and PRODUCTION_ONLY.search(line):
        return "production only"
    service = next((name for match in SERVICE.finditer(line) for name in match.groups() if name), "")
    return f"{service} is not part of this stack" if service.islower() and service not in running else ""


def filled_in(stack: Stack, line: str, production: bool) -> str:
    """A command with this stack's values in the places of the reader's."""
    values = {r"\bNAME\b": NAME, r"\bCONTAINER\b": stack.containers(NAME)[0]}
    if production:
        values |= {r"\bHOST:443\b": f"127.0.0.1:{stack.settings['PROXY_HTTPS_PORT']}",
                   r"\bHOST\b": stack.settings["DOMAIN"]}  # fmt: skip
    for placeholder, value in values.items():
        line = re.sub(placeholder, value, line)
    return typed(stack, line)


def failures(stack: Stack, command: Command, production: bool) -> list[str]:
    """What is wrong with the outcome of a command and of its filters."""
    line = filled_in(stack, command.line, production)
    began = time.monotonic()
    done = stack.run("bash", "-c", line, check=False, timeout=120)
    print(f"{time.monotonic() - began:6.2f} s  {command.line}")
    errors = DELETED_MEANWHILE.sub("", done.stderr)
    found = [errors] if FAILURE.search(errors) else []
    if done.returncode not in {0, NO_FAILURE.get(line.split()[0], 0)}:
        found.append(f"exit code {done.returncode}: {done.stderr or done.stdout}")
    for each in command.filters:
        output = done.stdout
        if each:
            run = subprocess.run(["bash", "-c", each], input=output, capture_output=True, text=True, check=False)
            output = run.stdout
            if run.returncode not in {0, NO_FAILURE.get(each.split()[0], 0)} or run.stderr:
                found.append(f"| {each}: exit code {run.returncode}: {run.stderr}")
        if not LOGS.match(command.line) and (failed := FAILURE.search(output)):
            found.append(f"{failed[0]} in {output}")
    return [f"{command.line} ({', '.join(sorted(command.alerts))}): {each.strip()}" for each in found]


@pytest.fixture(params=["stack", "prod_stack"])
def running(request: pytest.FixtureRequest) -> Stack:
    """A stack of each profile."""
    stack: Stack = request.getfixturevalue(request.param)
    return stack


def test_every_command_that_only_looks_works(running: Stack) -> None:
    services, production = running.configured(), "DOMAIN" in running.settings
    reasons = {each.line: skip_reason(each.line, services, production) for each in looking()}
    todo = [each for each in looking() if not reasons[each.line]]
    assert len(todo) > 30, reasons
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda each: failures(running, each, production), todo))
    assert not any(found), "\n".join(failure for each in found for failure in each)
    print(f"{len(todo)} commands typed; not typed:")
    print("\n".join(f"{line}: {reason}" for line, reason in reasons.items() if reason))


def unknown_metrics(stack: Stack, queries: Iterable[str]) -> list[str]:
    """The metrics of queries that Prometheus has not scraped, without those that may be absent."""
    answer = requests.get(stack.url("/api/v1/label/__name__/values", "PROMETHEUS_PORT"), timeout=10).json()
    known, unavailable = set(answer["data"]), stack.unavailable()
    optional = [each for each in expectations.absent_metrics(stack.root) if not each.needs or each.needs in unavailable]
    used = {name for query in queries for name in promql.metrics_in(query)}
    return sorted(name for name in used - known if not any(each.matches(name) for each in optional))


def test_every_query_names_existing_metrics(stack: Stack) -> None:
    queries = [line for text in runbooks.texts().values() for line in runbooks.queries(text)]
    assert len(queries) > 100
    assert unknown_metrics(stack, queries) == []
    assert unknown_metrics(stack, ["redis_memory_use_bytes / redis_memory_max_bytes"]) == ["redis_memory_use_bytes"]


@pytest.mark.parametrize(
    ("line", "filters", "problem"),
    [
        ('docker compose exec db psql -U postgres -d network_monitor -c "SELECT nme FROM targets"', "", "nme"),
        ("docker compose exec rabbitmq rabbitmqctl -q list_queues name letters", "", "letters"),
        ("docker compose exec prometheus promtool query instant http://localhost:9090 'up == '", "", "exit code"),
        ("invoke logs --service=clerk --tail=50", "", "clerk"),
        ("invoke logs --service=worker --tail=1", "grep -E '(x'", "grep"),
    ],
)
def test_a_command_that_fails_is_reported(stack: Stack, line: str, filters: str, problem: str) -> None:
    found = failures(stack, Command(line, {filters}, {"X"}), production=False)
    assert problem in "".join(found)
