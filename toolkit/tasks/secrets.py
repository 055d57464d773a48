"""Tasks on the credentials."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from toolkit.tasks import checkout


@task
def check(c: Context) -> None:
    """Look over every credential: file, strength, age, whether it opens its service; exit code 1 where one fails."""
    from invoke.exceptions import Exit

    from toolkit.secretcheck import check, show

    if not show(check(*checkout(c))):
        raise Exit(code=1)
