"""The result of a task that checks something: a table, or with ``--json`` one JSON document (docs/json-output.md)."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from toolkit.core import terminal
from toolkit.core.errors import ToolkitError

VERSION = 1
"""The version of the format, increased by incompatible changes only."""


class Checked(Protocol):
    """The findings of a task."""

    def show(self) -> None:
        """Print it."""

    def document(self) -> Mapping[str, Any]:
        """Its fields in the JSON document."""

    def require(self) -> None:
        """Return if nothing has failed.

        Raises:
            ToolkitError: something has failed.
        """


def present(task: str, check: Callable[[], Checked], empty: Mapping[str, Any], *, as_json: bool) -> None:
    """Run a check and present its findings.

    Args:
        task: The name of the task.
        check: Returns the findings; its output goes to the standard error with ``as_json``.
        empty: The fields of the JSON document if ``check`` raises an error.
        as_json: Print one JSON document, also in case of an error, instead of a table.

    Raises:
        ToolkitError: something has failed, or could not be checked.
    """
    if not as_json:
        checked = check()
        checked.show()
        checked.require()
        return
    fields, failure = empty, None
    try:
        with terminal.host_errors():
            with contextlib.redirect_stdout(sys.stderr):
                checked = check()
            fields = checked.document()
            checked.require()
    except ToolkitError as error:
        failure = error
    print(json.dumps({"version": VERSION, "task": task, **_outcome(failure), **fields}, indent=2))
    if failure:
        raise failure


def _outcome(failure: ToolkitError | None) -> dict[str, Any]:
    if failure is None:
        return {"ok": True, "exit_code": 0, "error": None}
    error = {"what": failure.what, "why": failure.why, "fix": failure.fix}
    return {"ok": False, "exit_code": failure.code, "error": error}
