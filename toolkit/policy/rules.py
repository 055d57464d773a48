"""The hardening rules, in the order of the benchmark's controls; each function states why its rule exists."""

from __future__ import annotations

from toolkit.policy import files, operation, processes
from toolkit.policy.rule import Rule, Scope

EVERYWHERE, OPEN, HARDENED = Scope.EVERYWHERE, Scope.OPEN, Scope.HARDENED
# fmt: off
RULES = (
    Rule("user", "4.1", "a non-root user, set in the compose file", EVERYWHERE,
         processes.root_user_static, processes.root_user_running),
    Rule("image", "5.28", "an image pinned by a tag", EVERYWHERE,
         operation.unpinned_image_static, operation.unpinned_image_running),
    Rule("log", "none", "a bounded log", EVERYWHERE,
         operation.unbounded_log_static, operation.unbounded_log_running),
    Rule("confinement", "5.2, 5.3, 5.22", "the engine's seccomp, AppArmor and path restrictions", EVERYWHERE,
         processes.unconfined_static, processes.unconfined_running),
    Rule("capabilities", "5.4", "no capabilities", HARDENED,
         processes.any_capabilities_static, processes.any_capabilities_running),
    Rule("default-capabilities", "5.4", "no capabilities beyond the engine's defaults", OPEN,
         processes.added_capabilities_static, processes.added_capabilities_running),
    Rule("privileged", "5.5", "an unprivileged container", EVERYWHERE,
         processes.privileged_static, processes.privileged_running),
    Rule("host-mounts", "5.6", "no host paths outside this checkout", EVERYWHERE,
         files.host_mounts_static, files.host_mounts_running),
    Rule("read-only-mounts", "5.6", "read-only host paths", EVERYWHERE,
         files.writable_mounts_static, files.writable_mounts_running),
    Rule("published-ports", "5.8, 5.9", "no published ports", HARDENED,
         operation.published_ports_static, operation.published_ports_running),
    Rule("namespaces", "5.10, 5.16, 5.17, 5.21, 5.25, 5.31", "no namespace shared with the host or another container",
         EVERYWHERE, processes.shared_namespaces_static, processes.shared_namespaces_running),
    Rule("memory-limit", "5.11", "a memory limit", EVERYWHERE,
         operation.no_limit_static("memory", "memory"), operation.no_limit_running("memory", "memory")),
    Rule("cpu-limit", "5.12", "a CPU limit", EVERYWHERE,
         operation.no_limit_static("cpus", "CPU"), operation.no_limit_running("cpus", "CPU")),
    Rule("read-only-root", "5.13", "a read-only root file system", HARDENED,
         files.writable_root_static, files.writable_root_running),
    Rule("writable-paths", "5.13", "only volumes and bounded tmpfs mounts are writable", HARDENED,
         files.unbounded_paths_static, files.unbounded_paths_running),
    Rule("named-volumes", "none", "no anonymous volumes", EVERYWHERE,
         files.anonymous_volumes_static, files.anonymous_volumes_running),
    Rule("public-ports", "5.14", "ports published on the loopback interface only", OPEN,
         operation.public_ports_static, operation.public_ports_running),
    Rule("restart", "5.15", "a restart policy", EVERYWHERE,
         operation.no_restart_policy_static, operation.no_restart_policy_running),
    Rule("devices", "5.18", "no host devices", EVERYWHERE,
         processes.host_devices_static, processes.host_devices_running),
    Rule("mount-propagation", "5.20", "no mount propagation to the host", EVERYWHERE,
         files.shared_propagation_static, files.shared_propagation_running),
    Rule("no-new-privileges", "5.26", "no new privileges", HARDENED,
         processes.allows_new_privileges_static, processes.allows_new_privileges_running),
    Rule("health", "5.27", "a health check, its own or over HTTP", EVERYWHERE,
         operation.missing_healthcheck_static, operation.missing_healthcheck_running),
    Rule("pids-limit", "5.29", "a PID limit", HARDENED,
         operation.no_limit_static("pids", "PID"), operation.no_limit_running("pids", "PID")),
    Rule("engine-socket", "5.32", "no access to the engine's socket", EVERYWHERE,
         files.engine_socket_static, files.engine_socket_running),
)
# fmt: on
