"""The jobs of a GitHub workflow as lists of scripts, to run them on another machine.

Unsupported keys, actions and expressions are errors, so that no part of a job is silently skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

PATH = Path(".github/workflows/ci.yml")
RUNNER = "ubuntu-24.04"
CHECKOUT, SETUP_PYTHON = "actions/checkout", "actions/setup-python"
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
JOB_KEYS = {"name", "runs-on", "timeout-minutes", "strategy", "steps"}
STEP_KEYS = {"name", "run", "uses", "with"}


class UnsupportedError(Exception):
    """The workflow has a feature that is not supported here."""


@dataclass(frozen=True)
class Step:
    """A shell script, or an action with its inputs."""

    run: str = ""
    action: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A job for one combination of its matrix: its name, Python version, timeout in minutes and scripts."""

    name: str
    python: str
    minutes: float
    scripts: tuple[str, ...]


def jobs(text: str) -> list[Job]:
    """Every job of a workflow, once for each combination of its matrix.

    Raises:
        UnsupportedError: an unsupported key, action, expression or runner.
    """
    workflow = yaml.safe_load(text)
    found = [_job(name, job, values) for name, job in workflow["jobs"].items() for values in _combinations(job)]
    if not found:
        raise UnsupportedError("the workflow has no jobs")
    return found


def _combinations(job: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    matrix = (job.get("strategy") or {}).get("matrix")
    if matrix is None:
        yield {}
        return
    if set(matrix) != {"include"}:
        raise UnsupportedError(f"a matrix of {', '.join(matrix)}: only `include` is supported")
    yield from matrix["include"]


def _job(key: str, job: Mapping[str, Any], values: Mapping[str, Any]) -> Job:
    _require_known("job", job, JOB_KEYS)
    if job["runs-on"] != RUNNER:
        raise UnsupportedError(f"{key} runs on {job['runs-on']}, not on {RUNNER}")
    name = _interpolate(str(job.get("name", key)), values)
    steps = [_step(step, values) for step in job["steps"]]
    if not steps or steps[0].action != CHECKOUT:
        raise UnsupportedError(f"{name} does not begin with {CHECKOUT}")
    if len(steps) < 3 or steps[1].action != SETUP_PYTHON or "python-version" not in steps[1].inputs:
        raise UnsupportedError(f"the second step of {name} is not {SETUP_PYTHON} with a python-version")
    scripts = tuple(step.run for step in steps[2:])
    if not all(scripts):
        raise UnsupportedError(f"{name} has an action after its first two steps")
    return Job(name, steps[1].inputs["python-version"], float(job["timeout-minutes"]), scripts)


def _step(step: Mapping[str, Any], values: Mapping[str, Any]) -> Step:
    _require_known("step", step, STEP_KEYS)
    if "run" in step:
        return Step(run=_interpolate(step["run"], values))
    action = step["uses"].partition("@")[0]
    if action not in {CHECKOUT, SETUP_PYTHON}:
        raise UnsupportedError(f"the action {action}")
    return Step(
        action=action, inputs={key: _interpolate(str(each), values) for key, each in (step.get("with") or {}).items()}
    )


def _interpolate(text: str, values: Mapping[str, Any]) -> str:
    """``text`` with the values of the matrix; a value that a combination lacks is empty, as on GitHub."""

    def value(match: re.Match[str]) -> str:
        context, _, name = match[1].partition(".")
        if context != "matrix" or not name.isidentifier():
            raise UnsupportedError(f"the expression {match[0]}")
        return str(values.get(name, ""))

    return EXPRESSION.sub(value, text)


def _require_known(kind: str, node: Mapping[str, Any], keys: set[str]) -> None:
    if unknown := set(node) - keys:
        raise UnsupportedError(f"a {kind} with {', '.join(sorted(unknown))}")
