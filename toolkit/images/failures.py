"""Causes of a failed pull, recognised by docker's output: whether a retry may help, and the fix."""

from __future__ import annotations

import re
from dataclasses import dataclass

from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result, explain
from toolkit.images import image_lock
from toolkit.images.registry import ImageName

BUILD_HERE = "build the images on this host: invoke up --images=local"


@dataclass(frozen=True)
class Cause:
    """A kind of failure.

    Attributes:
        signs: A regular expression for docker's output.
        why: The reason.
        fix: With the placeholders ``registry`` (the argument of `docker login`) and ``files`` (that name the image).
        transient: A retry may succeed.
        unreachable: The registry is not usable at all, as opposed to one that answers and refuses.
    """

    signs: str
    why: str
    fix: str
    transient: bool = False
    unreachable: bool = False


MIRROR = "set a mirror in .env (REGISTRY, REGISTRY_QUAY)"
STALLED = Cause(
    "",
    "the registry stalled",
    f"retry; if it stalls again, {MIRROR} or {BUILD_HERE}",
    unreachable=True,
)
LOGIN = Cause(
    r"unauthorized|authentication required|no basic auth credentials|incorrect username or password",
    "authentication required",
    "docker login {registry}, then retry",
)
LIMIT = Cause(
    r"reached your .*(rate )?limit",
    "the rate limit of the registry is exceeded",
    f"docker login {{registry}} (accounts have a higher limit), {MIRROR}, or wait",
)
BUSY = Cause(r"toomanyrequests|too many requests|\b429\b", LIMIT.why, LIMIT.fix, transient=True)
UNREACHABLE = Cause(
    r"no such host|connection refused|unreachable|no route to host|proxyconnect|Get \"http",
    "the registry is unreachable",
    f"check the engine's network and proxy settings, {MIRROR}, or {BUILD_HERE}",
    unreachable=True,
)
CAUSES = (
    Cause(
        r"no space left on device",
        "the engine's disk is full",
        "free disk space: docker system df shows Docker's share",
    ),
    LIMIT,
    BUSY,
    LOGIN,
    Cause(
        r"manifest unknown|name unknown|repository .* not found|manifest for .* not found|: not found$",
        "the image does not exist in the registry",
        "correct the tag in {files} (invoke images.outdated checks every tag); a mirror may be incomplete",
    ),
    Cause(
        r"\bdenied\b|403 Forbidden",
        "access denied: the repository does not exist, or this account may not read it",
        "check the name in {files}, or docker login {registry} with another account",
    ),
    Cause(
        r"x509|certificate|server gave HTTP response to HTTPS client",
        "the registry's certificate is not trusted",
        "add the registry's certificate authority to the engine (/etc/docker/certs.d), then retry",
    ),
    Cause(
        r"HTTP status:? 5\d\d|\b5\d\d (Internal|Bad Gateway|Service|Gateway)|reset by peer|\bEOF\b|broken pipe",
        "the registry fails or drops connections",
        f"retry later, {MIRROR}, or {BUILD_HERE}",
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
    """An image cannot be pulled because of its registry."""

    def __init__(self, what: str, why: str, fix: str, cause: Cause) -> None:
        super().__init__(what, why, fix)
        self.cause = cause

    @property
    def unreachable(self) -> bool:
        """Whether the registry is not usable at all."""
        return self.cause.unreachable


def stalled_error(project: Project, name: str, seconds: float) -> PullError:
    """The error for a pull without progress for ``seconds``."""
    return _error(project, name, STALLED, f"no data for {seconds:g} s")


def no_answer_error(project: Project, name: str, seconds: float) -> PullError:
    """The error for a registry without any response."""
    return _error(project, name, UNREACHABLE, f"no response within {seconds:g} s")


def pull_error(project: Project, name: str, result: Result, *, wants_login: bool = False) -> ToolkitError:
    """The error for a failed pull.

    Returns:
        A PullError, or another ToolkitError if the registry is not the cause.
    """
    output = (result.stderr or result.stdout).strip()
    if wants_login:
        return _error(project, name, LOGIN, "docker prompts for a user name and a password")
    cause = next((cause for cause in CAUSES if re.search(cause.signs, output, re.IGNORECASE)), None)
    if cause is None or "docker daemon" in output.lower():
        return explain(f"pull {name}", result)
    last = output.splitlines()[-1].removeprefix("Error response from daemon: ")
    return _error(project, name, cause, last)


def _error(project: Project, name: str, cause: Cause, details: str) -> PullError:
    registry = ImageName.parse(name).registry
    files = (
        " and ".join(image_lock.layers_of(project).get(name.partition("@")[0], [])) or "APP_IMAGE or your compose file"
    )
    fix = cause.fix.format(registry=registry, files=files)
    return PullError(f"cannot pull {name}", f"{cause.why} ({details})", fix, cause)
