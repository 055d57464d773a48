"""Why a service does not come up: signs in its log, its health check or its state, and what to do about each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from toolkit.engine.health import ServiceState

DISCARD_DATA = "if its data may be lost, run: invoke down --volumes"


@dataclass(frozen=True)
class Cause:
    """A known cause; ``final`` where a health check that prints the sign cannot pass later on."""

    sign: str
    why: str
    fix: str
    permanent: bool = False


STOPPED = Cause("", "it was stopped", "run invoke up to start it again")

KILLED = Cause(
    "",
    "it was ended from outside (SIGKILL): by hand, or by the kernel for lack of memory",
    "run invoke up to start it again; dmesg shows whether the machine ran out of memory",
)

OUT_OF_MEMORY = Cause(
    "",
    "the kernel ended it because it used more memory than its limit",
    "raise its deploy.resources.limits.memory in docker-compose.override.yml, or free memory on this machine",
)

CAUSES = (
    Cause(
        r"platform\.initialisation",
        "the database's first initialisation was cut off, and is never repeated on a volume that has files in it",
        f"restore a backup; {DISCARD_DATA}",
        permanent=True,
    ),
    Cause(
        r'role "(?:netmon|monitoring)_[ab]" does not exist',
        "its volume was made before application and monitoring had accounts of their own, or its first initialisation "
        "was cut off before it made them",
        "make them: docker compose exec db /opt/netmon/postgres-accounts.sh; then run invoke up",
    ),
    Cause(
        r"password authentication failed|is not permitted to log in|invalid credentials|WRONGPASS|NOAUTH"
        r"|401 Unauthorized",
        "the password in secrets/ is not the one that the service knows",
        "invoke secrets.check names it, and how the service is made to take it",
        permanent=True,
    ),
    Cause(
        r"database files are incompatible|initialized by PostgreSQL version|unsupported version of (?:the )?data",
        "the volume was written by another version of the service",
        f"go back to the image that wrote it, dump the data and load it into the new version; {DISCARD_DATA}",
    ),
    Cause(
        r"InconsistentClusterIdException|Invalid cluster\.id|doesn't match stored clusterId",
        "the volume belongs to another Kafka cluster",
        f"set CLUSTER_ID back to the value that the volume was made with; {DISCARD_DATA}",
    ),
    Cause(
        r"port is already allocated|address already in use|bind: .* in use|eaddrinuse",
        "another program holds a port that it publishes",
        "invoke doctor names who holds it; set another port in .env, or stop that program",
    ),
    Cause(
        r"No space left on device|ENOSPC|disk quota exceeded|could not extend file",
        "the disk of Docker's data is full",
        "docker system df shows what Docker holds; free some space, then run invoke up",
    ),
    Cause(
        r"Cannot allocate memory|java\.lang\.OutOfMemoryError|shared memory segment",
        OUT_OF_MEMORY.why,
        OUT_OF_MEMORY.fix,
    ),
    Cause(
        r"(?:open|read).{0,120}permission denied|permission denied.{0,80}/(?:etc|opt|run)/",
        "its user cannot read a file that is mounted into it",
        "make the files of the checkout readable for everybody (chmod -R a+rX config monitoring scripts); "
        "invoke doctor lists those that are not",
    ),
    Cause(
        r"permission denied|operation not permitted|read-only file system",
        "it may not write where it has to",
        "a volume or folder belongs to another user: compare its owner with the service's user in the compose files",
    ),
    Cause(
        r"could not translate host name|Temporary failure in name resolution|Name or service not known|nxdomain"
        r"|no such host|UnknownHostException|getaddrinfo",
        "it cannot resolve the name of another service",
        "check that this service runs (invoke status) and shares a network with it in the compose files",
    ),
    Cause(
        r"exec format error",
        "its image was built for another kind of processor",
        "remove the image and build or pull it again on this machine",
    ),
    Cause(
        r"executable file not found|no such file or directory",
        "a program or a mounted file is missing in its container",
        "restore the file that the log names (git status shows what is missing), or rebuild: invoke images.build",
    ),
    Cause(
        r"error (?:parsing|loading|in) config|yaml: |unmarshal errors|parsing YAML|bad directive|CONFIG FILE ERROR"
        r"|Unresolved Configuration",
        "its configuration file is not valid",
        "correct the line that the log names; nox -s validate checks all of them",
    ),
)


def cause(state: ServiceState, log: str) -> Cause | None:
    """The likely cause of a container's failure, or None where nothing known fits."""
    if state.out_of_memory:
        return OUT_OF_MEMORY
    text = "\n".join((state.error, *(check.output for check in state.checks), log))
    known = next((each for each in CAUSES if re.search(each.sign, text, re.IGNORECASE)), None)
    by_exit_code = {0: STOPPED, 143: STOPPED, 137: KILLED} if state.status == "exited" else {}
    return known or by_exit_code.get(state.exit_code)


def is_permanent(state: ServiceState, times: int = 3) -> bool:
    """Whether the last checks, ``times`` of them in a row, all printed a sign that no further check can get rid of."""
    last = state.checks[-times:]
    return len(last) == times and all(
        check.code != 0 and any(each.permanent and re.search(each.sign, check.output, re.IGNORECASE) for each in CAUSES)
        for check in last
    )
