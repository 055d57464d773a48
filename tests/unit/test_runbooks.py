"""Commands and steps of the runbooks: existing services, files, settings and groups, and steps that have an effect."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import runbooks
from tests.live.drills.test_tours import TOURS, Tour
from tests.live.test_runbooks import looking, skip_reason
from tests.runbooks import CHANGES, FOLDER, LOOKS, parts, typed
from toolkit.core import promql
from toolkit.engine.damage import DAMAGES
from toolkit.operate.reload import AT_START_ONLY, STEPS
from toolkit.validate.alerts import LOG_RULES, RULES, alerts
from toolkit.validate.checkout import Checkout

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = re.compile(r"`(monitoring/([\w-]+)/[^`]*)`")
SETTING = re.compile(r"`([A-Z_]{4,})(?:=\w*)?` in `\.env`")
NAME = "NAME"
"""A service for the reader to fill in."""
WITH_VALUE = {"--entrypoint", "--user", "--env", "--tail", "--since"}
ONE_SERVICE = {"exec", "run"}
"""Subcommands of Compose whose first word is a service and whose further words are a command."""
SERVICES = {"up", "restart", "stop", "rm", "top", "ps", "logs", "kill", "start"}
"""Subcommands of Compose whose words are services."""
FOLDERS = {"blackbox": "blackbox-exporter"}
"""Folders of configuration that are not named after their service."""
IN_CONTAINERS = re.compile(
    r"(rabbitmq(ctl|-\S+)|redis-(cli|check-\S+)|psql|kafka-\S+|promtool|amtool|select|alter|show) ", re.I
)
"""The beginning of a command of a program, or a statement, that works inside a container only."""
DAMAGE = re.compile(
    r"\b(file|volume|block|directory|WAL)\b.*\b(damaged|corrupt|belongs to another user)", re.IGNORECASE
)
APPLIED = {
    r"`docker-compose\.\w+\.yml`": ("invoke up",),
    r"`config/(\w+)/": (r"docker compose restart \1",),
}
"""Files that a mitigation changes, and the commands that make their services use them."""
HARMFUL = {
    "--without": "monitoring that is off is no fix of what it reports",
    "APP_IMAGE": "this makes the application another one: invoke deploy --release rolls back",
}


class Stack(NamedTuple):
    """The services of the checkout: all, and those that every image set has."""

    every: frozenset[str]
    always: frozenset[str]


@cache
def stack() -> Stack:
    checkout = Checkout(ROOT)
    absent = checkout.project.data["absent"]
    found = [
        {name for name, each in configuration.services.items() if each.get("profiles") != [absent]}
        for configuration in checkout.full_configurations
    ]
    local = [names for names in found if "victorialogs" in names]
    pulled = [names for names in found if "loki" in names]
    return Stack(frozenset().union(*found), frozenset(set().union(*local) & set().union(*pulled)))


@cache
def about() -> dict[str, set[str]]:
    """The services of every alert, by the labels and the files of its rules: without them there is no alert."""
    found: dict[str, set[str]] = {}
    for rule in alerts(Checkout(ROOT), RULES + LOG_RULES):
        found.setdefault(rule.name, set()).update(
            {str(rule.data.get("labels", {}).get("service", "")), Path(rule.source.file).stem}
        )
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command of a runbook."""
    return (words for line in typed(text) for words in parts(line))


def named_services(words: list[str]) -> list[str]:
    """The services that a `docker compose` command names."""
    rest = iter(words[2:])
    subcommand = next(rest, "")
    found = []
    for word in rest:
        if word.startswith("-"):
            if word in WITH_VALUE:
                next(rest, "")
            continue
        found.append(word)
        if subcommand in ONE_SERVICE:
            break
    return found if subcommand in ONE_SERVICE | SERVICES else []


def problems(alert: str, text: str) -> list[str]:
    """What would fail, or have no effect, if one followed a runbook."""
    own = about().get(alert, set()) | {folder for _, folder in CONFIGURATION.findall(text)}
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    return [
        *(f"{word}: {why}" for word, why in HARMFUL.items() if word in text),
        *(f"{shlex.join(words)}: {problem}" for words in commands(text) for problem in wrong_services(own, words)),
        *(f"{path} does not exist" for path, _ in CONFIGURATION.findall(text) if not (ROOT / path).exists()),
        *unread_files(text.partition("## Mitigation")[2]),
        *unapplied(text.partition("## Mitigation")[2]),
        *(f"{line}: this works in a container only" for line in runbooks.inline(text) if IN_CONTAINERS.match(line)),
        *unlinked(alert, text),
        *unrepaired(own, text),
        *(f"unknown setting {name}" for name in SETTING.findall(text) if f"\n#{name}=" not in example),
        *(f"not PromQL: {line}" for line in runbooks.queries(text) if not is_promql(line)),
    ]


def wrong_services(own: set[str], words: list[str]) -> Iterator[str]:
    """Services of a command that do not exist, or that an image set lacks and the runbook is not about (``own``)."""
    known = stack()
    options = [word.partition("=") for word in words if words[0] == "invoke"]
    logged = [value for option, _, value in options if option == "--service"]
    started = named_services(words) if words[:2] == ["docker", "compose"] else []
    for name in [*logged, *started]:
        if name not in {NAME} | known.every:
            yield f"unknown service {name}"
        elif name in started and name not in {NAME} | known.always | own:
            yield f"an image set lacks {name}; invoke up starts what there is"


def unread_files(mitigation: str) -> Iterator[str]:
    """Files that a mitigation changes, but no service reads again."""
    followed = list(commands(mitigation))
    for path, folder in CONFIGURATION.findall(mitigation):
        service = FOLDERS.get(folder, folder)
        restarted = any(service in words for words in followed if words[:3] == ["docker", "compose", "restart"])
        reloaded = service in STEPS and ["invoke", "reload"] in followed
        if service in {*AT_START_ONLY, *STEPS} and not restarted and not reloaded:
            yield f"{path} is changed, but nothing makes {service} read it"


def unapplied(mitigation: str) -> Iterator[str]:
    """Files of Compose and of services that a mitigation changes, but does not apply."""
    typed = [shlex.join(words) for words in commands(mitigation)]
    for pattern, applying in APPLIED.items():
        for found in re.finditer(pattern, mitigation):
            for command in map(found.expand, applying):
                if not any(each.startswith(command) for each in typed):
                    yield f"{found[0]} is changed, but nothing applies it: {command}"


def unlinked(alert: str, text: str) -> Iterator[str]:
    """Other alerts that a runbook names without a link to their runbooks."""
    linked = set(re.findall(r"\((\w+)\.md\)", text))
    for name in about().keys() - {alert} - linked:
        if re.search(rf"\b{name}\b", text):
            yield f"{name} is no link"


def unrepaired(own: set[str], text: str) -> Iterator[str]:
    """Services with a known repair, whose data is a cause of the alert, without the task that repairs it."""
    causes, mitigation = runbooks.section(text, "Likely causes"), runbooks.section(text, "Mitigation")
    for service in {each.service for each in DAMAGES if each.repair} & own:
        if DAMAGE.search(causes) and f"invoke repair --service={service}" not in " ".join(mitigation.split()):
            yield f"the data of {service} may be broken, but nothing repairs it: invoke repair --service={service}"


def is_promql(line: str) -> bool:
    try:
        promql.metrics_in(line)
    except ValueError:
        return False
    return True


BROKEN = "## Likely causes\n\n- A file of the volume is damaged."


@pytest.mark.parametrize("alert", sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "README"))
def test_the_steps_of_a_runbook_can_be_followed(alert: str) -> None:
    assert problems(alert, (FOLDER / f"{alert}.md").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```sh\ndocker compose restart clerk\n```", "unknown service clerk"),
        ("```sh\ninvoke logs --service=clerk | tail\n```", "unknown service clerk"),
        ("Run `docker compose up -d --force-recreate app\nclerk`.", "unknown service clerk"),
        ("`docker compose exec database psql`", "unknown service database"),
        ("Start it: `docker compose up -d loki`.", "an image set lacks loki"),
        ("`docker compose run --rm --entrypoint sh rediss -c true`", "unknown service rediss"),
        ("`invoke up --without=monitoring`", "is no fix"),
        ("roll back (`APP_IMAGE` in `.env`, then `invoke up`)", "invoke deploy --release"),
        ("## Mitigation\n\nShorten it in `monitoring/loki/loki.yml`, then `invoke up`.", "makes loki read it"),
        ("## Mitigation\n\nShorten it in `monitoring/loki/loki.yml`; `docker compose restart tempo`.", "loki read it"),
        ("## Mitigation\n\nFix `monitoring/prometheus/rules/`.", "makes prometheus read it"),
        ("See `monitoring/loki/loki.yaml`.", "does not exist"),
        ("Raise `WORKER_REPLICA` in `.env`.", "unknown setting WORKER_REPLICA"),
        ("```promql\nrate(up[5m)\n```", "not PromQL"),
        ("Delete it: `rabbitmqctl delete_queue NAME`.", "this works in a container only"),
        ("End it: `select pg_cancel_backend(PID)`.", "this works in a container only"),
        ("## Mitigation\n\nRaise the limit in `docker-compose.override.yml`.", "nothing applies it: invoke up"),
        ("## Mitigation\n\nRaise it in `config/redis/redis.conf`, then `invoke up`.", "docker compose restart redis"),
        ("See RedisDown.", "RedisDown is no link"),
        ("See `RedisDown`.", "RedisDown is no link"),
        ("1. End it:\n   ```sh\n   docker compose restart clerk\n   ```", "unknown service clerk"),
        (f"See `monitoring/loki/`.\n\n{BROKEN}\n\n## Mitigation\n\nMove it.", "invoke repair --service=loki"),
    ],
)
def test_a_step_that_fails_or_harms_is_a_problem(text: str, problem: str) -> None:
    assert any(problem in each for each in problems("Watchdog", text)), problems("Watchdog", text)


def test_commands_are_found() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md"))
    assert sum(words[:1] == ["invoke"] for words in commands(text)) > 100
    assert sum(words[:2] == ["docker", "compose"] for words in commands(text)) > 80


def test_every_command_looks_or_is_listed_with_a_reason() -> None:
    """A live test types the commands that only look: one of another kind must not be among them."""
    used = set()
    for line in runbooks.commands():
        kinds = [pattern for pattern in (*LOOKS, *CHANGES) if re.match(pattern, line)]
        assert len(kinds) == 1, f"{line}: neither LOOKS nor CHANGES has one pattern for it, but {kinds}"
        used.update(kinds)
    assert used == {*LOOKS, *CHANGES}, "unused patterns"


@pytest.mark.parametrize(
    "line",
    [
        'docker compose exec db psql -U postgres -c "DELETE FROM probes"',
        "docker compose exec rabbitmq rabbitmqctl -q delete_queue probes",
        "docker compose exec redis sh -c 'redis-cli --user admin flushall'",
        "docker system prune",
        "invoke down",
        "invoke statuses",
        "rm -rf /tmp/x",
    ],
)
def test_a_command_that_changes_something_does_not_look(line: str) -> None:
    assert not runbooks.only_looks(line)


def test_every_command_is_typed_in_one_of_the_profiles() -> None:
    """Unless this machine or both stacks lack what it needs."""
    every = stack().every
    for each in looking():
        reasons = {skip_reason(each.line, every, production) for production in (False, True)}
        assert "" in reasons or any("this machine" in reason for reason in reasons), (each.line, reasons)


@pytest.mark.parametrize("tour", TOURS, ids=lambda tour: tour.key[0])
def test_the_fix_of_a_tour_is_in_its_runbook(tour: Tour) -> None:
    """A drill types it."""
    assert tour.runbook()


def test_a_tour_whose_fix_is_not_in_its_runbook_fails() -> None:
    with pytest.raises(AssertionError, match="not among"):
        replace(TOURS[0], fix="docker compose up -d clerk").runbook()


def test_a_tour_that_follows_a_missing_link_fails() -> None:
    with pytest.raises(AssertionError, match="RedisDown is not linked"):
        replace(TOURS[0], via=("RedisDown",)).runbook()
