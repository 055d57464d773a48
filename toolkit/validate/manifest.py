"""Checks of invoke.yaml: files, groups and timeouts."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import Key

MANIFEST = "invoke.yaml"


def files(checkout: Checkout) -> Iterator[Finding]:
    """Every compose file of invoke.yaml is tracked by git, and every tracked compose file is in invoke.yaml."""
    source, data = checkout.source(MANIFEST), checkout.project.data
    named: list[tuple[tuple[Key, ...], str]] = []
    for section in ("profiles", "local_images"):
        for profile, layers in data[section].items():
            named += [((section, profile, number), file) for number, file in enumerate(layers)]
    named += [
        (("groups", group.name, "layer"), group.layer) for group in checkout.project.groups.values() if group.layer
    ]
    for keys, file in named:
        problem = "" if file in checkout.tracked else f"{file} is not tracked by git"
        yield source.finding("stack", *keys, problem=problem)
    known = {file for _, file in named}
    special: list[tuple[tuple[Key, ...], str]] = [((key,), data[key]) for key in ("secrets_layer", "security_layer")]
    special += [(("publishing_layers", file), file) for file in data["publishing_layers"]]
    for keys, file in special:
        yield source.finding("stack", *keys, problem="" if file in known else f"{file} is not a layer of any profile")
    for file in sorted(checkout.tracked):
        if file.startswith("docker-compose") and "/" not in file:
            yield Finding(file, 1, "" if file in known else f"no profile and no group of {MANIFEST} uses this layer")


def groups(checkout: Checkout) -> Iterator[Finding]:
    """The groups of invoke.yaml are the Compose profiles of the services."""
    source, data = checkout.source(MANIFEST), checkout.project.data
    known = {*checkout.project.groups, data["tools"], data["absent"]}
    used: set[str] = set()
    for each in checkout.full_configurations:
        for name, service in each.services.items():
            for group in service.get("profiles", []):
                used.add(group)
                problem = "" if group in known else f"{name} is in the group {group}, which is unknown in {MANIFEST}"
                yield checkout.place(each.files, "services", name, "profiles", problem=problem)
    for group in checkout.project.groups:
        problem = "" if group in used else f"no service is in the group {group}"
        yield source.finding("stack", "groups", group, problem=problem)
    for special in ("tools", "absent"):
        problem = "" if data[special] in used else f"no service is in {data[special]}"
        yield source.finding("stack", special, problem=problem)


def timeouts(checkout: Checkout) -> Iterator[Finding]:
    """Every timeout of invoke.yaml is a number of seconds."""
    source, data = checkout.source(MANIFEST), checkout.project.data
    for name, value in data["timeouts"].items():
        fine = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        yield source.finding("stack", "timeouts", name, problem="" if fine else f"{value} is not a number of seconds")
