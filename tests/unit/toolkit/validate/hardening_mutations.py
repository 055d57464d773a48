"""Mutations that weaken the hardening, by the rule that they break, and the networks."""

from __future__ import annotations

from collections.abc import Mapping

from tests.unit.toolkit.validate.mutations import BASE, DEV, MONITORING, MONITORING_IMAGES, PROD, SECURITY, Mutation

POLICY, MATRIX = "policy.yml", "reachability.yml"
RABBITMQ = "    hostname: rabbitmq\n"
REDIS_DATA = "      - redis_data:/data\n"


def _rule(name: str, file: str, old: str, new: str, problem: str, at: str = "") -> Mutation:
    return Mutation(name, "policy.rules", file, old, new, problem, at)


# fmt: off
BY_RULE: Mapping[str, tuple[Mutation, ...]] = {
    "user": (
        _rule("root", BASE, 'user: "999:999"', 'user: "0:0"', "db runs as root", '"0:0"'),
        _rule("root by name", PROD, "  redis:\n", "  redis:\n    user: root\n", "redis runs as root", "user: root"),
        _rule("user of the image", BASE, '    user: "999:1000"\n', "", "redis sets no user", "redis:"),
    ),
    "image": (
        _rule("image without a tag", BASE, "library/redis:8.10.2-alpine", "library/redis", "not pinned", "library/redis"),
        _rule("image tagged latest", MONITORING, "prom/prometheus:v3.13.4", "prom/prometheus:latest", "not pinned", "prom/prometheus"),
    ),
    "log": (
        _rule("unbounded log", BASE, "    max-size: 10m\n", "", "log without max-size"),
        _rule("log without rotation", MONITORING_IMAGES, '        max-file: "3"\n', "", "victorialogs has a log without max-file"),
        _rule("another log driver", BASE, "driver: json-file", "driver: syslog", "does not log to json-file", "driver: syslog"),
    ),
    "confinement": (
        _rule("every system call", SECURITY, "    - no-new-privileges:true", "    - no-new-privileges:true\n    - seccomp:unconfined", "seccomp:unconfined", "security_opt"),
        _rule("no profile of AppArmor", DEV, "  kafka:\n", "  kafka:\n    security_opt: [\"apparmor:unconfined\"]\n", "kafka disables a protection", "security_opt"),
        _rule("all of /proc", PROD, "  redis:\n", "  redis:\n    security_opt: [\"systempaths=unconfined\"]\n", "redis disables a protection", "security_opt"),
    ),
    "capabilities": (
        _rule("capability added", PROD, "  redis:\n", "  redis:\n    cap_add: [NET_ADMIN]\n", "redis adds the capability NET_ADMIN", "cap_add"),
        _rule("capabilities kept", SECURITY, "cap_drop: [ALL]", "cap_drop: [NET_RAW]", "cap_drop must be [ALL]", "cap_drop"),
        _rule("unhardened service", SECURITY, "  redis:\n    <<: *hardening\n", "  redis:\n", "redis keeps capabilities", "redis:"),
        _rule("unhardened local image", MONITORING_IMAGES, "    cap_drop: [ALL]\n", "", "victorialogs keeps capabilities"),
    ),
    "default-capabilities": (
        _rule("capability for a debugger", DEV, "  worker:\n", "  worker:\n    cap_add: [SYS_PTRACE]\n", "worker adds the capability SYS_PTRACE", "cap_add"),
    ),
    "privileged": (
        _rule("privileged container", BASE, RABBITMQ, RABBITMQ + "    privileged: true\n", "rabbitmq is privileged", "privileged"),
        _rule("privileged in development", DEV, "  smoke:\n", "  smoke:\n    privileged: true\n", "smoke is privileged", "privileged"),
    ),
    "host-mounts": (
        _rule("folder of the host", BASE, REDIS_DATA, REDIS_DATA + "      - /etc:/host-etc:ro\n", "redis mounts the host path /etc", "/host-etc"),
        _rule("one more folder of the host", MONITORING, "        source: /sys/fs/cgroup\n", "        source: /home\n        target: /home\n        read_only: true\n      - type: bind\n        source: /sys/fs/cgroup\n", "container-exporter mounts the host path /home", "/home"),
    ),
    "read-only-mounts": (
        _rule("writable source", DEV, "        read_only: true\n", "", "mounts app writable, not read-only", "/srv/app"),
        _rule("writable logs of the engine", MONITORING, "        target: /var/lib/docker/containers\n        read_only: true\n", "        target: /var/lib/docker/containers\n", "otel-collector mounts containers writable, not read-only", "/var/lib/docker/containers"),
    ),
    "published-ports": (
        _rule("database published", PROD, "  db:\n", "  db:\n    ports:\n      - \"127.0.0.1:5432:5432\"\n", "db publishes port 5432/tcp", "ports"),
        _rule("metrics published by the base", MONITORING, "    networks:\n      - app-network\n      - scrape-network\n    healthcheck", "    ports:\n      - \"127.0.0.1:9187:9187\"\n    networks:\n      - app-network\n      - scrape-network\n    healthcheck", "postgres-exporter publishes port 9187/tcp", "ports"),
    ),
    "public-ports": (
        _rule("port on every address", DEV, "${BIND_ADDRESS:-127.0.0.1}:${APP_PORT", "${APP_PORT", "app publishes port 3000/tcp to other machines", "ports"),
        _rule("public default address", DEV, "127.0.0.1}:${KAFKA_PORT", "0.0.0.0}:${KAFKA_PORT", "kafka publishes port 9092/tcp to other machines", "ports"),
    ),
    "namespaces": (
        _rule("network of the host", DEV, "  smoke:\n", "  smoke:\n    network_mode: host\n    networks: !reset null\n", "smoke shares a namespace: network_mode", "network_mode"),
        _rule("processes of the host", BASE, RABBITMQ, RABBITMQ + "    pid: host\n", "rabbitmq shares a namespace: pid", "pid: host"),
        _rule("processes of another container", PROD, "  worker:\n", "  worker:\n    pid: service:app\n", "worker shares a namespace: pid", "pid: service"),
        _rule("shared memory of the host", BASE, RABBITMQ, RABBITMQ + "    ipc: host\n", "rabbitmq shares a namespace: ipc", "ipc: host"),
        _rule("name of the host", BASE, RABBITMQ, RABBITMQ + "    uts: host\n", "rabbitmq shares a namespace: uts", "uts: host"),
        _rule("users of the host", BASE, RABBITMQ, RABBITMQ + "    userns_mode: host\n", "rabbitmq shares a namespace: userns_mode", "userns_mode"),
        _rule("control groups of the host", BASE, RABBITMQ, RABBITMQ + "    cgroup: host\n", "rabbitmq shares a namespace: cgroup", "cgroup: host"),
    ),
    "memory-limit": (
        _rule("no memory limit", MONITORING, "          memory: 256M\n          cpus: \"0.5\"", "          cpus: \"0.5\"", "alertmanager has no memory limit", "limits"),
    ),
    "cpu-limit": (
        _rule("no processor limit", MONITORING, "          memory: 256M\n          cpus: \"0.5\"", "          memory: 256M", "alertmanager has no CPU limit", "limits"),
    ),
    "read-only-root": (
        _rule("writable root file systems", SECURITY, "  read_only: true\n", "", "read_only must be true"),
        _rule("writable root file system", SECURITY, "  kafka:\n    <<: *hardening\n", "  kafka:\n    <<: *hardening\n    read_only: false\n", "kafka has a writable root file system", "read_only: false"),
    ),
    "writable-paths": (
        _rule("unbounded tmpfs", SECURITY, "mode=0775,size=1m", "mode=0775", "db has a tmpfs without a size at /var/run/postgresql", "/var/run/postgresql"),
        _rule("tmpfs that can hold programs", SECURITY, "mode=0775,size=1m", "mode=0775,size=1m,exec", "db has a tmpfs at /var/run/postgresql with the option exec", "/var/run/postgresql"),
        _rule("unbounded tmpfs among the volumes", PROD, "  redis:\n", "  redis:\n    volumes:\n      - type: tmpfs\n        target: /scratch\n", "redis has a tmpfs without a size at /scratch", "/scratch"),
    ),
    "named-volumes": (
        _rule("volume without a name", BASE, "      - redis_data:/data\n", "      - redis_data:/data\n      - /scratch\n", "redis has an anonymous volume at /scratch", "/scratch"),
    ),
    "restart": (
        _rule("no restart policy", BASE, "    restart: unless-stopped\n    # For the flush of the append-only", "    # For the flush of the append-only", "redis has no restart policy", "redis:"),
        _rule("restart switched off", PROD, "  redis:\n", "  redis:\n    restart: \"no\"\n", "redis has no restart policy", "restart"),
    ),
    "devices": (
        _rule("disk of the host", BASE, RABBITMQ, RABBITMQ + "    devices: [/dev/sda:/dev/sda]\n", "rabbitmq has access to host devices: devices", "devices"),
        _rule("any device", BASE, RABBITMQ, RABBITMQ + "    device_cgroup_rules: [\"a *:* rwm\"]\n", "rabbitmq has access to host devices: device_cgroup_rules", "device_cgroup_rules"),
    ),
    "mount-propagation": (
        _rule("shared mount propagation", BASE, "          create_host_path: false\n      - redis_data", "          create_host_path: false\n          propagation: rshared\n      - redis_data", "propagates mounts below", "/etc/redis"),
    ),
    "no-new-privileges": (
        _rule("privilege gain", SECURITY, "no-new-privileges:true", "no-new-privileges:false", "may gain privileges", "security_opt"),
    ),
    "health": (
        _rule("no health check", BASE, "    healthcheck:\n      <<: *health\n      test: [\"CMD\", \"/opt/netmon/redis-health.sh\"]\n", "", "redis has no health check", "redis:"),
        _rule("health check switched off", DEV, "  kafka:\n", "  kafka:\n    healthcheck:\n      disable: true\n", "kafka has no health check", "healthcheck"),
        _rule("collector without a label for its health", MONITORING, "netmon.health.url:", "netmon.healthz:", "otel-collector has no health check"),
    ),
    "pids-limit": (
        _rule("no limit of processes", SECURITY, "          pids: 50\n", "          cpus: \"1.0\"\n", "redis has no PID limit", "limits"),
        _rule("no limit of a local image's processes", MONITORING_IMAGES, "          pids: 100\n", "", "victorialogs has no PID limit", "limits"),
    ),
    "engine-socket": (
        _rule("the engine's socket", BASE, REDIS_DATA, REDIS_DATA + "      - /var/run/docker.sock:/var/run/docker.sock:ro\n", "redis can access the engine's socket", "docker.sock"),
        _rule("the folder of the engine's socket", BASE, REDIS_DATA, REDIS_DATA + "      - /run:/host-run:ro\n", "redis can access the engine's socket", "/host-run"),
        _rule("the socket in the host's files", MONITORING, "      - /host/run:mode=0555,size=4k\n", "      - /host/tmp:mode=0555,size=4k\n", "node-exporter can access the engine's socket", "target: /host"),
    ),
}
HARDENING_MUTATIONS = (
    *(mutation for mutations in BY_RULE.values() for mutation in mutations),
    # The exceptions.
    Mutation("exception that is not needed", "policy.exceptions", MONITORING, '    user: "0:0"\n    entrypoint', '    user: "65534:65534"\n    entrypoint', "container-exporter follows the rule user"),
    Mutation("exception for an unknown mount", "policy.exceptions", POLICY, "of: /host/proc", "of: /host/dev", "the exception is not needed"),
    Mutation("exception for an unknown service", "policy.exceptions", POLICY, "service: node-exporter", "service: host-exporter", "unknown service host-exporter"),
    Mutation("exception from an unknown rule", "policy.exceptions", POLICY, "rule: user", "rule: users", "unknown rule users"),
    Mutation("exception without a reason", "policy.exceptions", POLICY, "reason: Resource usage of each container, from the kernel, read-only.", 'reason: ""', "the reason is missing"),
    Mutation("duplicate exception", "policy.exceptions", POLICY, "of: /host/cgroup", "of: /host/containers", "duplicate exception of container-exporter from host-mounts"),
    Mutation("exception with a misspelt key", "policy.exceptions", POLICY, "    reason: Resource", "    because: Resource", "because"),
    Mutation("exception without its mount", "policy.rules", POLICY, "    of: /host\n", "", "node-exporter mounts the host path /"),
    # Reachability.
    Mutation("network joined", "reachability.members", PROD, "  db:\n", "  db:\n    networks: [monitoring-network]\n", "db joins monitoring-network", "networks"),
    Mutation("network to the world joined", "reachability.members", PROD, "  db:\n", "  db:\n    networks: [egress-network]\n", "db joins egress-network", "networks"),
    Mutation("unknown network joined", "reachability.members", PROD, "  db:\n", "  db:\n    networks: [edge-network]\n", "db joins edge-network", "networks"),
    Mutation("network left", "reachability.members", MONITORING, "  kafka:\n    networks:\n      - scrape-network\n", "  kafka: {}\n", "kafka does not join scrape-network", "kafka"),
    Mutation("unknown member", "reachability.members", MATRIX, "kafka, rabbitmq, kafka-exporter]", "kafka, rabbitmq, kafka-importer]", "unknown service kafka-importer"),
    Mutation("world on a network without a way to it", "reachability.members", MATRIX, "kafka, rabbitmq, kafka-exporter]", "kafka, rabbitmq, kafka-exporter, host]", "host can only be a member"),
    Mutation("connection without a network", "reachability.routes", MATRIX, "from: [app, worker, smoke, postgres-exporter, backup]", "from: [app, worker, smoke, postgres-exporter, backup, grafana]", "grafana cannot reach db: they share no network", "grafana"),
    Mutation("connection from outside that is not published", "reachability.routes", MATRIX, "from: [app, worker, smoke, postgres-exporter, backup]", "from: [app, worker, smoke, postgres-exporter, backup, world]", "world cannot reach db: it publishes no port", "world"),
    Mutation("exporter that probes for everyone", "reachability.listeners", MONITORING, "      - --web.listen-address=blackbox-listener:9115\n", "      - --web.listen-address=:9115\n", "blackbox-exporter listens on every address"),
    Mutation("exporter with the default address", "reachability.listeners", MONITORING, "      - --web.listen-address=blackbox-listener:9115\n      - --web.listen-address=127.0.0.1:9115\n", "", "blackbox-exporter listens on every address"),
    Mutation("listener with a name on every network", "reachability.listeners", MONITORING, "      monitoring-network:\n      egress-network:\n", "      monitoring-network:\n        aliases: [blackbox-listener]\n      egress-network:\n", "listens on blackbox-listener, which is not an alias"),
    Mutation("application on the prober's network", "reachability.members", MONITORING, "  app:\n    environment:\n      <<: *traces\n    networks:\n", "  app:\n    environment:\n      <<: *traces\n    networks:\n      - blackbox-network\n", "app joins blackbox-network"),
    Mutation("worker that asks the prober", "reachability.routes", MATRIX, "from: [smoke, prometheus]\n    # It listens", "from: [smoke, prometheus, worker]\n    # It listens", "worker cannot reach blackbox-exporter", "worker"),
    Mutation("member without a connection", "reachability.unused_access", MATRIX, "from: [proxy, worker, alertmanager, blackbox-exporter, backup]", "from: [proxy, worker, blackbox-exporter, backup]", "alertmanager has no allowed connection on egress-network"),
    Mutation("open connections without a reason", "reachability.unused_access", MATRIX, "    unused: >-\n      Database", "    about: >-\n      Database", "unused must have the reason"),
    Mutation("reason without an open connection", "reachability.unused_access", MATRIX, "members: [proxy, host]", "members: [proxy]", "unused is not needed"),
    Mutation("connection to an unknown service", "reachability.matrix", MATRIX, "to: db:5432", "to: database:5432", "unknown service database", "database"),
    Mutation("duplicate connection", "reachability.matrix", MATRIX, "to: kafka:9404", "to: kafka:9092", "duplicate kafka:9092", "kafka:9092"),
    Mutation("connection without a reason", "reachability.matrix", MATRIX, "because: SQL, and the replication that backups are made of", 'because: ""', "the reason is missing"),
    Mutation("connection without a port", "reachability.matrix", MATRIX, "to: db:5432", "to: db", "db has no port", "to: db"),
    Mutation("network that leads to the world", "reachability.isolation", SECURITY, "  app-network:\n    internal: true\n", "  app-network:\n", "app-network leads to the world"),
    Mutation("network that reaches the host", "reachability.isolation", SECURITY, "gateway_mode_ipv4: isolated", "gateway_mode_ipv4: nat", "leads to the ports of the host"),
    Mutation("internal network to the world", "reachability.isolation", BASE, "  egress-network:\n    driver: bridge\n", "  egress-network:\n    driver: bridge\n    internal: true\n", "is internal"),
    # Generated tables of the documentation.
    Mutation("outdated table", "documents.tables", "docs/security.md", "a memory limit", "no memory limit", "the table controls is out of date", "made: controls"),
    Mutation("exception missing from the documentation", "documents.tables", POLICY, "reason: Resource usage of each", "reason: Resource usage of every", "the table exceptions is out of date", "made: exceptions"),
    Mutation("connection missing from the documentation", "documents.tables", MATRIX, "    from: [prometheus]\n", "    from: [prometheus, worker]\n", "the table connections is out of date", "made: connections"),
    Mutation("limit missing from the documentation", "documents.tables", PROD, "memory: 4G", "memory: 8G", "the table services is out of date", "made: services"),
)
# fmt: on
