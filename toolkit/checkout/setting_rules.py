"""The rules of the settings in .env: each value arrives in its container byte for byte, or is refused with its rule."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.core import envsyntax
from toolkit.core.envsyntax import Problem
from toolkit.core.errors import ToolkitError
from toolkit.core.files import fix_for

FIX = "correct the line; .env.example explains the settings"


@dataclass(frozen=True)
class Rule:
    """The requirement on a value, as a completion of "the value must be …"."""

    words: str
    accepts: Callable[[str], object]


def _matching(pattern: str, words: str) -> Rule:
    return Rule(words, re.compile(pattern, re.ASCII).fullmatch)


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


PORT = Rule(
    "a port: a whole number from 1 to 65535",
    lambda value: re.fullmatch(r"[1-9][0-9]{0,4}", value) and int(value) <= 65535,
)
ADDRESS = Rule("an IP address", _is_address)
HOST = _matching(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", "a host name, without scheme, port or path")
REGISTRY = _matching(
    r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9._-]+)*", "the address of a registry: HOST, HOST:PORT or HOST/PATH"
)
IMAGE = _matching(
    r"[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[a-z0-9._-]+)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?",
    "the name of an image: [REGISTRY/]NAME[:TAG][@DIGEST]",
)
TAG = _matching(r"\w[\w.-]{0,127}", "the tag of an image: letters, digits, '.', '_' and '-', at most 128")
FOLDER = _matching(r"/[^:]*", "an absolute path without a colon")
SOURCE = _matching(r"[^:]*", "a path without a colon")
COUNT = _matching(r"[0-9]{1,4}", "a whole number from 0 to 9999")
PROJECT = _matching(r"[a-z0-9][a-z0-9_-]*", "lower case letters, digits, '-' and '_', beginning with a letter or digit")
NAMES = _matching(r"[A-Za-z0-9_.,-]*|\*", "names separated by commas")
SET = Rule(f"{PULLED} or {LOCAL}", {PULLED, LOCAL}.__contains__)

RULES: Mapping[str, Rule] = {
    "PROXY_BIND_ADDRESS": ADDRESS,
    "DOMAIN": HOST,
    "REGISTRY": REGISTRY,
    "REGISTRY_QUAY": REGISTRY,
    "APP_IMAGE": IMAGE,
    "NETMON_RELEASE": TAG,
    "DOCKER_ROOT_DIR": FOLDER,
    "APP_CONTEXT": SOURCE,
    "WORKER_REPLICAS": COUNT,
    "COMPOSE_PROJECT_NAME": PROJECT,
    "COMPOSE_PROFILES": NAMES,
    "NETMON_IMAGES": SET,
}
"""The rules of settings that are not passed to a container as they are, besides ports, credentials, BIND_ADDRESS."""


def rule_of(name: str) -> Rule | None:
    """The rule of a setting; None if its value is passed to the containers as it is."""
    return PORT if name.endswith("_PORT") else RULES.get(name)


def problems(project: Project) -> list[Problem]:
    """The lines of .env that break a rule.

    Raises:
        ToolkitError: .env cannot be read.
    """
    try:
        text = project.env_file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return []
    except OSError as error:
        path = project.env_file
        raise ToolkitError(f"cannot read {path}", error.strerror or str(error), fix_for(error, path)) from error
    except UnicodeDecodeError as error:
        raise ToolkitError(f"cannot read {project.env_file}", str(error), "save it in the encoding UTF-8") from error
    return list(_broken(text))


def _broken(text: str) -> Iterator[Problem]:
    for each in envsyntax.assignments(text):
        if isinstance(each, Problem):
            yield each
            continue
        line, name, value = each
        rule = rule_of(name)
        if value and rule and not rule.accepts(value):
            yield Problem(line, name, f"the value must be {rule.words}")


def require(project: Project) -> None:
    """Return if no line of .env breaks a rule.

    Raises:
        ToolkitError: one does, or .env cannot be read.
    """
    if found := problems(project):
        raise ToolkitError("settings in .env are refused", "; ".join(map(str, found)), FIX)
