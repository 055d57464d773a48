"""Tasks for the images of the stack."""

from __future__ import annotations

from invoke.context import Context

from toolkit.tasks import checkout, path, task


@task(name="list", help={"sizes": "query the registries for the download sizes of published images"})
def list_(c: Context, sizes: bool = False) -> None:
    """List the images of both sets: services, local presence, size, date."""
    from rich.filesize import decimal

    from toolkit.core.console import say, table
    from toolkit.images import downloads, list_images
    from toolkit.images.sizes import total

    project, docker = checkout(c)
    listed = list_images(project, docker)
    known = downloads(project, docker, listed) if sizes else {}
    rows = [
        [
            row.used_by,
            row.name,
            " and ".join(row.sets) + (" (in use)" if project.images in row.sets else ""),
            "no" if row.size is None else "yes",
            "" if row.size is None else decimal(row.size),
            "" if row.created is None else row.created[:16].replace("T", " "),
        ]
        for row in listed
    ]
    columns = ["service", "image", "set", "here", "size", "created (UTC)"]
    if sizes:
        columns.append("download")
        for cells, row in zip(rows, listed, strict=True):
            size = decimal(total([known[row.name]])) if row.name in known else "unknown"
            cells.append("" if row.built else size)
    table(columns, rows)
    if sizes:
        published = [row.name for row in listed if not row.built]
        unknown = len(published) - len(known)
        more = f", and {unknown} of unknown size" if unknown else ""
        say(f"to download: {decimal(total(known.values()))} for {len(known)} images, shared layers counted once{more}")


@task(help={"profile": "build for this profile; default: the profile of the last setup"})
def build(c: Context, profile: str | None = None) -> None:
    """Build the images of this checkout (for the image set in use; default: local)."""
    from toolkit.images import build

    build(*checkout(c), profile)


@task()
def pull(c: Context) -> None:
    """Pull the published images of the stack."""
    from toolkit.checkout.project import PULLED
    from toolkit.core.console import say
    from toolkit.images import pull

    project, docker = checkout(c)
    pull(project, docker)
    if project.images != PULLED:
        say("to use them, run: invoke up --images=pull")


@task(help={"bundle": "the file that invoke bundle has written"})
def load(c: Context, bundle: str = "") -> None:
    """Load the images of a bundle, on a host without a network."""
    from toolkit.operate.bundle.load import load

    load(*checkout(c), path("bundle", bundle))


@task(
    help={
        "images": "auto, pull or local, as for up",
        "profile": "complete them for this profile; default: the profile of the last setup",
        "every_group": "complete them for disabled groups too, as validation requires",
        "yes": "allow switching image sets on existing volumes",
    },
)
def prepare(
    c: Context, images: str = "auto", profile: str | None = None, every_group: bool = False, yes: bool = False
) -> None:
    """Choose the image set, as `up` does; pull or build missing images."""
    from toolkit.images import choose, provide

    project, docker = checkout(c)
    choose(project, docker, images, yes)
    provide(project, docker, profile, project.groups if every_group else None)


@task(
    help={
        "check": "write nothing; report missing and changed digests; exit code 1 if there are any",
    },
)
def lock(c: Context, check: bool = False) -> None:
    """Write the registries' digests of the published images to images.lock."""
    from toolkit.core.console import say
    from toolkit.core.errors import ToolkitError
    from toolkit.images import image_lock

    project, docker = checkout(c)
    changes = image_lock.check(project, docker) if check else image_lock.lock(project, docker)
    for line in changes:
        say(line)
    if check and changes:
        fix = "review the changes, then run: invoke images.lock"
        raise ToolkitError("the lock files of the images are out of date", fix=fix)
    say("images: every digest is up to date" if not changes else "images: locked; commit the change")


@task(name="check-contract")
def check_contract(c: Context) -> None:
    """Verify the local copies of published images against their contracts (images/NAME/contract.yml)."""
    from toolkit.images.contracts.check import check_published

    report = check_published(*checkout(c))
    report.show()
    report.require()


@task()
def outdated(c: Context) -> None:
    """Check that the pinned tags exist, and list newer ones; exit code 1 if a tag is missing or unknown."""
    from toolkit.core.console import table
    from toolkit.core.errors import ToolkitError
    from toolkit.images import tags

    project, _ = checkout(c)
    found = tags.pinned_tags(project)
    states = {True: "exists", False: "does not exist", None: "unknown"}
    rows = [(each.name, states[each.exists], each.line, each.newest, each.problem) for each in found]
    styles = ["failed" if not each.exists else "warning" if each.line or each.newest else "" for each in found]
    table(("image", "tag", "newest of its line", "newest", ""), rows, styles)
    if missing := [each for each in found if each.exists is False]:
        names = ", ".join(f"{each.name} ({', '.join(each.layers)})" for each in missing)
        raise ToolkitError("pinned tags do not exist", names, "pin an existing tag, or check REGISTRY in .env")
    if unknown := [each for each in found if each.exists is None]:
        raise ToolkitError(
            "not every pinned tag could be checked",
            ", ".join(f"{each.name}: {each.problem}" for each in unknown),
            "run this again while the registries are reachable; docker login raises their rate limits",
        )


@task(help={"yes": "confirm the deletion", "keep_cache": "keep the engine's build cache"})
def prune(c: Context, yes: bool = False, keep_cache: bool = False) -> None:
    """Delete unused images of this project, and the build cache; requires confirmation."""
    from toolkit.operate.pruning import prune

    prune(*checkout(c), yes=yes, keep_cache=keep_cache)
