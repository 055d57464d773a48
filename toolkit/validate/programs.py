"""Validation of configuration files by the programs that read them, in the images of their services."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from uuid import uuid4

import yaml

from toolkit.checkout.project import LOCAL, PULLED
from toolkit.checkout.setup import settings
from toolkit.engine.compose import Docker, Result, explain
from toolkit.engine.timeouts import TimedOutError
from toolkit.images import unavailable
from toolkit.validate import examples, inhibition, notifications
from toolkit.validate.checkout import EVERY_GROUP, Checkout, Configuration
from toolkit.validate.findings import Finding

TIMEOUT_SECONDS = 600
MAX_OUTPUT = 2000
"""Characters of a program's output in a finding."""
IMAGES, UNUSED, ABSENT, GRAMMARS = "images", "unused", "absent", "grammars"
REASONS = {
    IMAGES: "the image of the service is not on this machine",
    UNUSED: "the same, and this checkout does not use the service: another profile, or a group that is off",
    ABSENT: "the image set in use lacks the service",
    GRAMMARS: "Node.js, or the packages of the grammars or of Grafana's schema, are not installed",
}
"""Reasons for skipping a program, by their names in --allow-skips."""
ALERTMANAGER = "/etc/alertmanager/alertmanager.yml"
ROUTING_TESTS = "monitoring/alertmanager/routing_tests.yml"
ALERTING = "monitoring/alertmanager/alertmanager.yml"


class Context(NamedTuple):
    """The input of a validator: the checkout, its service, and the path of each file in the container."""

    checkout: Checkout
    service: Mapping[str, Any]
    files: Mapping[str, str]


Command = Callable[[Context], Sequence[str]]
"""The program and its arguments; an empty program stands for the image's entry point."""


@dataclass(frozen=True)
class Program:
    """A validator: the image of ``service`` runs ``command`` on ``files``, as far as the service mounts them."""

    name: str
    service: str
    command: Command
    files: tuple[str, ...]
    groups: tuple[str, ...] = EVERY_GROUP
    """The groups that are enabled for its configuration."""
    loaded: bool = True
    """Whether the service loads these files; false for tests of its files."""
    profile: str = "dev"
    """A profile that has the service."""

    def paths(self, checkout: Checkout) -> list[str]:
        """The files to validate, untracked ones included: the program reads them as well."""
        found = {path for pattern in self.files for path in checkout.root.glob(pattern)}
        return sorted(str(path.relative_to(checkout.root)) for path in found)


@dataclass(frozen=True)
class Skipped:
    """A program that could not run, and why; ``reason`` is one of `REASONS`, or empty if a skip is never allowed.

    ``fix`` makes it run; empty if unknown.
    """

    name: str
    why: str
    reason: str = ""
    fix: str = ""


def _on_files(*words: str) -> Command:
    """A tool with the files as arguments."""
    return lambda context: [*words, *context.files.values()]


def _service_command(*before: str, then: Sequence[str] = ()) -> Command:
    """The service's own command, with options that make it validate its configuration and exit."""
    return lambda context: ["", *before, *context.service["command"], *then]


def _rule_tests(context: Context) -> Sequence[str]:
    """The rule tests, file by file, since promtool does not name the file that failed."""
    return _shell((["promtool", "test", "rules", path], path) for path in context.files.values())


def _routing_tests(context: Context) -> Sequence[str]:
    """The routing tests: every label set reaches its receivers."""
    cases = yaml.safe_load((context.checkout.root / ROUTING_TESTS).read_text(encoding="utf-8"))
    return _shell(
        (
            ["amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}",
             f"--verify.receivers={','.join(case['receivers'])}",
             *(f"{name}={value}" for name, value in case["labels"].items())],
            f"{context.files[ROUTING_TESTS]}: {case['name']}",
        )
        for case in cases
    )  # fmt: skip


PARTS = frozenset({"netmon.links", "netmon.names", "netmon.runbook"})
"""Templates of parts of a notification, not of a whole one."""
RELATIVE = r'(href="|\]\(|(Target|Dashboard|Runbook): )([^h]|h[^t]|$)|^(docs)?/'
"""A link without a scheme in a notification."""

INHIBITION_SERVER = """
unset http_proxy
alertmanager --config.file={configuration} --storage.path=/tmp/alertmanager --web.listen-address=127.0.0.1:9093 \\
  --cluster.listen-address= --log.level=error &
api=http://127.0.0.1:9093
until wget -q -O /dev/null $api/-/ready; do
  kill -0 $! || exit 1
  sleep 0.2
done
post() {{
  wget -q -O /dev/null --header 'Content-Type: application/json' --post-data "$1" $api/api/v2/alerts
}}
count() {{
  wget -q -O - "$api/api/v2/alerts?active=$1&inhibited=$2&filter=expected%3D%22$3%22" | grep -o '"fingerprint"' | wc -l
}}
failed=0
"""
"""Starts Alertmanager; ``post`` sends alerts, ``count`` counts those that are active or inhibited and have a label."""
INHIBITION_CASE = """
post {firing}
for _ in 1 2 3 4 5 6 7 8 9 10; do
  found="$(count false true muted) muted, $(count true false sent) sent"
  [ "$found" = {expected} ] && break
  sleep 0.2
done
[ "$found" = {expected} ] || {{ echo {words}: FAILED: "$found" instead of {expected}; failed=1; }}
post {resolved}
"""
"""Sends the alerts of a case, compares which of them are inhibited, and resolves them for the next case."""
PAST, FUTURE = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"


def _inhibition_tests(context: Context) -> Sequence[str]:
    """The inhibition tests, in a running Alertmanager: it alone knows how it reads its rules."""
    script = INHIBITION_SERVER.format(configuration=ALERTMANAGER)
    for case in inhibition.cases(context.checkout.source(inhibition.TESTS)):
        targets = [("muted", each) for each in case.mutes] + [("sent", each) for each in case.spares]
        alerts = [case.source, *({**labels, "expected": state} for state, labels in targets)]

        def body(ends: str, alerts: Sequence[Mapping[str, str]] = alerts) -> str:
            return shlex.quote(json.dumps([{"labels": each, "startsAt": PAST, "endsAt": ends} for each in alerts]))

        script += INHIBITION_CASE.format(
            firing=body(FUTURE),
            resolved=body(PAST.replace("00Z", "01Z")),
            expected=shlex.quote(f"{len(case.mutes)} muted, {len(case.spares)} sent"),
            words=shlex.quote(f"{context.files[inhibition.TESTS]}: {case.source['alertname']}: {case.why}"),
        )
    return ["sh", "-c", f"{script}exit $failed"]


def _template_rendering(context: Context) -> Sequence[str]:
    """Rendering of every named template, and of every receiver's texts, with a sample notification.

    `amtool check-config` and Alertmanager accept a template that does not parse or does not exist: its notifications
    would fail, or be empty. A relative link fails, too: nobody can open it in a mail or a chat.
    """
    named: dict[str, str] = {}
    for file, path in context.files.items():
        content = (context.checkout.root / file).read_text(encoding="utf-8")
        named |= dict.fromkeys(re.findall(r'(?:template|define) "([^"]+)"', content), path)
    calls = [(notifications.rendering(f'{{{{ template "{name}" . }}}}'), f"{path}: {name}")
             for name, path in named.items() if name not in PARTS]  # fmt: skip
    for text in notifications.texts(context.checkout.source(ALERTING).data):
        words = f"{context.files[ALERTING]}: receiver {text.receiver}: {'.'.join(text.keys)}"
        calls.append((notifications.rendering(text.template, html=text.is_html), words))
    return _shell(calls, RELATIVE)


def _examples(context: Context) -> Sequence[str]:
    """The examples of the document are those that the templates render."""
    known = examples.read(context.checkout)
    lines = ["failed=0"]
    for text in notifications.texts(context.checkout.source(ALERTING).data):
        example = shlex.quote(known.get(text.place, ""))
        words = shlex.quote(f"{examples.DOCUMENT}: receiver {text.receiver}: {text.setting}")
        lines.append(
            f"output=$({shlex.join(notifications.rendering(text.template, examples.DATA, html=text.is_html))} 2>&1)\n"
            f'[ "$output" = {example} ] || {{ echo {words}: FAILED: not the example: "$output"; failed=1; }}'
        )
    return ["sh", "-c", "\n".join([*lines, "exit $failed"])]


def _shell(calls: Iterable[tuple[Sequence[str], str]], refused: str = "") -> Sequence[str]:
    """One script for many calls; the words beside a call are printed with its output if it fails.

    A call also fails if a line of its output matches ``refused``, an extended regular expression.
    """
    refuse = f' && ! printf "%s" "$output" | grep -qE {shlex.quote(refused)}' if refused else ""
    lines = [
        f'output=$({shlex.join(call)} 2>&1){refuse} || {{ echo {shlex.quote(words)}: FAILED: "$output"; failed=1; }}'
        for call, words in calls
    ]
    return ["sh", "-c", "\n".join(["failed=0", *lines, "exit $failed"])]


def _caddy_validation(context: Context) -> Sequence[str]:
    """Adapts and loads the Caddyfile, with Caddy's data in a temporary folder."""
    [caddyfile] = context.files.values()
    return ["env", "XDG_DATA_HOME=/tmp", "caddy", "validate", "--adapter", "caddyfile", "--config", caddyfile]


COLLECTOR = ("monitoring/otel-collector/*.yml",)
PROGRAMS = (
    Program("promtool-config", "prometheus",
            _on_files("promtool", "check", "config", "--lint=all", "--lint-fatal"),
            ("monitoring/prometheus/prometheus.yml",), profile="prod"),
    Program("promtool-rules", "prometheus",
            _on_files("promtool", "check", "rules", "--lint=all", "--lint-fatal"),
            ("monitoring/prometheus/rules/**/*.yml", "monitoring/jaeger/rules*.yml",
             "monitoring/backup/rules*.yml")),
    Program("promtool-tests", "prometheus", _rule_tests, ("monitoring/prometheus/tests/*.yml",), loaded=False),
    Program("amtool-config", "alertmanager", _on_files("amtool", "check-config"), (ALERTING,)),
    Program("amtool-routes", "alertmanager", _routing_tests, (ROUTING_TESTS,)),
    Program("alertmanager-inhibition", "alertmanager", _inhibition_tests, (inhibition.TESTS,)),
    Program("amtool-templates", "alertmanager", _template_rendering,
            (ALERTING, "monitoring/alertmanager/templates/*.tmpl")),
    Program("amtool-examples", "alertmanager", _examples, (ALERTING, "monitoring/alertmanager/templates/*.tmpl")),
    Program("blackbox", "blackbox-exporter", _service_command(then=["--config.check"]), ("monitoring/blackbox/*.yml",)),
    Program("caddy", "proxy", _caddy_validation, ("config/caddy/Caddyfile",), profile="prod"),
    Program("otelcol", "otel-collector", _service_command("validate"), COLLECTOR, groups=("monitoring",)),
    Program("otelcol-jaeger", "otel-collector", _service_command("validate"), COLLECTOR),
    Program("jaeger", "jaeger", _service_command("validate"), ("monitoring/jaeger/jaeger.yml",)),
    Program("loki", "loki", _service_command(then=["-verify-config"]), ("monitoring/loki/loki.yml",)),
    Program("tempo", "tempo", _service_command(then=["-config.verify=true"]), ("monitoring/tempo/tempo.yml",)),
)  # fmt: skip


def validate(checkout: Checkout, program: Program) -> Iterator[Finding | Skipped]:
    """Run a program in its service's image on the files that the service mounts; yields one finding per file."""
    docker = Docker(checkout.root)
    skips: list[Skipped] = []
    for configuration in _candidates(checkout, program):
        service = configuration.services[program.service]
        if service.get("profiles") == [checkout.project.data["absent"]]:
            skips.append(Skipped(program.name, f"{program.service} is {unavailable.REASON}", ABSENT))
            continue
        inspected = docker("image", "inspect", service["image"])
        if inspected.code == 0:
            yield from _run(checkout, docker, program, service)
            return
        skips.append(_without_image(checkout, program, inspected))
    yield skips[0]


def _without_image(checkout: Checkout, program: Program, inspected: Result) -> Skipped:
    """The skip of a program whose image cannot be inspected."""
    why = inspected.stderr.strip().rpartition("\n")[2]
    if "no such image" not in why.lower():
        return Skipped(program.name, why, fix=explain("inspect an image", inspected).fix)
    fix = f"run: invoke images.prepare --every-group --profile={program.profile}"
    profile = checkout.project.profile
    if profile is None or program.service in _services_in_use(checkout, profile):
        return Skipped(program.name, why, IMAGES, fix)
    why = f"this checkout does not use {program.service}, and its image is not on this machine"
    return Skipped(program.name, why, UNUSED, fix)


def _services_in_use(checkout: Checkout, profile: str) -> Collection[str]:
    """The services of the checkout's own profile and groups."""
    groups = tuple(filter(None, settings(checkout.project)["COMPOSE_PROFILES"].split(",")))
    files = checkout.files(profile, checkout.project.images or PULLED, groups)
    return checkout.configuration(files, groups).services.keys()


def _candidates(checkout: Checkout, program: Program) -> list[Configuration]:
    """The configuration of the image set in use, or of both sets if none was chosen."""
    chosen = checkout.project.images
    combinations = [
        checkout.files(program.profile, images, program.groups) for images in ([chosen] if chosen else [PULLED, LOCAL])
    ]
    return [checkout.configuration(files, program.groups) for files in combinations]


def _run(checkout: Checkout, docker: Docker, program: Program, service: dict[str, Any]) -> Iterator[Finding]:
    mounts = _mounts(checkout, service)
    paths = {
        file: file.replace(source, target, 1)
        for file in program.paths(checkout)
        for target, source in mounts.items()
        if PurePath(file).is_relative_to(source)
    }
    if not paths:
        return
    entrypoint, *arguments = program.command(Context(checkout, service, paths))
    container = f"validate-{program.name}-{uuid4().hex[:8]}"
    call = (
        *("run", "--rm", "--name", container, "--network", "none", "--read-only", "--tmpfs", "/tmp"),  # noqa: S108
        *("--cap-drop", "ALL", "--user", service["user"]),
        *(f"--cap-add={name}" for name in service.get("cap_add") or ()),
        *(f"--env={name}={value}" for name, value in (service.get("environment") or {}).items()),
        *(f"--volume={checkout.root / source}:{target}:ro" for target, source in mounts.items()),
        *(("--entrypoint", entrypoint) if entrypoint else ()),
        *(service["image"], *arguments),
    )
    try:
        result = docker(*call, timeout=TIMEOUT_SECONDS)
    except TimedOutError:
        docker("rm", "--force", container)
        yield Finding(next(iter(paths)), 1, f"{program.name} timed out after {TIMEOUT_SECONDS} s")
        return
    if result.code == 0:
        yield from (Finding(file, 1) for file in paths)
        return
    output = f"{result.stdout}\n{result.stderr}"
    file = _blamed_file(output, paths)
    line = re.search(rf"(?:{re.escape(paths[file])}: *|\bline )(\d+)", output)
    yield Finding(file, int(line[1]) if line else 1, f"{program.name}: {' '.join(output.split())[:MAX_OUTPUT]}")


def _mounts(checkout: Checkout, service: Mapping[str, Any]) -> dict[str, str]:
    """The folders of the checkout that a service mounts, without mounts inside other mounts."""
    mounts = {
        mount["target"]: str(Path(mount["source"]).relative_to(checkout.root))
        for mount in service["volumes"]
        if mount["type"] == "bind" and Path(mount["source"]).is_relative_to(checkout.root)
    }
    inner = [
        target
        for target in mounts
        if any(other != target and PurePath(target).is_relative_to(other) for other in mounts)
    ]
    return {target: source for target, source in mounts.items() if target not in inner}


def _blamed_file(output: str, paths: Mapping[str, str]) -> str:
    """The file that an output is about: one named with a position, else the last one named before the failure."""
    named = {file: path for file, path in paths.items() if f"{path}:" in output} or paths
    failure = output.find("FAILED")
    until = (
        failure if failure >= 0 and any(output.rfind(path, 0, failure) >= 0 for path in named.values()) else len(output)
    )
    return max(named, key=lambda file: output.rfind(named[file], 0, until))
