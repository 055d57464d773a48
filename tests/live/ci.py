"""Run jobs of the CI workflow on a machine that has no image, with a registry of this one: ``python -m tests.live.ci``.

The machine stands in for GitHub's. What a job is comes from the workflow's file (`tests.live.workflow`); each gets a
fresh clone, and its scripts run as an account that may use sudo and Docker. A step that fails ends its job.
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

CHOSEN = ("lint*", "validate*", "stack")
"""The jobs that are run where none is named: unit tests need no machine."""
KEYWORDS = "image_set"
"""Which tests the jobs run where none is named, as an expression of pytest: those with this mark."""
ACCOUNT = "runner"
HOME = Path("/home", ACCOUNT)
# What GitHub's machine has and this one has not: sudo, a browser, an engine that runs, an account for the jobs.
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
# As actions/checkout and actions/setup-python leave it.
CLONE = (
    f"rm -rf {HOME}/work {HOME}/python && git clone --quiet {CHECKOUT} {HOME}/work && chown -R {ACCOUNT}: {HOME}/work"
)
SETUP_PYTHON = """
command -v python{0} || {{ echo 'this machine has no Python {0}' >&2; exit 1; }}
python{0} -m venv ~/python
"""

Script = Callable[[str, float], int]
"""Runs a script for some seconds at most and returns its exit code; what it prints is shown."""


@dataclass(frozen=True)
class Outcome:
    """How a step of a job ended; ``code`` is None where an earlier one has failed, so that it did not run."""

    job: str
    step: str
    code: int | None
    seconds: float = 0


def chosen(every: Sequence[Job], patterns: Sequence[str]) -> list[Job]:
    """The jobs whose names match one of the patterns, in the workflow's order.

    Raises:
        ToolkitError: a pattern matches none.
    """
    for pattern in patterns:
        if not any(fnmatch(job.name, pattern) for job in every):
            names = ", ".join(f"'{job.name}'" for job in every)
            raise ToolkitError(f"no job is called '{pattern}'", f"there are {names}", code=2)
    return [job for job in every if any(fnmatch(job.name, pattern) for pattern in patterns)]


def run(job: Job, script: Script) -> Iterator[Outcome]:
    """Run the steps of a job, each as GitHub does: until one fails, and for as long as the job may take."""
    deadline = time.monotonic() + 60 * job.minutes
    failed = False
    for step in (SETUP_PYTHON.format(job.python), *job.scripts):
        name = step.strip().splitlines()[-1]
        if failed:
            yield Outcome(job.name, name, None)
            continue
        console.say(f"\n▶ {job.name}: {name}", "bold")
        sys.stdout.flush()  # before what the script prints
        begun = time.monotonic()
        code = script(step, max(deadline - begun, 1))
        failed = code != 0
        yield Outcome(job.name, name, code, time.monotonic() - begun)


def show(outcomes: Sequence[Outcome]) -> bool:
    """Print a line for each step; whether all of them have succeeded, and there were any."""
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
    """A machine with an engine, a committed copy of this working tree and what GitHub's machines have."""
    with TemporaryDirectory() as folder:
        # Where this machine's images are: the registry serves them under the published names.
        here = stack.Stack.create(Path(folder), "netmon-ci")
        for profile in ("dev", "prod"):
            here.invoke("setup", f"--profile={profile}")
            here.invoke("images.prepare", "--every-group", timeout=1800)
        with Machine.running(Project.load(here.root), here.name) as machine:
            machine.run("bash", "-euxc", PREPARE, timeout=900)
            yield machine


def in_machine(machine: Machine, environment: Mapping[str, str]) -> Script:
    """Run scripts there as the jobs' account, in the clone."""
    variables = {
        **machine.environment,
        **environment,
        **dict.fromkeys(MIRRORS, REGISTRY),
        "CI": "true",
        "HOME": str(HOME),
        "PATH": f"{HOME}/python/bin:{os.defpath}:/usr/sbin:/usr/local/bin",
    }
    flags = [f"--env={name}={value}" for name, value in variables.items()]
    place = ("docker", "exec", "--user", ACCOUNT, "--workdir", str(HOME / "work"), *flags, machine.name)

    def script(text: str, seconds: float) -> int:
        limit = ("timeout", "--kill-after=30", f"{seconds:.0f}")
        return subprocess.run([*place, *limit, "bash", "-e", "-c", text], check=False).returncode

    return script


def main(arguments: list[str] | None = None) -> int:
    """Run the jobs that are named; the exit code is 1 where a step has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.ci", description="Run jobs of the CI workflow here.")
    parser.add_argument("job", nargs="*", help=f"a name, or a pattern (default: {' '.join(CHOSEN)})")
    parser.add_argument(
        "-k", dest="keywords", help=f"which tests to run (default: all; {KEYWORDS} where no job is named)"
    )
    options = parser.parse_args(arguments)
    keywords = options.keywords or ("" if options.job else KEYWORDS)
    try:
        wanted = chosen(jobs((stack.CHECKOUT / PATH).read_text(encoding="utf-8")), options.job or CHOSEN)
        outcomes: list[Outcome] = []
        with prepared() as machine:
            script = in_machine(machine, {"PYTEST_ADDOPTS": f"-k '{keywords}'"} if keywords else {})
            for job in wanted:
                machine.run("bash", "-euc", CLONE, folder="/")
                outcomes += run(job, script)
    except ToolkitError as error:
        print(error.message, file=sys.stderr)
        return error.code
    return 0 if show(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
