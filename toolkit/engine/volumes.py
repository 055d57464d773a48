"""Inspects the volumes of stores that do not run, before a service starts on them: one short container for all.

The container has no network and no capability but that of reading, and its mounts are read-only.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from toolkit.checkout import generated
from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome
from toolkit.engine import shapes, stores
from toolkit.engine.compose import Docker, Result, explain
from toolkit.engine.existing import Existing, exists
from toolkit.engine.stores import STORES, Contents, Store

CHECK = "data"
IMAGE_OF = "db"
"""The service whose image has the programs of the inspection: a shell, head and base64."""
FOLDER = "/volumes"
GUIDE = "docs/operations.md#data-of-another-version"


@dataclass(frozen=True)
class Located:
    """A store with its volume, or the folder of the host that replaces it."""

    store: Store
    kind: str
    source: str

    @property
    def mount(self) -> str:
        """The option ``--mount`` of the inspection."""
        copy = ",volume-nocopy" if self.kind == "volume" else ""
        return f"type={self.kind},source={self.source},target={FOLDER}/{self.store.volume},readonly{copy}"


def located(config: shapes.Configuration) -> list[Located]:
    """The stores of the enabled services."""
    volumes = config.get("volumes", {})
    found = []
    for store in STORES:
        for mount in config["services"].get(store.service, {"image": ""}).get("volumes", []):
            source = mount.get("source", "")
            if mount["target"] == store.target and source and mount["type"] in {"volume", "bind"}:
                name = str((volumes.get(source) or {}).get("name", source))
                found.append(Located(store, mount["type"], name if mount["type"] == "volume" else source))
    return found


@dataclass(frozen=True)
class Inspection:
    """The stores that are to start on existing data, and what that is.

    ``created`` is the time at which each volume was created, to the second.
    """

    project: Project
    docker: Docker
    config: shapes.Configuration
    found: Sequence[Located]
    created: Mapping[str, datetime]

    @classmethod
    def begin(cls, project: Project, docker: Docker, existing: Existing) -> Inspection:
        """Inspect, in the background, the data of the enabled services that do not run in their present image.

        If all of them do, this starts no command.

        Raises:
            ToolkitError: the engine does not answer.
        """
        config = docker.effective()
        serving = existing.serving(config) if IMAGE_OF in config["services"] else config["services"].keys()
        idle = [each for each in located(config) if each.store.service not in serving]
        created = creation_times(docker, [each.source for each in idle if each.kind == "volume"])
        found = [each for each in idle if (exists(each.source) if each.kind == "bind" else each.source in created)]
        inspection = cls(project, docker, config, found, created)
        if found:
            docker.prefetch(inspection.command)
        return inspection

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of the `Docker.query`."""
        service = self.config["services"][IMAGE_OF]
        # The volumes that the image declares would be created for the inspection.
        declared = {each.store.target for each in located(self.config) if each.store.service == IMAGE_OF}
        return (
            "run", "--rm", "--pull", "never", "--network", "none", "--log-driver", "none", "--read-only",
            "--user", "0:0", "--cap-drop", "ALL", "--cap-add", "DAC_READ_SEARCH", "--security-opt", "label=disable",
            *(word for target in sorted(declared) for word in ("--tmpfs", target)),
            *(word for each in self.found for word in ("--mount", each.mount)),
            "--entrypoint", "sh", service["image"], "-c", stores.script([each.store for each in self.found], FOLDER),
        )  # fmt: skip

    @cached_property
    def contents(self) -> Mapping[str, Contents]:
        """The content of each volume, by its key in the compose files.

        Raises:
            ToolkitError: the container of the inspection did not run.
        """
        return parsed(self._result().stdout) if self.found else {}

    def _result(self) -> Result:
        result = self.docker.query(*self.command)
        if result.code:  # the image may have been provided since
            result = self.docker.query(*self.command)
        if result.code:
            error = explain("inspect the volumes", result)
            names = ", ".join(each.source for each in self.found)
            raise ToolkitError(f"{error.what} {names}", error.why, error.fix or "run: invoke images.prepare")
        return result

    def problems(self) -> Iterator[tuple[Located, str]]:
        """The stores that must not start, with the reason.

        Raises:
            ToolkitError: the container of the inspection did not run.
        """
        for each in self.found:
            contents = self.contents.get(each.store.volume, Contents())
            variables = self.config["services"][each.store.service].get("environment") or {}
            if why := stores.problem(each.store, contents, variables) or self._older(each, contents):
                yield each, why

    def _older(self, each: Located, contents: Contents) -> str:
        """The problem of a database that is older than its password, and so was created with another one."""
        since = generated.since(self.project, each.store.service)
        created = self.created.get(each.source)
        if since is None or created is None or created >= since or not contents.having(each.store.data):
            return ""
        return f"is older than its password in secrets/ ({created:%Y-%m-%d %H:%M}): another checkout has created it"

    def findings(self) -> Iterator[Finding]:
        """The problems, and data of other versions that is not in use; one ok finding if there is none.

        Raises:
            ToolkitError: the container of the inspection did not run.
        """
        fine = Finding(CHECK, Outcome.OK, f"{len(self.found)} volumes" if self.found else "in use, or none yet")
        yield from list(self._differences()) or [fine]

    def _differences(self) -> Iterator[Finding]:
        problems = {each.store.volume: why for each, why in self.problems()}
        for each in self.found:
            contents = self.contents.get(each.store.volume, Contents())
            if why := problems.get(each.store.volume):
                fix = f"{GUIDE} describes how to keep the data"
                yield Finding(CHECK, Outcome.FAILED, f"{each.source} {why}", fix, each.source)
            elif contents.unreadable:
                what = f"{each.source}: cannot be read, so its version is unknown"
                yield Finding(CHECK, Outcome.WARNING, what, f"compare it with {GUIDE}", each.source)
            elif unused := stores.unused(each.store, contents):
                what = f"{each.source} also contains {', '.join(unused)}, which {each.store.program} does not use"
                yield Finding(CHECK, Outcome.WARNING, what, f"{GUIDE} describes how to migrate it", each.source)

    def require(self) -> None:
        """Return if every store can open its data, or has none.

        Raises:
            ToolkitError: a volume has data that its program would ignore or refuse, or the inspection did not run.
        """
        if found := list(self.problems()):
            names = " and ".join(each.store.service for each, _ in found)
            why = "\n  ".join(f"{each.source} {why}" for each, why in found)
            volumes = " ".join(each.source for each, _ in found if each.kind == "volume")
            fix = f"{GUIDE} describes how to keep the data"
            if volumes:
                fix += f"; if it is expendable: docker volume rm {volumes}"
            raise ToolkitError(f"{names} cannot start with the existing data", why, fix)


def creation_times(docker: Docker, names: Sequence[str]) -> dict[str, datetime]:
    """The creation times of those volumes that exist, to the second.

    Raises:
        ToolkitError: the engine does not answer.
    """
    if not names:
        return {}
    result = docker("volume", "inspect", "--format", "{{.Name}}\t{{.CreatedAt}}", *names)
    if result.code and "no such volume" not in result.stderr.lower():
        raise explain("inspect the volumes", result)
    pairs = (line.partition("\t") for line in result.stdout.splitlines() if line.strip())
    return {name: datetime.fromisoformat(time).astimezone(UTC) for name, _, time in pairs}


def parsed(output: str) -> dict[str, Contents]:
    """The output of `stores.script`, by volume."""
    entries: dict[str, set[str]] = {}
    files: dict[str, dict[str, str]] = {}
    hidden: dict[str, list[str]] = {}
    for line in output.splitlines():
        kind, _, rest = line.partition("\t")
        volume, _, rest = rest.partition("\t")
        path, _, text = rest.partition("\t")
        match kind:
            case "entry":
                entries.setdefault(volume, set()).add(path)
            case "text":
                files.setdefault(volume, {})[path] = base64.b64decode(text).decode(errors="replace")
            case "unreadable":
                hidden.setdefault(volume, []).append(path)
    volumes = entries.keys() | files.keys() | hidden.keys()
    return {
        name: Contents(frozenset(entries.get(name, ())), files.get(name, {}), tuple(hidden.get(name, ())))
        for name in volumes
    }
