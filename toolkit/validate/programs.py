"""Configuration held against the programs that read it, in the images that run them, as the service would start it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from uuid import uuid4

import yaml

from toolkit.checkout.project import LOCAL, PULLED
from toolkit.engine.compose import Docker, TimedOutError
from toolkit.images import unavailable
from toolkit.validate.checkout import EVERY_GROUP, Checkout, Configuration
from toolkit.validate.findings import Finding

SECONDS = 180
LONGEST = 2000
"""Characters of what a program says."""
IMAGES, ABSENT, GRAMMARS = "images", "absent", "grammars"
REASONS = {
    IMAGES: "the image of its service is not on this machine",
    ABSENT: "the image set in use does not have its service",
    GRAMMARS: "Node.js or the packages of the grammars are not installed",
}
"""Why something cannot be run here, by the word that allows it to be skipped."""
ALERTMANAGER = "/etc/alertmanager/alertmanager.yml"
ROUTING_TESTS = "monitoring/alertmanager/routing_tests.yml"
ALERTING = "monitoring/alertmanager/alertmanager.yml"


class Situation(NamedTuple):
    """What a program is called in: the checkout, its service, and where the container has each file to judge."""

    checkout: Checkout
    service: Mapping[str, Any]
    files: Mapping[str, str]


Command = Callable[[Situation], Sequence[str]]
"""The program and its arguments; an empty program stands for what the image starts by itself."""


@dataclass(frozen=True)
class Program:
    """A validator: the image of ``service`` runs ``command``, which judges ``files`` of its mounts, if any."""

    name: str
    service: str
    command: Command
    files: tuple[str, ...]
    groups: tuple[str, ...] = EVERY_GROUP
    """With which groups on the service is configured."""
    loaded: bool = True
    """Whether the files are what the service loads, and not tests of that."""
    profile: str = "dev"
    """A profile that has the service."""

    def paths(self, checkout: Checkout) -> list[str]:
        """The files to judge: all that there are, since the program reads those that git does not know too."""
        found = {path for pattern in self.files for path in checkout.root.glob(pattern)}
        return sorted(str(path.relative_to(checkout.root)) for path in found)


@dataclass(frozen=True)
class Skipped:
    """A program that could not be run here, and why; ``reason`` is one of `REASONS`, or empty: never allowed."""

    name: str
    why: str
    reason: str = ""


def _on_files(*words: str) -> Command:
    """A tool that takes the files as arguments."""
    return lambda situation: [*words, *situation.files.values()]


def _started(*before: str, then: Sequence[str] = ()) -> Command:
    """The service's own command, with words around it that make it check its configuration and end."""
    return lambda situation: ["", *before, *situation.service["command"], *then]


def _rule_tests(situation: Situation) -> Sequence[str]:
    """Every test of rules passes; file by file, since the program does not say which one has failed."""
    return _shell((["promtool", "test", "rules", inside], inside) for inside in situation.files.values())


def _routing(situation: Situation) -> Sequence[str]:
    """Every label set of the routing tests reaches the receivers that it should."""
    cases = yaml.safe_load((situation.checkout.root / ROUTING_TESTS).read_text(encoding="utf-8"))
    return _shell(
        (
            ["amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}",
             f"--verify.receivers={','.join(case['receivers'])}",
             *(f"{name}={value}" for name, value in case["labels"].items())],
            f"{situation.files[ROUTING_TESTS]}: {case['name']}",
        )
        for case in cases
    )  # fmt: skip


def _rendered(situation: Situation) -> Sequence[str]:
    """Every template renders: one that is missing or fails is accepted, and the notifications are empty."""
    folder = PurePath(ALERTMANAGER).parent
    named: dict[str, str] = {}
    for file, inside in situation.files.items():
        text = (situation.checkout.root / file).read_text(encoding="utf-8")
        named |= dict.fromkeys(re.findall(r'(?:template|define) "([^"]+)"', text), inside)
    return _shell(
        (
            ["amtool", "template", "render", f"--template.glob={folder}/templates/*.tmpl",
             f"--template.text={{{{ template \"{name}\" . }}}}", f"--template.data={folder}/template_data.json"],
            f"{inside}: {name}",
        )
        for name, inside in named.items()
    )  # fmt: skip


def _shell(calls: Iterator[tuple[Sequence[str], str]]) -> Sequence[str]:
    """One script for many calls; the words beside a call are printed where it fails, with what it said."""
    lines = [
        f'said=$({shlex.join(call)} 2>&1) || {{ echo {shlex.quote(words)}: FAILED: "$said"; failed=1; }}'
        for call, words in calls
    ]
    return ["sh", "-c", "\n".join(["failed=0", *lines, "exit $failed"])]


def _adapted(situation: Situation) -> Sequence[str]:
    """The Caddyfile becomes a configuration that can be loaded; what that writes is kept out of the way."""
    [caddyfile] = situation.files.values()
    return ["env", "XDG_DATA_HOME=/tmp", "caddy", "validate", "--adapter", "caddyfile", "--config", caddyfile]


COLLECTOR = ("monitoring/otel-collector/*.yml",)
PROGRAMS = (
    Program("promtool-config", "prometheus",
            _on_files("promtool", "check", "config", "--lint=all", "--lint-fatal"),
            ("monitoring/prometheus/prometheus.yml",), profile="prod"),
    Program("promtool-rules", "prometheus",
            _on_files("promtool", "check", "rules", "--lint=all", "--lint-fatal"),
            ("monitoring/prometheus/rules/*.yml", "monitoring/jaeger/rules*.yml")),
    Program("promtool-tests", "prometheus", _rule_tests, ("monitoring/prometheus/tests/*.yml",), loaded=False),
    Program("amtool-config", "alertmanager", _on_files("amtool", "check-config"), (ALERTING,)),
    Program("amtool-routes", "alertmanager", _routing, (ROUTING_TESTS,)),
    Program("amtool-templates", "alertmanager", _rendered, (ALERTING, "monitoring/alertmanager/templates/*.tmpl")),
    Program("blackbox", "blackbox-exporter", _started(then=["--config.check"]), ("monitoring/blackbox/*.yml",)),
    Program("caddy", "proxy", _adapted, ("config/caddy/Caddyfile",), profile="prod"),
    Program("otelcol", "otel-collector", _started("validate"), COLLECTOR, groups=("monitoring",)),
    Program("otelcol-jaeger", "otel-collector", _started("validate"), COLLECTOR),
    Program("jaeger", "jaeger", _started("validate"), ("monitoring/jaeger/jaeger.yml",)),
    Program("loki", "loki", _started(then=["-verify-config"]), ("monitoring/loki/loki.yml",)),
    Program("tempo", "tempo", _started(then=["-config.verify=true"]), ("monitoring/tempo/tempo.yml",)),
)  # fmt: skip


def validate(checkout: Checkout, program: Program) -> Iterator[Finding | Skipped]:
    """Run one program in its service's image on the files that the service mounts; one finding for each file."""
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
        why = inspected.stderr.strip().rpartition("\n")[2]
        skips.append(Skipped(program.name, why, IMAGES if "no such image" in why.lower() else ""))
    yield skips[0]


def _candidates(checkout: Checkout, program: Program) -> list[Configuration]:
    """The configuration of the image set in use; while none was chosen, that of either set."""
    chosen = checkout.project.images
    wanted = [
        checkout.files(program.profile, images, program.groups) for images in ([chosen] if chosen else [PULLED, LOCAL])
    ]
    return [checkout.configuration(files, program.groups) for files in wanted]


def _run(checkout: Checkout, docker: Docker, program: Program, service: dict[str, Any]) -> Iterator[Finding]:
    mounts = _mounts(checkout, service)
    inside = {
        file: file.replace(source, target, 1)
        for file in program.paths(checkout)
        for target, source in mounts.items()
        if PurePath(file).is_relative_to(source)
    }
    if not inside:
        return
    entrypoint, *arguments = program.command(Situation(checkout, service, inside))
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
        result = docker(*call, timeout=SECONDS)
    except TimedOutError:
        docker("rm", "--force", container)
        yield Finding(next(iter(inside)), 1, f"{program.name} did not end within {SECONDS} s")
        return
    if result.code == 0:
        yield from (Finding(file, 1) for file in inside)
        return
    said = f"{result.stdout}\n{result.stderr}"
    file = _accused(said, inside)
    line = re.search(rf"(?:{re.escape(inside[file])}: *|\bline )(\d+)", said)
    yield Finding(file, int(line[1]) if line else 1, f"{program.name}: {' '.join(said.split())[:LONGEST]}")


def _mounts(checkout: Checkout, service: Mapping[str, Any]) -> dict[str, str]:
    """The folders of the checkout that a service mounts; what masks a part of another one is left out."""
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


def _accused(said: str, inside: Mapping[str, str]) -> str:
    """The file that an output is about: named with a position, else the last one named before the failure."""
    named = {file: path for file, path in inside.items() if f"{path}:" in said} or inside
    failure = said.find("FAILED")
    until = failure if failure >= 0 and any(said.rfind(path, 0, failure) >= 0 for path in named.values()) else len(said)
    return max(named, key=lambda file: said.rfind(named[file], 0, until))
