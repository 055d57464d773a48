"""Finalizes an upgrade: raises the formats of the brokers to those of their present version, which has no way back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from toolkit.checkout.project import Project
from toolkit.checkout.upgrade_record import Record
from toolkit.checks import doctor
from toolkit.core import console, files
from toolkit.core.errors import ToolkitError
from toolkit.engine import health
from toolkit.engine.compose import Docker, explain
from toolkit.engine.health import Verdict

TIMEOUT_SECONDS = 120.0
SERVICES = ("rabbitmq", "kafka")
FLAGS = ("rabbitmqctl", "--quiet", "--formatter=json", "list_feature_flags", "name", "state", "stability")
ENABLE_FLAGS = ("rabbitmqctl", "--quiet", "enable_feature_flag", "all")
KAFKA_FEATURES = (
    "env", "KAFKA_HEAP_OPTS=-Xmx128m", "KAFKA_JVM_PERFORMANCE_OPTS=-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    "/opt/kafka/bin/kafka-features.sh", "--bootstrap-server=localhost:29091",
)  # fmt: skip
METADATA = re.compile(
    r"Feature:\s*metadata\.version\s.*?SupportedMaxVersion:\s*(\S+)\s+FinalizedVersionLevel:\s*(\S+)", re.DOTALL
)


@dataclass(frozen=True)
class Format:
    """A format that a broker does not write yet: the service, in words, and the command that raises it."""

    service: str
    what: str
    command: tuple[str, ...]


def pending(docker: Docker) -> list[Format]:
    """The formats that the running brokers could write, and do not.

    Raises:
        ToolkitError: a broker does not answer.
    """
    running = {each.service: each.id for each in health.container_states(docker) if each.status == "running"}
    return [*_feature_flags(docker, running), *_metadata_version(docker, running)]


def finalize(project: Project, docker: Docker, *, yes: bool = False) -> None:
    """Raise every pending format, after confirmation; from then on there is no way back.

    Raises:
        ToolkitError: an upgrade is unfinished, a service is not healthy, or a broker refuses.
    """
    with files.exclusive(project.lock_file, "finalize the upgrade"):
        doctor.require_engine(docker)
        before = Record.load(project)
        _require_verified(docker, before)
        found = pending(docker)
        if not found:
            replace(before, unfinalized=()).save(project)
            console.say("every broker writes the formats of its version: nothing to finalize", "ok")
            return
        console.table(("service", "to raise"), [(each.service, each.what) for each in found])
        console.say("  older versions cannot read them: invoke upgrade --back is refused afterwards", "warning")
        console.confirm("raise these formats, which has no way back", yes)
        raised = tuple(each.what for each in found)
        # Recorded first: a run that is killed may have raised one of them.
        intended = replace(before, unfinalized=raised, finalized=raised,
                           finalized_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")  # fmt: skip
        intended.save(project)
        with console.phase("finalize", "feature flags and metadata versions"):
            for each in found:
                docker.check(docker("exec", *_exec(docker, each), timeout=TIMEOUT_SECONDS), f"raise {each.what}")
                console.say(f"  {each.what}: raised")
        if left := pending(docker):
            why = f"{', '.join(each.what for each in left)}: still as before"
            raise ToolkitError("the upgrade is not finalized", why, "invoke logs --service=" + left[0].service)
        replace(intended, unfinalized=()).save(project)
    console.say("finalized: invoke upgrade --back is refused from now on", "ok")


def note(project: Project, docker: Docker) -> None:
    """Record and print, after an upgrade, which formats it has left as they were; a broker's failure is a warning."""
    try:
        found = [each.what for each in pending(docker)]
    except ToolkitError as error:
        console.say(f"whether the upgrade is to be finalized is unknown: {error.what}: {error.why}", "warning")
        return
    replace(Record.load(project), unfinalized=tuple(found)).save(project)
    if found:
        console.say(f"not finalized: {', '.join(found)}; once this release is verified: invoke upgrade --finalize")


def require_way_back(before: Record, name: str) -> None:
    """Return if no format was raised since the last upgrade.

    Raises:
        ToolkitError: one was: the previous release cannot read it.
    """
    if before.finalized:
        why = f"the upgrade was finalized at {before.finalized_at}: {', '.join(before.finalized)}; "
        raise ToolkitError(
            f"cannot go back to {name}", f"{why}the older program cannot read this",
            "stay with this release and correct the fault there, or restore the backup of that release: docs/backup.md",
        )  # fmt: skip


def metadata_is_pending(docker: Docker) -> bool:
    """Whether Kafka writes metadata of an older version, which that version reads; False if it does not answer.

    Source: https://kafka.apache.org/documentation/#upgrade, where a downgrade is possible until the metadata version is
    raised.
    """
    try:
        return any(each.service == "kafka" for each in pending(docker))
    except ToolkitError:
        return False


def _require_verified(docker: Docker, before: Record) -> None:
    if before.upgrade and not before.upgrade.complete:
        raise ToolkitError("cannot finalize", "the upgrade is unfinished", "to continue: invoke upgrade")
    states = health.container_states(docker)
    unhealthy = [f"{each.service} ({each.summary})" for each in states if each.verdict is not Verdict.OK]
    if unhealthy:
        why = f"not healthy: {', '.join(unhealthy)}"
        raise ToolkitError("cannot finalize", why, "correct the fault first; invoke upgrade --back is still possible")
    if missing := [name for name in SERVICES if name not in {each.service for each in states}]:
        raise ToolkitError("cannot finalize", f"there is no container of {', '.join(missing)}", "run: invoke up")


def _exec(docker: Docker, wanted: Format) -> tuple[str, ...]:
    [container] = [each.id for each in health.container_states(docker) if each.service == wanted.service]
    return container, *wanted.command


def _feature_flags(docker: Docker, running: Mapping[str, str]) -> list[Format]:
    if "rabbitmq" not in running:
        return []
    output = _output(docker, running["rabbitmq"], FLAGS, "list the feature flags of RabbitMQ")
    try:
        flags = json.loads(output)
        # `all` enables the stable ones.
        disabled = sorted(str(each["name"]) for each in flags if (each["state"], each["stability"]) == OFF)
    except (ValueError, KeyError, TypeError) as error:
        raise ToolkitError("cannot list the feature flags of RabbitMQ", f"unknown output: {output[:200]}") from error
    return [Format("rabbitmq", f"feature flags {', '.join(disabled)}", ENABLE_FLAGS)] if disabled else []


OFF = ("disabled", "stable")


def _metadata_version(docker: Docker, running: Mapping[str, str]) -> list[Format]:
    if "kafka" not in running:
        return []
    output = _output(docker, running["kafka"], (*KAFKA_FEATURES, "describe"), "read the features of Kafka")
    found = METADATA.search(output)
    if not found:
        raise ToolkitError("cannot read the features of Kafka", f"unknown output: {output[:200]}")
    newest, present = found[1], found[2]
    if newest == present:
        return []
    command = (*KAFKA_FEATURES, "upgrade", f"--release-version={newest.partition('-')[0]}")
    return [Format("kafka", f"metadata.version from {present} to {newest}", command)]


def _output(docker: Docker, container: str, command: tuple[str, ...], action: str) -> str:
    result = docker("exec", container, *command, timeout=TIMEOUT_SECONDS)
    if result.code:
        raise explain(action, result)
    return result.stdout
