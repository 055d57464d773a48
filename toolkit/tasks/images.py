"""Tasks on the images of the stack."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from toolkit.tasks import checkout


@task(name="list")
def list_(c: Context) -> None:
    """List the images of both sets: for which service, whether they are here, their size and date."""
    from rich.filesize import decimal

    from toolkit.console import table
    from toolkit.images import listing

    project, docker = checkout(c)
    rows = [
        (
            ", ".join(listed.image.services),
            listed.image.name,
            " and ".join(listed.sets) + (" (in use)" if project.images in listed.sets else ""),
            "no" if listed.size is None else "yes",
            "" if listed.size is None else decimal(listed.size),
            "" if listed.created is None else listed.created[:16].replace("T", " "),
        )
        for listed in listing(project, docker)
    ]
    table(("service", "image", "set", "here", "size", "created (UTC)"), rows)


@task(help={"profile": "for this profile; default: the one of the last set-up"})
def build(c: Context, profile: str | None = None) -> None:
    """Build the images that are made here (of the set in use; local, if none was chosen yet)."""
    from toolkit.images import build

    build(*checkout(c), profile)


@task
def pull(c: Context) -> None:
    """Pull the published images of the stack."""
    from toolkit.console import say
    from toolkit.images import pull
    from toolkit.project import PULLED

    project, docker = checkout(c)
    pull(project, docker)
    if project.images != PULLED:
        say("to use them: invoke up --images=pull")


@task(
    help={
        "images": "auto, pull or local, as for up",
        "profile": "complete them for this profile; default: the one of the last set-up",
        "yes": "agree to put other images on volumes that exist",
    },
)
def prepare(c: Context, images: str = "auto", profile: str | None = None, yes: bool = False) -> None:
    """Settle which set is used, as `up` does, and pull or build what is missing of it."""
    from toolkit.images import choose, provide

    project, docker = checkout(c)
    choose(project, docker, images, yes)
    provide(project, docker, profile)


@task(
    help={
        "check": "write nothing: say what is missing and what has changed; exit code 1 where anything is",
    },
)
def lock(c: Context, check: bool = False) -> None:
    """Write the digests that the registries have for the published images to images.lock."""
    from toolkit import digests
    from toolkit.console import say
    from toolkit.errors import ToolkitError

    project, docker = checkout(c)
    changes = digests.check(project, docker) if check else digests.lock(project, docker)
    for line in changes:
        say(line)
    if check and changes:
        fix = "review what has changed, then run: invoke images.lock"
        raise ToolkitError("the locks of the images are not up to date", fix=fix)
    say("images: every digest is up to date" if not changes else "images: locked; commit the change")


@task(name="check-contract")
def check_contract(c: Context) -> None:
    """Check the published images that are here against what the stack relies on (images/NAME/contract.yml)."""
    from toolkit.console import say, table
    from toolkit.contracts.check import check_published
    from toolkit.errors import ToolkitError
    from toolkit.outcome import Outcome

    results = check_published(*checkout(c))
    rows: list[tuple[str, str, str]] = []
    styles: list[Outcome] = []
    for result in results:
        name, clauses, problems = result.image.name, len(result.verdicts or ()), result.problems
        if result.verdicts is None:
            rows.append((name, "", "skipped: it is not here"))
        else:
            rows.append((name, f"{clauses - len(problems)} of {clauses} clauses", result.outcome))
        rows += [(name, verdict.what, verdict.problem) for verdict in problems]
        styles += [result.outcome] * (1 + len(problems))
    table(("image", "what", "outcome"), rows, styles)
    broken = [result for result in results if result.problems]
    if broken:
        names = ", ".join(result.image.contract.file for result in broken)
        raise ToolkitError(
            f"{len(broken)} of the published images {'is' if len(broken) == 1 else 'are'} not what the stack relies on",
            fix=f"compare upstream's files with {names}, then the services with both",
        )
    checked = sum(result.verdicts is not None for result in results)
    say(f"images: {checked} of {len(results)} checked, without a difference")
