"""Run jobs of the CI workflow on a machine without images, with a local registry: ``python -m tests.live.ci``.

The machine replaces GitHub's runner. Jobs are read from the workflow's file (`tests.live.workflow`); each gets a fresh
clone, and its scripts run under an account with sudo and Docker. A failed step ends its job.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.live import stack
from tests.live.machine import CHECKOUT, REGISTRY, Machine
from tests.live.published import MIRRORS
from tests.live.workflow import PATH, Job, jobs
from toolkit.checkout.project import Project
from toolkit.core import console
from toolkit.core.errors import ToolkitError

DEFAULT_JOBS = ("lint*", "validate*", "stack")
"""The jobs that run by default: unit tests need no machine."""
KEYWORDS = "image_set"
"""The default expression of pytest's ``-k``: the tests with this mark."""
ACCOUNT = "runner"
HOME = Path("/home", ACCOUNT)
# What GitHub's runner has and this machine lacks: sudo, a browser, a running engine, an account for the jobs.
PREPARE = f"""
apt-get update -qq
apt-get install -qq -y --no-install-recommends chromium sudo >/dev/null
useradd --create-home --shell /bin/bash --groups docker {ACCOUNT}
echo '{ACCOUNT} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{ACCOUNT}
git init --quiet
git add --all
git -c user.name=ci -c user.email=ci@example.org commit --quiet --message='the working tree'
scripts/engine.sh start
"""
# The result of actions/checkout and actions/setup-python.
CLONE = (
    f"rm -rf {HOME}/work {HOME}/python && git clone --quiet {CHECKOUT} {HOME}/work && chown -R {ACCOUNT}: {HOME}/work"
)
SETUP_PYTHON = """
command -v python{0} || {{ echo 'Python {0} is not installed' >&2; exit 1; }}
python{0} -m venv ~/python
"""

Script = Callable[[str, float], int]
"""Runs a script with a timeout in seconds and returns its exit code; its output is code_block."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a step of a job; ``code`` is None if it was skipped after a failure."""

    job: str
    step: str
    code: int | None
    seconds: float = 0


def select(every: Sequence[Job], patterns: Sequence[str]) -> list[Job]:
    """The jobs whose names match one of the patterns, in the workflow's order.

    Raises:
        ToolkitError: a pattern matches none.
    """
    for pattern in patterns:
        if not any(fnmatch(job.name, pattern) for job in every):
            names = ", ".join(f"'{job.name}'" for job in every)
            raise ToolkitError(f"no job matches '{pattern}'", f"the jobs are {names}", code=2)
    return [job for job in every if any(fnmatch(job.name, pattern) for pattern in patterns)]


def run(job: Job, script: Script) -> Iterator[Outcome]:
    """Run the steps of a job like GitHub: until one fails or the job's timeout expires."""
    deadline = time.monotonic() + 60 * job.minutes
    failed = False
    for step in (SETUP_PYTHON.format(job.python), *job.scripts):
        name = step.strip().splitlines()[-1]
        if failed:
            yield Outcome(job.name, name, None)
            continue
        console.say(f"\n▶ {job.name}: {name}", "bold")
        sys.stdout.flush()  # before what the script prints
        started = time.monotonic()
        code = script(step, max(deadline - started, 1))
        failed = code != 0
        yield Outcome(job.name, name, code, time.monotonic() - started)


def show(outcomes: Sequence[Outcome]) -> bool:
    """Print a line for each step; True if there are steps and all have succeeded."""
    verdicts = ["skipped" if each.code is None else "failed" if each.code else "ok" for each in outcomes]
    rows = [
        (each.job, verdict, "" if each.code is None else f"{each.seconds:.0f} s", each.step)
        for each, verdict in zip(outcomes, verdicts, strict=True)
    ]
    console.say("")
    console.table(("job", "outcome", "took", "step"), rows, verdicts)
    return bool(verdicts) and set(verdicts) == {"ok"}


@contextmanager
def prepared() -> Iterator[Machine]:
    """A machine with an engine, a committed copy of this working tree and the tools of GitHub's runner."""
    with TemporaryDirectory() as folder:
        # A checkout with this machine's images: the registry serves them under the published names.
        local = stack.Stack.create(Path(folder), "netmon-ci")
        for profile in ("dev", "prod"):
            local.invoke("setup", f"--profile={profile}")
            local.invoke("images.prepare", "--every-group", timeout=1800)
        with Machine.running(Project.load(local.root), local.name) as machine:
            machine.run("bash", "-euxc", PREPARE, timeout=900)
            yield machine


def in_machine(machine: Machine, environment: Mapping[str, str]) -> Script:
    """A function that runs scripts in the machine, in the clone, under the account of the jobs."""
    variables = {
        **machine.environment,
        **environment,
        **dict.fromkeys(MIRRORS, REGISTRY),
        "CI": "true",
        "HOME": str(HOME),
        "PATH": f"{HOME}/python/bin:{os.defpath}:/usr/sbin:/usr/local/bin",
    }
    flags = [f"--env={name}={value}" for name, value in variables.items()]
    exec_argv = ("docker", "exec", "--user", ACCOUNT, "--workdir", str(HOME / "work"), *flags, machine.name)

    def script(text: str, seconds: float) -> int:
        limit = ("timeout", "--kill-after=30", f"{seconds:.0f}")
        return subprocess.run([*exec_argv, *limit, "bash", "-e", "-c", text], check=False).returncode

    return script


def main(arguments: list[str] | None = None) -> int:
    """Run the named jobs; the exit code is 1 if a step has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.ci", description="Run jobs of the CI workflow here.")
    parser.add_argument("job", nargs="*", help=f"a name, or a pattern (default: {' '.join(DEFAULT_JOBS)})")
    parser.add_argument("-k", dest="keywords", help=f"the tests to run (default: all; without a job: {KEYWORDS})")
    options = parser.parse_args(arguments)
    keywords = options.keywords or ("" if options.job else KEYWORDS)
    try:
        selected = select(jobs((stack.CHECKOUT / PATH).read_text(encoding="utf-8")), options.job or DEFAULT_JOBS)
        outcomes: list[Outcome] = []
        with prepared() as machine:
            script = in_machine(machine, {"PYTEST_ADDOPTS": f"-k '{keywords}'"} if keywords else {})
            for job in selected:
                machine.run("bash", "-euc", CLONE, folder="/")
                outcomes += run(job, script)
    except ToolkitError as error:
        print(error.message, file=sys.stderr)
        return error.code
    return 0 if show(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
