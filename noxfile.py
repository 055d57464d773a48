"""Nox sessions: `nox` runs lint, validate, tests and live; the others run on demand."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path

import nox

nox.needs_version = ">=2026.4"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "validate", "tests", "live"]

APP_REQUIREMENTS = Path("app/requirements.txt")
PROCESSES = f"--numprocesses={2 * (os.cpu_count() or 1)}"
"""Of unit tests, which wait for timeouts and programs for a part of their time."""

# The sessions share one environment; sbom and audit, which reports the packages of its own, are separate.
shared = partial(nox.session, venv_backend="none", requires=["environment"])


@nox.session(default=False)
def environment(session: nox.Session) -> None:
    """Install the packages of all sessions, unless they are up to date, and put their programs first in PATH."""
    os.environ["PATH"] = f"{session.bin}{os.pathsep}{os.environ['PATH']}"
    requirements = requirements_of("dev")
    stamp = Path(session.virtualenv.location, "requirements.txt")
    wanted = "\n".join([*requirements, APP_REQUIREMENTS.read_text(encoding="utf-8")])
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        # In a command of its own: pip checks hashes for all requirements of a command or for none.
        session.install("--require-hashes", "-r", str(APP_REQUIREMENTS))
        session.install(*requirements)
        stamp.write_text(wanted, encoding="utf-8")


def requirements_of(group: str) -> list[str]:
    """The dependencies of the toolkit and of a group of pyproject.toml."""
    project = nox.project.load_toml("pyproject.toml")
    return [*project["project"]["dependencies"], *nox.project.dependency_groups(project, group)]


def files(session: nox.Session, *patterns: str) -> list[str]:
    """Tracked and new files of the repository that match a pattern; an empty list fails the session."""
    git = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    result = subprocess.run(git, capture_output=True, text=True, check=False)
    names = result.stdout.splitlines()
    if result.returncode:  # an unpacked archive: everything but hidden folders
        names = [str(path) for path in Path().rglob("*") if not any(part.startswith(".") for part in path.parts[:-1])]
    matches = sorted(name for name in names if Path(name).is_file() and any(map(Path(name).match, patterns)))
    if not matches:
        session.error(f"no file matches {' '.join(patterns)}")
    return matches


def word_pattern() -> str:
    """The pattern of what codespell looks up in its dictionaries: words, and the phrases of .codespell.txt."""
    entries = Path(".codespell.txt").read_text(encoding="utf-8").splitlines()
    phrases = [words for words, _, _ in (entry.partition("->") for entry in entries) if " " in words]
    return rf"\b(?i:{'|'.join(phrases)})\b|[\w\-'\u2019]+"


@shared
def lint(session: nox.Session) -> None:
    """Check style, types and wording of Python, YAML, shell, Dockerfiles, workflows and documents."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("yamllint", "--strict", *files(session, "*.yml", "*.yaml", "*.lock", ".yamllint"))
    session.run("shellcheck", "-x", *files(session, "*.sh", ".ci/run"))
    session.run("hadolint", *files(session, "Dockerfile"))
    session.run("actionlint", *files(session, ".github/workflows/*.yml"))
    # Not logged, as nox would repeat the names of all files after the findings; 65 is the exit code of findings.
    findings = session.run("codespell", f"--regex={word_pattern()}", *files(session, "*"), log=False, silent=True,
                           success_codes=[0, 65])  # fmt: skip
    if findings:
        session.error(f"codespell has found words to avoid:\n{findings}")


@shared(requires=["environment", "lint"])
def quick(session: nox.Session) -> None:
    """Run lint and all unit tests but the slow ones: before every commit."""
    session.run("pytest", "tests/unit", "-m", "not slow", PROCESSES, "--quiet", *session.posargs)


@shared
def validate(session: nox.Session) -> None:
    """Validate Compose files, configuration and documents; `-- --allow-skips REASON,…` permits skipped checks."""
    session.run("python", "-m", "toolkit.validate.grammars")
    session.run("python", "-m", "toolkit.validate.schema")
    session.run("python", "-m", "toolkit.validate", *session.posargs)


@shared
def tests(session: nox.Session) -> None:
    """Run the unit tests; no Docker Engine needed. `-- --cov` reports their coverage, which takes twice as long."""
    session.run("pytest", "tests/unit", PROCESSES, "--durations=10", *session.posargs)


@shared
def live(session: nox.Session) -> None:
    """Run the live tests on this machine's Docker Engine, in Compose projects of their own."""
    # A starting stack saturates two cores: a third process would only add timeouts.
    session.run("pytest", "tests/live", "-m", "not drill", "--numprocesses=2", "--no-loadscope-reorder",
                "--durations=25", *session.posargs)  # fmt: skip


@shared
def drills(session: nox.Session) -> None:
    """Run the drills, long fault runs, and write the tables of docs/reliability.md."""
    session.run("pytest", "tests/live/drills", "-m", "drill", "--store", *session.posargs)


@shared(name="ci-pulled")
def ci_pulled(session: nox.Session) -> None:
    """Run jobs of the CI workflow on a machine without images, which pulls from a local registry; `-- JOB…`."""
    session.run("python", "-m", "tests.live.ci", *session.posargs)


@nox.session
def sbom(session: nox.Session) -> None:
    """Write the SBOM of the application's image in CycloneDX format: sbom.cdx.json, or `-- FILE`."""
    session.install(*requirements_of("sbom"))
    session.run("python", "-m", "toolkit.images.sbom", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Audit the Python packages of app and toolkit for known vulnerabilities; `-- --ignore-vuln ID` ignores one.

    A package with a known vulnerability is audited first: without that finding, an empty result proves nothing.
    """
    session.install(*requirements_of("audit"))
    command = ("pip-audit", "--vulnerability-service=osv", "--progress-spinner=off", *session.posargs)
    vulnerable = Path(session.create_tmp(), "vulnerable.txt")
    vulnerable.write_text("jinja2==2.4.1\n", encoding="utf-8")
    options = ("--no-deps", "--disable-pip", "--format=json", f"--requirement={vulnerable}")
    report = str(session.run(*command, *options, silent=True, success_codes=[0, 1]))
    if '"vulns": [{' not in report:
        reason = report.strip().splitlines()[-1]
        session.skip(f"nothing was audited: the vulnerability service is unreachable ({reason})")
    session.run(*command, "--strict", "--require-hashes", "--disable-pip", "--requirement=app/requirements.txt")
    session.run(*command, "--strict", "--local")


@shared
def bench(session: nox.Session) -> None:
    """Measure the figures of docs/performance.md; `-- NAME…` some of them, `-- compare OLD [NEW]` two results."""
    session.run("python", "-m", "bench", *session.posargs)
