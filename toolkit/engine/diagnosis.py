"""Known causes of a service's failure: their signs in log, health check and container state, and the fix for each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from toolkit.engine import damage
from toolkit.engine.health import ServiceState

DISCARD_DATA = "if its data is expendable, run: invoke down --volumes"


@dataclass(frozen=True)
class Cause:
    """A known cause; ``permanent`` if a health check that prints the sign can never pass again."""

    sign: str
    why: str
    fix: str
    permanent: bool = False


STOPPED = Cause("", "it was stopped", "run invoke up to start it again")

KILLED = Cause(
    "",
    "it was killed from outside (SIGKILL), manually or by the kernel's OOM killer",
    "run invoke up to start it again; dmesg shows whether the host ran out of memory",
)

OUT_OF_MEMORY = Cause(
    "",
    "it was OOM-killed: it exceeded its memory limit",
    "raise its deploy.resources.limits.memory in docker-compose.override.yml, or free memory on this host",
)

DISK_FULL = Cause(
    r"No space left on device|ENOSPC|disk quota exceeded|could not extend file",
    "the disk with Docker's data is full",
    "free disk space (docker system df shows Docker's share), then run invoke up",
)

CAUSES = (
    Cause(
        r"platform\.initialisation",
        "the first initialisation of the database was interrupted, and is never repeated on a volume with files",
        f"restore a backup; {DISCARD_DATA}",
        permanent=True,
    ),
    Cause(
        r'role "(?:netmon|monitoring)_[ab]" does not exist',
        "its volume lacks the accounts of application and monitoring: it is older than these, or its first "
        "initialisation was interrupted",
        "create them: docker compose exec db /opt/netmon/postgres-accounts.sh; then run invoke up",
    ),
    Cause(
        r"password authentication failed|is not permitted to log in|invalid credentials|WRONGPASS|NOAUTH"
        r"|401 Unauthorized",
        "authentication fails: the service does not accept the password in secrets/",
        "invoke secrets.check shows which one, and how to set it in the service",
        permanent=True,
    ),
    Cause(
        r"database files are incompatible|initialized by PostgreSQL version|unsupported version of (?:the )?data",
        "the volume was written by another version of the service",
        f"return to the image that wrote it, dump the data and load it into the new version; {DISCARD_DATA}",
    ),
    Cause(
        r"is of PostgreSQL .*, whose data would be ignored",
        "its volume has data of another version or layout, beside which it would start empty",
        "docs/operations.md#data-of-another-version describes how to migrate it",
    ),
    Cause(
        r"InconsistentClusterIdException|Invalid cluster\.id|doesn't match stored clusterId",
        "the volume belongs to another Kafka cluster",
        f"set CLUSTER_ID to the value with which the volume was created; {DISCARD_DATA}",
    ),
    Cause(
        r"port is already allocated|address already in use|bind: .* in use|eaddrinuse",
        "another program uses a port that it publishes",
        "invoke doctor shows which; set another port in .env, or stop that program",
    ),
    DISK_FULL,
    Cause(
        r"Cannot allocate memory|java\.lang\.OutOfMemoryError|shared memory segment",
        OUT_OF_MEMORY.why,
        OUT_OF_MEMORY.fix,
    ),
    Cause(
        r"(?:open|read).{0,120}permission denied|permission denied.{0,80}/(?:etc|opt|run)/",
        "its user cannot read a file that is mounted into it",
        "invoke doctor lists the files that it cannot read, and the command that makes them readable",
    ),
    Cause(
        r"permission denied|operation not permitted|read-only file system",
        "it lacks write permission",
        "a volume or folder belongs to another user: compare its owner with the service's user in the compose files",
    ),
    Cause(
        r"could not translate host name|Temporary failure in name resolution|Name or service not known|nxdomain"
        r"|no such host|UnknownHostException|getaddrinfo",
        "it cannot resolve the name of another service",
        "check that the other service runs (invoke status) and shares a network with it in the compose files",
    ),
    Cause(
        r"exec format error",
        "its image was built for another CPU architecture",
        "remove the image, and build or pull it again on this host",
    ),
    Cause(
        r"executable file not found|no such file or directory",
        "a program or a mounted file is missing in its container",
        "restore the file named in the log (git status shows missing ones), or rebuild: invoke images.build",
    ),
    Cause(
        r"error (?:parsing|loading|in) config|yaml: |unmarshal errors|parsing YAML|bad directive|CONFIG FILE ERROR"
        r"|Unresolved Configuration",
        "its configuration file is not valid",
        "correct the line named in the log; nox -s validate checks every configuration file",
    ),
)


def cause(state: ServiceState, log: str) -> Cause | None:
    """The likely cause of a container's failure, or None if no known cause matches.

    A full disk precedes broken data, which it may have caused, and broken data everything else.
    """
    if state.out_of_memory:
        return OUT_OF_MEMORY
    text = "\n".join((state.error, *(check.output for check in state.checks), log))
    broken = damage.find(state.service, text)
    known = (
        (DISK_FULL if re.search(DISK_FULL.sign, text, re.IGNORECASE) else None)
        or (Cause(broken.sign, broken.cause, broken.fix) if broken else None)
        or next((each for each in CAUSES if re.search(each.sign, text, re.IGNORECASE)), None)
    )
    by_exit_code = {0: STOPPED, 143: STOPPED, 137: KILLED} if state.status == "exited" else {}
    return known or by_exit_code.get(state.exit_code)


def is_permanent(state: ServiceState, times: int = 3) -> bool:
    """Whether the last ``times`` health checks all failed with the sign of a permanent cause."""
    last = state.checks[-times:]
    return len(last) == times and all(
        check.code != 0 and any(each.permanent and re.search(each.sign, check.output, re.IGNORECASE) for each in CAUSES)
        for check in last
    )
