"""Thin Invoke tasks over the functions of the toolkit; heavy modules are imported only when a task runs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.tasks import Task

from toolkit.core import terminal
from toolkit.core.errors import ToolkitError

if TYPE_CHECKING:
    from invoke.context import Context

    from toolkit.checkout.project import Project
    from toolkit.engine.compose import Docker


JSON = "print one JSON document (docs/json-output.md) instead of a table"
"""The help of the option ``--json``."""

Body = Callable[..., None]


def task(**options: Any) -> Callable[[Body], Task[Body]]:
    """Invoke's decorator ``task`` with its options; errors of the host end the task without a stack trace."""

    def decorate(body: Body) -> Task[Body]:
        @functools.wraps(body)
        def guarded(*args: Any, **kwargs: Any) -> None:
            with terminal.host_errors():
                body(*args, **kwargs)

        return Task(guarded, **options)

    return decorate


def checkout(c: Context) -> tuple[Project, Docker]:
    """The checkout and its Docker client, which prints its commands with ``invoke --echo``."""
    from toolkit.checkout.project import Project
    from toolkit.engine.compose import Docker

    project = Project.load()
    return project, Docker(project.root, echo=bool(c.config.run.echo))


def seconds(option: str, text: str | None, default: float) -> float:
    """A timeout given as text; Invoke would print a stack trace for an invalid number.

    Raises:
        ToolkitError: it is not a number above 0 (exit code 2).
    """
    return default if text is None else positive(option, text, "seconds")


def positive(option: str, text: str, unit: str) -> float:
    """A number above 0 given as text.

    Raises:
        ToolkitError: it is not a number above 0 (exit code 2).
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ToolkitError(
            f"invalid --{option}={text}", f"a number of {unit} above 0 is required", f"--{option}=60", code=2
        )
    return value


def path(option: str, text: str) -> Path:
    """The absolute path of a file given as text.

    Raises:
        ToolkitError: there is none (exit code 2).
    """
    if not text:
        raise ToolkitError(f"--{option} is missing", "it names the file", f"--{option}=FILE", code=2)
    return Path(text).expanduser().absolute()


def whole_number(option: str, text: str) -> int:
    """A count given as text.

    Raises:
        ToolkitError: it is not a whole number from 0 (exit code 2).
    """
    if not text.isascii() or not text.isdigit():
        raise ToolkitError(f"invalid --{option}={text}", "a whole number is required", f"--{option}=100", code=2)
    return int(text)
