"""Checks of the checkout: .env, shell variables, compose files, and mounted files."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from toolkit.checkout import setting_rules, setup
from toolkit.checkout.project import Project
from toolkit.checkout.variables import COMPOSE_VARIABLES, SETUP_VARIABLES, TASK_VARIABLES
from toolkit.checks.doctor.subject import Subject
from toolkit.core import ownership
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome
from toolkit.engine import shapes
from toolkit.engine.compose import CONFIGURATION, Docker, explain

SETUP = "run: invoke setup"


def settings(subject: Subject) -> Iterator[Finding]:
    """.env has the settings that `invoke setup` would write, and no unknown variables."""
    project = subject.project
    try:
        if refused := setting_rules.problems(project):
            for problem in refused:
                yield Finding("settings", Outcome.FAILED, f".env, {problem}", setting_rules.FIX)
            return
        env, profile = project.env, project.require_setup()
        setup.require_loopback(project, profile)
        expected = setup.settings(project)
    except ToolkitError as error:
        yield Finding.of_error("settings", error)
        return
    problems = [
        *(Finding("settings", Outcome.WARNING, what, SETUP) for what in _differences(env, expected)),
        *_unknown(env, {*subject.variables, *SETUP_VARIABLES, *TASK_VARIABLES, *COMPOSE_VARIABLES}),
    ]
    yield from problems or [Finding("settings", Outcome.OK, f"set up for the profile {profile}")]


def _differences(env: dict[str, str], expected: dict[str, str]) -> Iterator[str]:
    for name, value in expected.items():
        if env.get(name) != value:
            yield f"{name} in .env is {env.get(name, 'not set')}, but should be {value}"


def _unknown(env: dict[str, str], known: set[str]) -> Iterator[Finding]:
    for name in env.keys() - known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        yield Finding("settings", Outcome.WARNING, f"nothing reads {name} in .env", f"{meant}fix or delete its line")


def permissions(subject: Subject) -> Iterator[Finding]:
    """Settings are readable by their owner only, and files of the toolkit belong to the checkout's owner."""
    project = subject.project
    if foreign := _foreign(project):
        owner = ownership.name(project.root.stat().st_uid)
        what = f"not every file in {', '.join(foreign)} belongs to {owner}, the owner of this checkout"
        yield Finding("permissions", Outcome.WARNING, what, f"run: sudo chown -R {owner} {shlex.join(foreign)}")
    if project.env_file.exists() and stat.S_IMODE(project.env_file.stat().st_mode) & 0o077:
        what = "other users of this machine can read .env, which may contain passwords"
        yield Finding("permissions", Outcome.WARNING, what, "run: chmod 600 .env")
    else:
        yield Finding("permissions", Outcome.OK, "settings are readable by their owner only")


def _foreign(project: Project) -> list[str]:
    """Names in the checkout with files that the toolkit wrote for another account than its owner, as with sudo."""
    owner = project.root.stat().st_uid
    found = []
    for written in (project.env_file, project.secrets_dir, project.lock_file.parent):
        inside = written.iterdir() if os.access(written, os.R_OK | os.X_OK) and written.is_dir() else ()
        if any(path.exists() and path.stat().st_uid != owner for path in (written, *inside)):
            found.append(written.name)
    return found


def shell(subject: Subject) -> Iterator[Finding]:
    """No shell variable overrides .env or the defaults of the compose files."""
    project = subject.project
    passwords = {secret.variable for secret in project.secrets.values()}
    configured = {**dict.fromkeys(SETUP_VARIABLES, ""), **subject.variables, **project.env}
    shadowing = [
        name
        for name, value in configured.items()
        if os.environ.get(name, value) != value and (value or name in SETUP_VARIABLES or name in passwords)
    ]
    for name in shadowing:
        value = "a password" if name in passwords else os.environ[name]
        what = f"{name} is set in this shell ({value}) and overrides .env"
        yield Finding("shell", Outcome.WARNING, what, f"run: unset {name}")
    if not shadowing:
        yield Finding("shell", Outcome.OK, "overrides no setting")


def compose_files(subject: Subject) -> Iterator[Finding]:
    """Compose accepts the files, including the user's override, without warnings."""
    subject.project.require_setup()
    result = subject.docker.query(*CONFIGURATION)
    if result.code:
        error = explain("read the compose files", result)
        yield Finding("compose files", Outcome.FAILED, error.why, error.fix or "fix the named file")
        return
    warnings = [line for line in result.stderr.splitlines() if line.strip()]
    for line in warnings:
        message = re.search(r'msg="(.*)"', line)
        what = message[1].replace('\\"', '"') if message else line
        yield Finding("compose files", Outcome.WARNING, what, "fix the named file or variable")
    if not warnings:
        yield Finding("compose files", Outcome.OK, subject.project.env.get("COMPOSE_FILE", "").replace(":", ", "))


def mounts(subject: Subject) -> Iterator[Finding]:
    """Every mounted or copied file of the checkout exists and is readable by the containers' accounts."""
    root = subject.project.root.resolve()
    sources = _sources(root, subject.configuration)
    problems = []
    for source in sources:
        if not source.exists():
            name = source.relative_to(root)
            fix = f"run: git restore {name}"
            problems.append(Finding("mounts", Outcome.FAILED, f"{name} is mounted, but does not exist", fix))
    if error := _unreadable_error(root, sources):
        problems.append(Finding("mounts", Outcome.FAILED, error.what, error.fix))
    yield from problems or [Finding("mounts", Outcome.OK, f"{len(sources)} files and folders exist and are readable")]


def require_readable_mounts(project: Project, docker: Docker) -> None:
    """Return if the containers' accounts can read every mounted file of the checkout.

    Raises:
        ToolkitError: they cannot, for instance after a clone with the umask 077.
    """
    root = project.root.resolve()
    if error := _unreadable_error(root, _sources(root, docker.effective())):
        raise error


def _sources(root: Path, config: shapes.Configuration) -> list[Path]:
    """The mounted files and folders of the checkout, and the build contexts, whose files keep their permissions."""
    sources = set()
    for service in config["services"].values():
        sources |= {Path(volume["source"]) for volume in service.get("volumes", []) if volume["type"] == "bind"}
        build = service.get("build") or {}
        sources |= {Path(each) for each in (build.get("context", ""), *build.get("additional_contexts", {}).values())}
    return sorted(source for source in sources if source.is_relative_to(root) and source != root)


def _unreadable_error(root: Path, sources: Iterable[Path]) -> ToolkitError | None:
    """The error for mounted files that other accounts cannot read.

    Its fix opens the mounted files and folders, and no folder above them: `secrets/` stays closed.
    """
    found = {source: list(_unreadable(source)) for source in sources if source.exists()}
    unreadable = [str(path.relative_to(root)) for paths in found.values() for path in paths]
    if not unreadable:
        return None
    more = f" and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
    closed = [source for source, paths in found.items() if paths]
    outer = [each for each in closed if not any(other in each.parents for other in closed)]
    paths = shlex.join(str(each.relative_to(root)) for each in outer)
    return ToolkitError(
        f"the containers' accounts cannot read {', '.join(unreadable[:3])}{more}", fix=f"run: chmod -R a+rX {paths}"
    )


def _unreadable(source: Path) -> Iterator[Path]:
    """The files and folders at and below ``source`` that other accounts than the owner's cannot read."""
    folder = source.is_dir()
    needed = 0o005 if folder else 0o004
    if source.stat().st_mode & needed != needed:
        yield source
    elif folder:
        for child in sorted(source.iterdir()):
            if child.name != "__pycache__" and not child.name.startswith(".") and not child.is_symlink():
                yield from _unreadable(child)
