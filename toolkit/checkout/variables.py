"""The variables that the compose files interpolate, found by parsing the files, without docker."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError

# Written by `invoke setup`, read by docker compose or by the tasks; the compose files do not use them.
SETUP_VARIABLES = ("COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "NETMON_PROFILE", "NETMON_IMAGES")

# Read only by the tasks.
TASK_VARIABLES = ("BACKUP_KEY_COPY",)

# Read by docker compose itself, in any project.
COMPOSE_VARIABLES = (
    "COMPOSE_ANSI", "COMPOSE_BAKE", "COMPOSE_DISABLE_ENV_FILE", "COMPOSE_ENV_FILES", "COMPOSE_EXPERIMENTAL",
    "COMPOSE_IGNORE_ORPHANS", "COMPOSE_MENU", "COMPOSE_PARALLEL_LIMIT", "COMPOSE_PATH_SEPARATOR", "COMPOSE_PROGRESS",
    "COMPOSE_REMOVE_ORPHANS", "COMPOSE_STATUS_STDOUT",
)  # fmt: skip

# `$$` is a literal dollar sign. A default that contains a variable counts as none; that variable is matched separately.
_REFERENCE = re.compile(r"\$\$|\$\{?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::?-(?P<default>[^${}]*)\})?")


class _Loader(yaml.CSafeLoader):
    """Ignores Compose's tags (`!reset`, `!override`) and loads the tagged value."""


def _construct_tagged(loader: yaml.CSafeLoader, _suffix: str, node: yaml.Node) -> Any:
    match node:
        case yaml.MappingNode():
            return loader.construct_mapping(node, deep=True)
        case yaml.SequenceNode():
            return loader.construct_sequence(node, deep=True)
        case _:
            return str(node.value)


_Loader.add_multi_constructor("!", _construct_tagged)


def variables_used(project: Project, names: Iterable[str] | None = None) -> dict[str, str]:
    """Every variable in the values of compose files, with its default (empty if it has none).

    If a variable has several defaults, the first counts.

    Args:
        project: The checkout.
        names: The files to parse; default: all compose files of the project.

    Raises:
        ToolkitError: a file cannot be read or is not YAML.
    """
    found: dict[str, str] = {}
    for name in project.shipped_files if names is None else names:
        for variable, default in _references(parse(project.root / name)):
            found[variable] = found.get(variable) or default
    return found


def port_variables(project: Project, service: str) -> dict[str, str]:
    """The variables for the published ports of a service, in the layers of any profile, with their defaults."""
    return {
        variable: default
        for profile in project.data["profiles"]
        for name in project.layers(profile)
        for variable, default in _references(_published(parse(project.root / name), service))
        if variable.endswith("_PORT")
    }


def _published(layer: Any, service: str) -> Any:
    return ((layer.get("services") or {}).get(service) or {}).get("ports") or []


def parse(path: Path) -> Any:
    """A compose file as plain objects, without Compose's tags. The result is cached: do not modify it.

    Raises:
        ToolkitError: the file cannot be read or is not YAML.
    """
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ToolkitError(f"cannot read {path}", error.strerror or str(error), f"git restore {path.name}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ToolkitError(f"{path} is not valid YAML", str(error), "correct the reported line") from error


@lru_cache(maxsize=32)  # one command reads a file several times
def _parsed(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)


def _references(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    match node:
        case str():
            for match in _REFERENCE.finditer(node):
                if match["name"]:
                    yield match["name"], match["default"] or ""
        case list():
            for item in node:
                yield from _references(item)
        case dict():
            for name, value in node.items():
                if value is None and key in {"args", "environment"}:
                    yield str(name), ""  # passed through from the environment
                yield from _references(value, str(name))
