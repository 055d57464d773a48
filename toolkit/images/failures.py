"""Why an image could not be pulled, from what docker printed: whether another try may help, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result, explain
from toolkit.images import image_lock
from toolkit.images.registry import ImageName

BUILD_HERE = "build the images here: invoke up --images=local"


@dataclass(frozen=True)
class Cause:
    """A kind of failure.

    Attributes:
        signs: What docker prints of it, as a regular expression.
        why: In words; empty where docker's own are clear.
        fix: With the placeholders ``registry`` (as `docker login` takes it) and ``files`` (those that name the image).
        transient: Another try may succeed.
        unreachable: No registry can be used, as opposed to one that answers and refuses.
    """

    signs: str
    why: str
    fix: str
    transient: bool = False
    unreachable: bool = False


MIRROR = "name a mirror in .env (REGISTRY, REGISTRY_QUAY)"
STALLED = Cause(
    "",
    "the registry stalls",
    f"run this again; if it stalls again, {MIRROR} or {BUILD_HERE}",
    unreachable=True,
)
LOGIN = Cause(
    r"unauthorized|authentication required|no basic auth credentials|incorrect username or password",
    "a login is needed",
    "docker login {registry}, then run this again",
)
LIMIT = Cause(
    r"reached your .*(rate )?limit",
    "the rate limit of the registry is used up",
    f"docker login {{registry}} (accounts have a higher limit), {MIRROR}, or wait",
)
BUSY = Cause(r"toomanyrequests|too many requests|\b429\b", LIMIT.why, LIMIT.fix, transient=True)
UNREACHABLE = Cause(
    r"no such host|connection refused|unreachable|no route to host|proxyconnect|Get \"http",
    "the registry cannot be reached",
    f"check network and proxy of the engine, {MIRROR}, or {BUILD_HERE}",
    unreachable=True,
)
CAUSES = (
    Cause(
        r"no space left on device",
        "the engine's disk is full",
        "free some disk space: docker system df shows what Docker holds",
    ),
    LIMIT,
    BUSY,
    LOGIN,
    Cause(
        r"manifest unknown|name unknown|repository .* not found|manifest for .* not found|: not found$",
        "the registry has no such image",
        "correct the tag in {files} (invoke images.outdated checks all of them); a mirror may lack it",
    ),
    Cause(
        r"\bdenied\b|403 Forbidden",
        "the registry refuses it: no such repository, or none that this account may read",
        "check its name in {files}, or docker login {registry} with another account",
    ),
    Cause(
        r"x509|certificate|server gave HTTP response to HTTPS client",
        "no trusted connection",
        "add the registry's certificate authority to the engine (/etc/docker/certs.d), then run this again",
    ),
    Cause(
        r"HTTP status:? 5\d\d|\b5\d\d (Internal|Bad Gateway|Service|Gateway)|reset by peer|\bEOF\b|broken pipe",
        "the registry fails or cuts connections",
        f"run this again later, {MIRROR}, or {BUILD_HERE}",
        transient=True,
        unreachable=True,
    ),
    Cause(
        r"timeout|deadline exceeded|server misbehaving|temporary failure",
        UNREACHABLE.why,
        UNREACHABLE.fix,
        transient=True,
        unreachable=True,
    ),
    UNREACHABLE,
)


class PullError(ToolkitError):
    """An image that could not be pulled."""

    def __init__(self, what: str, why: str, fix: str, cause: Cause) -> None:
        super().__init__(what, why, fix)
        self.cause = cause

    @property
    def unreachable(self) -> bool:
        """Whether no registry can be used."""
        return self.cause.unreachable


def stalled_error(project: Project, name: str, seconds: float) -> PullError:
    """The error of a pull in which no byte came for some seconds."""
    return _error(project, name, STALLED, f"no byte for {seconds:g} s")


def no_answer_error(project: Project, name: str, seconds: float) -> PullError:
    """The error of a registry that has not answered at all."""
    return _error(project, name, UNREACHABLE, f"no answer within {seconds:g} s")


def pull_error(project: Project, name: str, result: Result, *, wants_login: bool = False) -> ToolkitError:
    """The error of a pull that docker has ended.

    Returns:
        A PullError, or another one where it is not the registry that failed.
    """
    said = (result.stderr or result.stdout).strip()
    if wants_login:
        return _error(project, name, LOGIN, "docker asks for user and password")
    unanswered = explain(f"pull {name}", result)
    cause = next((cause for cause in CAUSES if re.search(cause.signs, said, re.IGNORECASE)), None)
    if cause is None or "docker daemon" in said.lower():
        return unanswered
    last = said.splitlines()[-1].removeprefix("Error response from daemon: ")
    return _error(project, name, cause, last)


def _error(project: Project, name: str, cause: Cause, details: str) -> PullError:
    registry = ImageName.parse(name).registry
    files = (
        " and ".join(image_lock.layers_of(project).get(name.partition("@")[0], [])) or "APP_IMAGE or your compose file"
    )
    fix = cause.fix.format(registry=registry, files=files)
    return PullError(f"cannot pull {name}", f"{cause.why} ({details})", fix, cause)
