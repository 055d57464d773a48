"""The rules, in the order of the benchmark's controls."""

from __future__ import annotations

from toolkit.policy import files, operation, processes
from toolkit.policy.rule import Rule, Scope

EVERYWHERE, OPEN, HARDENED = Scope.EVERYWHERE, Scope.OPEN, Scope.HARDENED
# fmt: off
RULES = (
    Rule("user", "4.1", "a user that is not root, named in the compose file", EVERYWHERE,
         processes.user, processes.user_now),
    Rule("image", "5.28", "an image that is pinned by its tag", EVERYWHERE,
         operation.unpinned, operation.unpinned_now),
    Rule("log", "none", "a log that is bounded", EVERYWHERE,
         operation.log, operation.log_now),
    Rule("confinement", "5.2, 5.3, 5.22", "the engine's filters and masks stay on", EVERYWHERE,
         processes.unconfined, processes.unconfined_now),
    Rule("capabilities", "5.4", "no capability", HARDENED,
         processes.kept, processes.kept_now),
    Rule("default-capabilities", "5.4", "no capability beyond the engine's usual ones", OPEN,
         processes.added, processes.added_now),
    Rule("privileged", "5.5", "not privileged", EVERYWHERE,
         processes.privileged, processes.privileged_now),
    Rule("host-mounts", "5.6", "nothing of the host's files but this checkout", EVERYWHERE,
         files.foreign, files.foreign_now),
    Rule("read-only-mounts", "5.6", "files of the host are read-only", EVERYWHERE,
         files.writable, files.writable_now),
    Rule("published-ports", "5.8, 5.9", "no port on the host", HARDENED,
         operation.published, operation.published_now),
    Rule("namespaces", "5.10, 5.16, 5.17, 5.21, 5.25, 5.31", "no namespace of the host or of another container",
         EVERYWHERE, processes.namespaces, processes.namespaces_now),
    Rule("memory-limit", "5.11", "a limit of memory", EVERYWHERE,
         operation.limited("memory", "memory"), operation.limited_now("memory", "memory")),
    Rule("cpu-limit", "5.12", "a limit of processor time", EVERYWHERE,
         operation.limited("cpus", "processor time"), operation.limited_now("cpus", "processor time")),
    Rule("read-only-root", "5.13", "a read-only root file system", HARDENED,
         files.root, files.root_now),
    Rule("writable-paths", "5.13", "what can be written to is a volume or a bounded tmpfs", HARDENED,
         files.unbounded, files.unbounded_now),
    Rule("named-volumes", "none", "volumes with a name", EVERYWHERE,
         files.anonymous, files.anonymous_now),
    Rule("public-ports", "5.14", "ports on the loopback interface only", OPEN,
         operation.public, operation.public_now),
    Rule("restart", "5.15", "started again when it ends", EVERYWHERE,
         operation.mortal, operation.mortal_now),
    Rule("devices", "5.18", "no device of the host", EVERYWHERE,
         processes.devices, processes.devices_now),
    Rule("mount-propagation", "5.20", "what is mounted inside does not appear on the host", EVERYWHERE,
         files.spreading, files.spreading_now),
    Rule("no-new-privileges", "5.26", "no privilege gained by starting a program", HARDENED,
         processes.gains, processes.gains_now),
    Rule("health", "5.27", "a health check, or asked from outside", EVERYWHERE,
         operation.unasked, operation.unasked_now),
    Rule("pids-limit", "5.29", "a limit of processes", HARDENED,
         operation.limited("pids", "processes"), operation.limited_now("pids", "processes")),
    Rule("engine-socket", "5.32", "never the engine's socket", EVERYWHERE,
         files.socket, files.socket_now),
)
# fmt: on
