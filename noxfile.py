"""The sessions that prove the repository: `nox` runs lint, validate, tests and live; the others are on demand."""

from __future__ import annotations

import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2026.4"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "validate", "tests", "live"]

PYPROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str, app: bool = False) -> None:
    """Install the toolkit's dependencies, dependency groups of pyproject.toml and, with ``app``, what the app needs."""
    if app:
        # By itself: pip takes hashes for all requirements of a command or for none.
        session.install("--require-hashes", "-r", "app/requirements.txt")
    session.install(*PYPROJECT["project"]["dependencies"], *nox.project.dependency_groups(PYPROJECT, *groups))


def files(session: nox.Session, *patterns: str) -> list[str]:
    """The files of the repository that match, new ones included; a list that is empty fails the session."""
    git = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(git, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines()
    if listed.returncode:  # an unpacked archive: everything but hidden folders
        names = [str(path) for path in Path().rglob("*") if not any(part.startswith(".") for part in path.parts[:-1])]
    found = sorted(name for name in names if Path(name).is_file() and any(map(Path(name).match, patterns)))
    if not found:
        session.error(f"no file matches {' '.join(patterns)}: there is nothing to check")
    return found


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types of every Python, YAML, shell and workflow file and every Dockerfile."""
    install(session, "lint", app=True)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("yamllint", "--strict", *files(session, "*.yml", "*.yaml", "*.lock", ".yamllint"))
    session.run("shellcheck", "-x", *files(session, "*.sh", ".ci/run"))
    session.run("hadolint", *files(session, "Dockerfile"))
    session.run("actionlint", *files(session, ".github/workflows/*.yml"))


@nox.session
def validate(session: nox.Session) -> None:
    """Compose files and configuration against the platform's decisions; `-- --allow-skips REASON,…` is passed on."""
    install(session, "validate", "grammars")
    session.run("python", "-m", "toolkit.validate.grammars")
    session.run("python", "-m", "toolkit.validate", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Unit tests with coverage; no engine is needed."""
    install(session, "tests", app=True)
    session.run("pytest", "tests/unit", "--numprocesses=auto", "--cov", "--cov-report=term", "--durations=10",
                *session.posargs)  # fmt: skip


@nox.session
def live(session: nox.Session) -> None:
    """The stack on this machine's engine, in projects of their own; without an engine this fails."""
    install(session, "live")
    # A stack that starts takes two cores: with three processes, nothing of them is left idle.
    session.run("pytest", "tests/live", "-m", "not drill", "--numprocesses=2", "--no-loadscope-reorder",
                "--durations=25", *session.posargs)  # fmt: skip


@nox.session
def drills(session: nox.Session) -> None:
    """Long fault runs, with a table of their outcomes at the end."""
    install(session, "live")
    session.run("pytest", "tests/live/drills", "-m", "drill", *session.posargs)


@nox.session(name="ci-pulled")
def ci_pulled(session: nox.Session) -> None:
    """Jobs of the CI workflow on a machine without images, which pulls them from a registry of this one; `-- JOB…`."""
    install(session, "live")
    session.run("python", "-m", "tests.live.ci", *session.posargs)


@nox.session
def sbom(session: nox.Session) -> None:
    """What is in the image of the application, as CycloneDX: sbom.cdx.json, or `-- FILE`."""
    install(session, "sbom")
    session.run("python", "-m", "toolkit.images.sbom", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Known vulnerabilities in the Python packages of app and toolkit; `-- --ignore-vuln ID` is passed on.

    The service that knows them is asked first for one that it must know: without that, nothing found means nothing.
    """
    install(session, "audit")
    command = ("pip-audit", "--vulnerability-service=osv", "--progress-spinner=off", *session.posargs)
    known = Path(session.create_tmp(), "known.txt")
    known.write_text("jinja2==2.4.1\n", encoding="utf-8")
    asked = ("--no-deps", "--disable-pip", "--format=json", f"--requirement={known}")
    answer = str(session.run(*command, *asked, silent=True, success_codes=[0, 1]))
    if '"vulns": [{' not in answer:
        session.skip(f"nothing was audited: the data cannot be reached ({answer.strip().splitlines()[-1]})")
    session.run(*command, "--strict", "--require-hashes", "--disable-pip", "--requirement=app/requirements.txt")
    session.run(*command, "--strict", "--local")


@nox.session
def bench(session: nox.Session) -> None:
    """The figures of docs/performance.md, measured again; `-- NAME…`."""
    install(session, app=True)
    session.run("python", "-m", "bench", *session.posargs)
