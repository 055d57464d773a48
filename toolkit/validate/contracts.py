"""Checks of every service against the contract of its published image (`images/NAME/contract.yml`)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator

from toolkit.checkout.project import PULLED
from toolkit.core.errors import ToolkitError
from toolkit.images.contracts import contract as contracts
from toolkit.images.contracts.contract import Contract, Folder
from toolkit.validate.calls import Calls, Start
from toolkit.validate.checkout import EVERY_GROUP, Checkout, Configuration
from toolkit.validate.findings import BrokenFileError, Finding
from toolkit.validate.shell import UNKNOWN

SCHEMA = Path(__file__).with_name("contract.schema.json")
SCRIPTS = "scripts/container/"
BASE_SUFFIX = "_IMAGE"
"""Suffix of the build arguments that name a published image."""


class Use(NamedTuple):
    """A service of a profile with the contract of its image."""

    configuration: Configuration
    name: str
    service: Mapping[str, Any]
    contract: Contract


def published(checkout: Checkout) -> Iterator[Configuration]:
    """Each profile with the published images and every group enabled."""
    profiles = checkout.project.data["profiles"]
    expected = {checkout.files(profile, PULLED, EVERY_GROUP) for profile in profiles}
    yield from (each for each in checkout.full_configurations if each.files in expected)


def load(checkout: Checkout) -> list[Contract]:
    """Every contract.

    Raises:
        BrokenFileError: one of them cannot be read.
    """
    try:
        return contracts.load(checkout.root)
    except ToolkitError as error:
        file = error.what.rpartition(" ")[2]
        raise BrokenFileError(Finding(file, 1, f"is not a contract: {error.why}")) from error


def _uses(checkout: Checkout) -> Iterator[Use]:
    """Every service of every profile with the contract of its image."""
    running = [contract for contract in load(checkout) if not contract.builder]
    by_service = {name: contract for contract in running for name in contract.services}
    for each in published(checkout):
        for name, service in each.services.items():
            if name in by_service:
                yield Use(each, name, service, by_service[name])


def coverage(checkout: Checkout) -> Iterator[Finding]:
    """Every published image that a service runs or is built on has a contract for its exact tag."""
    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    expected = {(name, base): (each, image) for each in published(checkout) for name, base, image in _images(each)}
    described: dict[tuple[str, str], str] = {}
    for file in sorted(checkout.tracked):
        if not fnmatchcase(file, f"{contracts.FOLDER}/*/{contracts.FILE}"):
            continue
        source = checkout.source(file)
        errors = list(validator.iter_errors(source.data))
        yield from (source.finding(*error.absolute_path, problem=error.message) for error in errors)
        if errors:
            continue
        contract = Contract.read(PurePosixPath(file).parent.name, source.data)
        for number, service in enumerate(contract.services):
            key = (service, contract.base)
            image = expected[key][1] if key in expected else ""
            problem = "" if image else f"{service} neither runs a published image nor is built on one of that name"
            if key in described:
                problem = f"{described[key]} is a contract of the same image"
            yield source.finding("services", number, problem=problem)
            tags = f"{service} uses {image}: read its upstream files and update the contract"
            yield source.finding("image", problem=tags if image and not image.endswith(f"/{contract.image}") else "")
            described[key] = file
    for (service, base), (each, _) in expected.items():
        keys = ("build", "args", base) if base else ("image",)
        problem = f"the image of {service} has no contract in {contracts.FOLDER}/"
        problem = "" if (service, base) in described else problem
        yield checkout.place(each.files, "services", service, *keys, problem=problem)


def _images(configuration: Configuration) -> Iterator[tuple[str, str, str]]:
    """Each published image: its service, the build argument that names it (empty for the image that runs), its name."""
    for name, service in configuration.services.items():
        for argument, value in service.get("build", {}).get("args", {}).items():
            if argument.endswith(BASE_SUFFIX):
                yield name, argument, value.partition("@")[0]
        if "build" not in service:
            yield name, "", service["image"].partition("@")[0]


def programs(checkout: Checkout) -> Iterator[Finding]:
    """Every program that a service starts is in its image, and every program of a contract is used."""
    used: dict[str, set[str]] = {}
    run: set[str] = set()
    for use in _uses(checkout):
        calls = Calls(checkout, use.configuration, use.name, use.contract)
        started = used.setdefault(use.contract.file, set())
        run |= calls.scripts.keys()
        for script in calls.scripts.values():
            if script.script.broken:
                yield Finding(script.file, script.script.broken, "is not a valid shell script")
            if not script.executable:
                yield Finding(script.file, 1, f"is not executable, and {use.name} starts it")
            choice = script.script.guarded
            if choice and not any(map(use.contract.has, choice)):
                yield Finding(script.file, 1, f"the image of {use.name} has none of {', '.join(sorted(choice))}")
        for start in calls.starts:
            started.add(start.program)
            yield start.place(_missing_program(use, start))
    for file in sorted(checkout.tracked):
        if file.startswith(SCRIPTS) and file not in run:
            yield Finding(file, 1, "is started by no service and no task")
    texts = "".join(path.read_text(encoding="utf-8") for path in sorted((checkout.root / "toolkit").rglob("*.py")))
    for contract in load(checkout):
        source = checkout.source(contract.file)
        started = {*used.get(contract.file, ()), *contract.config.entrypoint, *contract.config.command[:1]}
        for number, program in enumerate(contract.programs):
            needed = any(_matches(program, each) for each in started)
            yield source.finding("programs", number, problem="" if needed else f"no service starts {program}")
        for number, program in enumerate(contract.tasks):
            named = re.search(rf"(?<![\w./-]){re.escape(program)}(?![\w./-])", texts)
            problem = "" if named else f"no task starts {program}"
            yield source.finding("tasks", number, problem=problem)


def _missing_program(use: Use, start: Start) -> str:
    contract, program = use.contract, start.program
    if program == UNKNOWN:
        return f"{use.name} starts a program whose name is not in the script"
    if program in start.guard or contract.has(program) or any(_matches(each, program) for each in contract.programs):
        return ""
    how = "does not have" if {program, PurePosixPath(program).name} & {*contract.missing} else "is not known to have"
    return f"{use.name} starts {program}, which its image {how} ({contract.file})"


def _matches(program: str, started: str) -> bool:
    """Whether ``started``, a path, a name or a pattern, is the program."""
    return fnmatchcase(program, started) or fnmatchcase(program, PurePosixPath(started).name)


def arguments(checkout: Checkout) -> Iterator[Finding]:
    """No program gets arguments that it, or the image's entry script, is known to reject."""
    for use in _uses(checkout):
        for start in Calls(checkout, use.configuration, use.name, use.contract).starts:
            text = " ".join(start.words)
            broken = [each for each in use.contract.breaks if fnmatchcase(text, each.given)]
            yield start.place(f"{use.name} does not start: {broken[0].because}" if broken else "")


def variables(checkout: Checkout) -> Iterator[Finding]:
    """No variable makes the image's entry script exit or export a secret into the server's environment."""
    for use in _uses(checkout):
        own = Calls(checkout, use.configuration, use.name, use.contract).overrides_entrypoint
        for name in use.service.get("environment") or {}:
            problem = ""
            if name in use.contract.refused:
                problem = f"the entry script of {use.name} exits on {name}"
            elif not own and any(fnmatchcase(name, pattern) for pattern in use.contract.exported):
                problem = f"the entry script of {use.name} exports the content of {name} into the environment"
            yield checkout.place(use.configuration.files, "services", use.name, "environment", name, problem=problem)


def dependencies(checkout: Checkout) -> Iterator[Finding]:
    """A program that exits without another service waits for that service to be healthy."""
    for use in _uses(checkout):
        waits = use.service.get("depends_on", {})
        for other in use.contract.exits_without:
            healthy = waits.get(other, {}).get("condition") == "service_healthy"
            problem = "" if healthy else f"{use.name} exits without {other}, but does not wait for it to be healthy"
            keys = ("services", use.name, "depends_on", other)
            yield checkout.place(use.configuration.files, *keys, problem=problem)


def users(checkout: Checkout) -> Iterator[Finding]:
    """The user of a service is an account of its image with its own group, or not an account of the image."""
    for use in _uses(checkout):
        user = str(use.service.get("user", ""))
        uid = user.partition(":")[0]
        account = next((each for each in use.contract.accounts.items() if each[1].split(":")[0] == uid), None)
        problem = ""
        if account and account[1] != user:
            problem = f"{use.name} runs as {user}, but the account {account[0]} of its image is {account[1]}"
        yield checkout.place(use.configuration.files, "services", use.name, "user", problem=problem)


class Mount(NamedTuple):
    """A mount of the kind ``bind``, ``volume`` or ``tmpfs``; ``folder`` is the initial state of a tmpfs."""

    kind: str
    read_only: bool = False
    folder: Folder = Folder(mode=0o1777)


def writable(checkout: Checkout) -> Iterator[Finding]:
    """The user of a service can write to its volumes and to every folder that its programs write to."""
    for use in _uses(checkout):
        mounts = _mounts(use.service)
        for target, mount in mounts.items():
            inside = [path for path in use.contract.writes if _within(path, target)]
            if mount.kind == "volume" and not mount.read_only and not inside:
                problem = f"{use.contract.file} has no entry in writes for {target}"
                yield checkout.mount(use.configuration.files, use.name, target, problem)
        for path, folder in use.contract.writes.items():
            yield _folder_finding(checkout, use, mounts, path, folder)
        calls = Calls(checkout, use.configuration, use.name, use.contract)
        for script in calls.scripts.values():
            for write in script.script.writes:
                if not write.path.startswith("/dev/") and calls.satisfies(write.guard):
                    problem = _unwritable(use, mounts, write.path, None)
                    problem = problem and f"{use.name} cannot write {write.path}: {problem}"
                    yield Finding(script.file, write.line, problem)


def _folder_finding(checkout: Checkout, use: Use, mounts: Mapping[str, Mount], path: str, folder: Folder) -> Finding:
    problem = _unwritable(use, mounts, path, folder)
    problem = problem and f"{use.name} cannot write to {path}: {problem}"
    target = _covering(mounts, path)
    if target:
        return checkout.mount(use.configuration.files, use.name, target, problem)
    return checkout.place(use.configuration.files, "services", use.name, "read_only", problem=problem)


def _unwritable(use: Use, mounts: Mapping[str, Mount], path: str, folder: Folder | None) -> str:
    """Why the user of a service cannot write to a path; empty if it can.

    ``folder`` is the folder of the image at that path, if the contract has it.
    """
    user, target = str(use.service.get("user", use.contract.config.user)), _covering(mounts, path)
    if target is None:
        if use.service.get("read_only"):
            return "the root file system is read-only, without a volume or tmpfs at that path"
        if folder is None:
            return "no volume or tmpfs at that path"
        fine = folder.absent or folder.writable_for(user)
        return "" if fine else f"its owner in the image is {folder.owner}"
    mount = mounts[target]
    if mount.read_only:
        return "it is mounted read-only"
    if mount.kind == "bind":
        return ""
    there = mount.folder if mount.kind == "tmpfs" else folder or Folder()
    fine = there.writable_for(user)
    return "" if fine else f"the owner of the {mount.kind} is {there.owner} with mode {there.mode:04o}, not {user}"


def _mounts(service: Mapping[str, Any]) -> dict[str, Mount]:
    found = {
        mount["target"]: Mount(mount["type"], mount.get("read_only", False)) for mount in service.get("volumes", ())
    }
    for text in service.get("tmpfs", ()):
        target, _, options = text.partition(":")
        given = dict(option.partition("=")[::2] for option in options.split(","))
        owner = f"{given.get('uid', '0')}:{given.get('gid', '0')}"
        found[target] = Mount("tmpfs", folder=Folder(owner, int(given.get("mode", "1777"), 8)))
    return found


def _covering(mounts: Mapping[str, Mount], path: str) -> str | None:
    """The target of the innermost mount that contains a path."""
    return max((target for target in mounts if _within(path, target)), key=len, default=None)


def _within(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def volumes(checkout: Checkout) -> Iterator[Finding]:
    """Every volume that an image declares is mounted: else the engine creates an anonymous volume per container."""
    for use in _uses(checkout):
        mounts = _mounts(use.service)
        for declared in sorted(use.contract.config.volumes):
            problem = f"{use.name} gets an anonymous volume at {declared}, which its image declares"
            problem = "" if declared in mounts else problem
            yield checkout.mount(use.configuration.files, use.name, declared, problem)


def logs(checkout: Checkout) -> Iterator[Finding]:
    """Log files inside containers are disabled: the engine's log has the same lines, with rotation."""
    for use in _uses(checkout):
        calls = Calls(checkout, use.configuration, use.name, use.contract)
        exported = {name for script in calls.scripts.values() for name in script.script.exports}
        given = {*(use.service.get("environment") or {}), *exported}
        for log in use.contract.log_files:
            silenced = any(name in given or calls.file_at(name) for name in log.silenced_by)
            problem = f"{use.name} writes unbounded log files of {log.of} to {log.folder}"
            keys = ("services", use.name, "environment")
            yield checkout.place(use.configuration.files, *keys, problem="" if silenced else problem)
