"""The commands of the runbooks in docs/alerts/."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "alerts"
FENCE = re.compile(r"^ *```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PROMQL = re.compile(r"^```promql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^## (.*)\n((?:(?!## ).*\n?)*)", re.MULTILINE)
PROGRAMS = ("docker ", "invoke ")
"""Inline code that begins with one of these is a command."""


def texts() -> dict[str, str]:
    """The text of every runbook, by its alert."""
    return {
        path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md")) if path.stem != "README"
    }


def section(text: str, *titles: str) -> str:
    """The text of sections, such as Diagnosis."""
    return "".join(content for title, content in SECTION.findall(text) if title in titles)


def typed(text: str) -> Iterator[str]:
    """The commands of a text as one would type them, in blocks and inline."""
    for block in FENCE.findall(text):
        yield from whole_lines(dedent(block))
    for each in inline(text):
        if each.startswith(PROGRAMS):
            yield each


def inline(text: str) -> list[str]:
    """The inline code of a text, each on one line."""
    return [" ".join(each.split()) for each in re.findall(r"`([^`]+)`", FENCE.sub("", PROMQL.sub("", text)))]


def queries(text: str) -> Iterator[str]:
    """The PromQL queries of a text, one a line."""
    for block in PROMQL.findall(text):
        yield from filter(None, block.splitlines())


def parts(line: str) -> Iterator[list[str]]:
    """The words of a command; those of a pipeline or a list are commands of their own."""
    words: list[str] = []
    for word in [*lexer(line), "|"]:
        if set(word) <= set("|&;"):
            yield words
            words = []
        else:
            words.append(word)


def lexer(line: str) -> shlex.shlex:
    """The words and operators of a command."""
    found = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    found.whitespace_split = True
    return found


def whole_lines(block: str) -> Iterator[str]:
    """The lines of a block, each with its continuation lines."""
    whole = ""
    for line in re.sub(r"\\\n *", "", block).splitlines():
        whole = f"{whole}\n{line}" if whole else line
        try:
            list(lexer(whole))
        except ValueError:
            continue  # a quotation continues
        yield whole
        whole = ""
    assert not whole, whole


LOOKS = (
    r"invoke (status|logs|smoke|dead-letters|secrets\.check)\b",
    r"docker compose (ps|top) ",
    r"docker (info|inspect|stats|system df|image ls)\b",
    r"docker compose exec \w+ df ",
    r"docker compose exec prometheus promtool (check|query) ",
    r"docker compose exec alertmanager amtool .*(query|check-config) ",
    r"docker compose exec rabbitmq (rabbitmq-diagnostics -q|rabbitmqctl -q list_)",
    r"docker compose exec kafka /opt/kafka/bin/kafka-\S+ --bootstrap-server \S+ --(list|describe)\b",
    r"docker compose exec db psql (?!.*(alter |pg_(cancel|terminate)_backend)).*(-c|--command) \"(SELECT|select|show) ",
    r"docker compose exec redis sh -c '.*redis-cli --user admin (info|client list|--bigkeys)",
    r"(df|du|free|uptime|ps|dmesg|grep|ls|openssl s_client)\b",
    r"(chronyc|timedatectl|systemctl status)\b",
)
"""Patterns of the commands that change nothing, which a live test types."""
CHANGES = {
    r"docker compose (up|restart|stop|rm) ": "the tours of faults type those of their alerts",
    r"docker compose exec rabbitmq rabbitmqctl purge_queue ": "a tour of a fault types it",
    r"docker compose exec rabbitmq rabbitmqctl delete_queue ": "it deletes a queue",
    r"docker compose exec rabbitmq rabbitmqctl close_all_user_connections ": "it disconnects clients",
    r"docker compose exec rabbitmq rabbitmqctl set_vm_memory_high_watermark ": "the drill of the memory alarm runs it",
    r"docker compose exec redis sh -c '.*redis-cli --user admin bgrewriteaof'": "Redis does it by itself, too",
    r"docker compose exec db psql .*pg_(cancel|terminate)_backend": "they end the work of a client",
    r"docker compose exec db psql .*alter (system|collation|database) ": "they change a setting, or record a version",
    r"docker compose exec db reindexdb ": "invoke repair runs it: test_broken_data.py",
    r"invoke repair\b": "it needs broken data: test_broken_data.py",
    r"docker compose exec db psql .* 'vacuum freeze'": "it reads and writes every table",
    r"docker compose exec kafka .* --delete ": "it deletes a consumer group",
    r"docker (builder|image) prune|invoke images\.prune": "they delete images of the machine on which the tests run",
    r"invoke (up|reload|setup|deploy)\b": "tasks with live tests of their own",
    r"docker compose exec db /opt/netmon/postgres-accounts\.sh$": "invoke restore runs it: test_backup.py",
    r"invoke doctor\b": "its exit code depends on the machine of the tests",
    r"invoke backup(\.\w+)?\b": "a stack with backups is needed: test_backup.py",
}
"""Patterns of the commands that change something, each with what covers them or why nothing does."""


def commands() -> dict[str, set[str]]:
    """The commands in the diagnosis and the mitigation of the runbooks, with the alerts whose runbooks have them."""
    found: dict[str, set[str]] = {}
    for alert, text in texts().items():
        for line in typed(section(text, "Diagnosis", "Mitigation")):
            found.setdefault(line, set()).add(alert)
    return found


def only_looks(line: str) -> bool:
    """Whether a command changes nothing."""
    return any(re.match(pattern, line) for pattern in LOOKS)
