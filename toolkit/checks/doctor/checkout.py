"""Checks of the checkout: .env, shell variables, compose files, and mounted files."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from toolkit.checkout import setup
from toolkit.checkout.variables import COMPOSE_VARIABLES, SETUP_VARIABLES, TASK_VARIABLES
from toolkit.checks.doctor.subject import Subject
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome
from toolkit.engine.compose import CONFIGURATION, explain

SETUP = "run: invoke setup"


def settings(subject: Subject) -> Iterator[Finding]:
    """.env has the settings that `invoke setup` would write, and no unknown variables."""
    project = subject.project
    try:
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
    """Settings are readable by their owner only."""
    project = subject.project
    if project.env_file.exists() and stat.S_IMODE(project.env_file.stat().st_mode) & 0o077:
        what = "other users of this machine can read .env, which may contain passwords"
        yield Finding("permissions", Outcome.WARNING, what, "run: chmod 600 .env")
    else:
        yield Finding("permissions", Outcome.OK, "settings are readable by their owner only")


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
    """Every mounted file of the checkout exists and is readable by the containers' accounts."""
    root = subject.project.root.resolve()
    sources = {
        Path(volume["source"])
        for service in subject.configuration["services"].values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind" and Path(volume["source"]).is_relative_to(root)
    }
    problems = []
    unreadable: list[Path] = []
    for source in sorted(sources):
        name = source.relative_to(root)
        if source.exists():
            unreadable += _unreadable(source)
        else:
            fix = f"run: git restore {name}"
            problems.append(Finding("mounts", Outcome.FAILED, f"{name} is mounted, but does not exist", fix))
    if unreadable:
        named = ", ".join(str(path.relative_to(root)) for path in unreadable[:3])
        more = f" and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
        folders = " ".join(dict.fromkeys(path.relative_to(root).parts[0] for path in unreadable))
        what = f"the containers' accounts cannot read {named}{more}"
        problems.append(Finding("mounts", Outcome.FAILED, what, f"run: chmod -R a+rX {folders}"))
    yield from problems or [Finding("mounts", Outcome.OK, f"{len(sources)} files and folders exist and are readable")]


def _unreadable(source: Path) -> Iterator[Path]:
    """The files and folders at and below ``source`` that other accounts than the owner's cannot read."""
    folder = source.is_dir()
    needed = 0o005 if folder else 0o004
    if source.stat().st_mode & needed != needed:
        yield source
    elif folder:
        for child in sorted(source.iterdir()):
            if child.name != "__pycache__" and not child.is_symlink():
                yield from _unreadable(child)
