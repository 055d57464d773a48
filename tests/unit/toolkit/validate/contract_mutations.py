"""Mutations that break the contracts of the published images."""

from __future__ import annotations

from tests.unit.toolkit.validate.mutations import BASE, MONITORING, SECRETS, SECURITY, Mutation

REDIS, POSTGRES, KAFKA = "images/redis/contract.yml", "images/postgres/contract.yml", "images/kafka/contract.yml"
SCRIPTS = "scripts/container"
REDIS_START = f"{SCRIPTS}/redis-entrypoint.sh"
REDIS_SERVER = "exec redis-server /etc/redis/redis.conf - <<CONFIG"
WAITING = "    depends_on:\n      kafka:\n        condition: service_healthy\n"

# fmt: off
CONTRACT_MUTATIONS = (
    # The contracts themselves.
    Mutation("contract of an unused image", "contracts.coverage", REDIS, "services: [redis]", "services: [worker]", "worker neither runs a published image", "services:"),
    Mutation("image without a contract", "contracts.coverage", REDIS, "services: [redis]", "services: [db]", "the image of redis has no contract", "library/redis"),
    Mutation("two contracts of one image", "contracts.coverage", REDIS, "services: [redis]", "services: [db]", "is a contract of the same image", "services:"),
    Mutation("base of a build without a contract", "contracts.coverage", "images/maven/contract.yml", "MAVEN_IMAGE", "JAVA_IMAGE", "kafka neither runs a published image", "services:"),
    Mutation("contract of another tag", "contracts.coverage", BASE, "library/redis:8.10.2-alpine", "library/redis:8.12.0-alpine", "read its upstream files", "image:"),
    Mutation("contract without its source", "contracts.coverage", REDIS, "commit: 28f6133117466918fd5ca864f8e06fa6f7dbf4e3", "commit: main", "'main' does not match", "commit: main"),
    Mutation("contract with a misspelt key", "contracts.coverage", REDIS, "writes:", "write:", "'write' was unexpected"),
    Mutation("contract with half a mode", "contracts.coverage", REDIS, '"0755"', '"755"', "is not valid", "/data"),
    # Programs.
    Mutation("wrapper with a tool that the image lacks", "contracts.programs", REDIS_START, "umask 077\n", "umask 077\ncurl -fsS http://app:3000/\n", "redis starts curl, which its image does not have", "curl"),
    Mutation("tool that the image lacks in an assignment", "contracts.programs", f"{SCRIPTS}/redis-health.sh", "| timeout 2 redis-cli", "| jq . | timeout 2 redis-cli", "redis starts jq", "jq"),
    Mutation("tool that the image lacks, started by another", "contracts.programs", f"{SCRIPTS}/redis-health.sh", "timeout 2 redis-cli", "timeout 2 valkey-cli", "redis starts valkey-cli", "valkey-cli"),
    Mutation("tool in a shared script that one image lacks", "contracts.programs", f"{SCRIPTS}/credential.sh", '|| cat "$(', '|| jq . "$(', "kafka-exporter starts jq", "jq"),
    Mutation("bash in an image without it", "contracts.programs", f"{SCRIPTS}/redis-health.sh", "#!/bin/sh", "#!/usr/bin/env bash", "redis starts bash, which its image does not have", "bash"),
    Mutation("shell in an image without one", "contracts.programs", MONITORING, '["CMD", "/tempo", "-health"]', '["CMD-SHELL", "/tempo -health"]', "tempo starts /bin/sh, which its image does not have", "CMD-SHELL"),
    Mutation("bash test in an sh script", "contracts.programs", f"{SCRIPTS}/postgres-health.sh", "export PGCONNECT_TIMEOUT", "[[ -n $user ]]\nexport PGCONNECT_TIMEOUT", "db starts [[", "[["),
    Mutation("health check with a client that the image lacks", "contracts.programs", MONITORING, '["CMD", "/usr/bin/loki", "-health"]', '["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:3100/ready"]', "loki starts wget", "wget"),
    Mutation("renamed entry script in a wrapper", "contracts.programs", f"{SCRIPTS}/postgres-entrypoint.sh", 'exec docker-entrypoint.sh "$@"', 'exec entrypoint.sh "$@"', "db starts entrypoint.sh", "entrypoint.sh"),
    Mutation("program at another path", "contracts.programs", f"{SCRIPTS}/kafka-exporter-entrypoint.sh", "exec /bin/kafka_exporter", "exec /kafka_exporter", "kafka-exporter starts /kafka_exporter", "exec"),
    Mutation("renamed entry point in a contract", "contracts.programs", "images/prometheus/contract.yml", "programs: [/bin/prometheus,", "programs: [/usr/local/bin/prometheus,", "prometheus starts /bin/prometheus"),
    Mutation("no client at all for a health check", "contracts.programs", "images/python/contract.yml", "programs: [bash, python, sh, sleep]", "programs: [python, sh, sleep]", "has none of bash, curl, node, python3, wget"),
    Mutation("program named by a variable", "contracts.programs", f"{SCRIPTS}/redis-exporter-entrypoint.sh", "exec /redis_exporter", 'exec "$EXPORTER"', "redis-exporter starts a program whose name is not in the script", "EXPORTER"),
    Mutation("unused tool of a contract", "contracts.programs", REDIS, "programs: [cat,", "programs: [jq, cat,", "no service starts jq", "jq"),
    Mutation("unused tool of the tasks", "contracts.programs", REDIS, "tasks: [cat,", "tasks: [valkey-cli, cat,", "no task starts valkey-cli", "valkey-cli"),
    Mutation("unused script", "contracts.programs", "images/rabbitmq/contract.yml", "tasks: [/opt/netmon/rabbitmq-login.sh, ", "tasks: [", "is started by no service and no task", "#!/usr/bin/env bash"),
    Mutation("script with a syntax error", "contracts.programs", f"{SCRIPTS}/kafka-health.sh", "\nfi\n", "\n", "is not a valid shell script"),
    # Arguments.
    Mutation("standard input behind the entry script", "contracts.arguments", REDIS_START, "exec redis-server", "exec docker-entrypoint.sh redis-server", "redis does not start: the entry script appends", "docker-entrypoint.sh"),
    Mutation("argument after the standard input", "contracts.arguments", REDIS_START, REDIS_SERVER, REDIS_SERVER.replace(" <<", " --loglevel notice <<"), "its last argument only", "redis-server"),
    Mutation("standard input in the compose file", "contracts.arguments", BASE, '["/opt/netmon/redis-entrypoint.sh"]', '["docker-entrypoint.sh", "redis-server", "/etc/redis/redis.conf", "-"]', "redis does not start", "entrypoint:"),
    # Variables.
    Mutation("variable that the entry script refuses", "contracts.variables", BASE, "      RABBITMQ_CONFIG_FILES:", "      RABBITMQ_DEFAULT_PASS_FILE: /run/secrets/rabbitmq_password\n      RABBITMQ_CONFIG_FILES:", "the entry script of rabbitmq exits on RABBITMQ_DEFAULT_PASS_FILE", "RABBITMQ_DEFAULT_PASS_FILE"),
    Mutation("password that the entry script exports", "contracts.variables", SECRETS, "GF_SECURITY_ADMIN_PASSWORD: $$__file{/run/secrets/grafana_admin_password}", "GF_SECURITY_ADMIN_PASSWORD__FILE: /run/secrets/grafana_admin_password", "exports the content of GF_SECURITY_ADMIN_PASSWORD__FILE into the environment", "__FILE"),
    Mutation("entry script without its wrapper", "contracts.variables", BASE, '    entrypoint: ["/opt/netmon/postgres-entrypoint.sh"]\n', "", "exports the content of POSTGRES_PASSWORD_FILE into the environment", "POSTGRES_PASSWORD_FILE"),
    # Dependencies.
    Mutation("missing dependency", "contracts.dependencies", MONITORING, WAITING, "", "kafka-exporter exits without kafka"),
    Mutation("dependency without its health", "contracts.dependencies", MONITORING, WAITING, WAITING.replace("healthy", "started"), "does not wait for it to be healthy", "kafka:"),
    # Users.
    Mutation("account with another group", "contracts.users", BASE, 'user: "999:1000"', 'user: "999:999"', "the account redis of its image is 999:1000", "999:999"),
    # Folders.
    Mutation("user without write access to the volume", "contracts.writable", BASE, 'user: "999:1000"', 'user: "1001:1001"', "redis cannot write to /data: the owner of the volume is 999:1000", "/data"),
    Mutation("user without write access to a folder", "contracts.writable", MONITORING, '    user: "472:0"', '    user: "472:0"\n    tmpfs: ["/tmp:mode=0755,size=1m"]', "grafana cannot write to /tmp"),
    Mutation("volume of another user", "contracts.writable", "images/tempo/contract.yml", '"10001:10001", mode', '"0:0", mode', "tempo cannot write to /var/tempo", "/var/tempo"),
    Mutation("volume without write access", "contracts.writable", "images/caddy/contract.yml", '"1777"', '"0755"', "proxy cannot write to /data/caddy", "proxy_data"),
    Mutation("volume at another path", "contracts.writable", MONITORING, "loki_data:/loki", "loki_data:/var/lib/loki", "has no entry in writes for /var/lib/loki", "/var/lib/loki"),
    Mutation("tmpfs of another user", "contracts.writable", BASE, "/run/rabbitmq:uid=100,gid=101", "/run/rabbitmq:uid=999,gid=999", "rabbitmq cannot write /run/rabbitmq/definitions.json", "definitions.json"),
    Mutation("read-only volume", "contracts.writable", MONITORING, "loki_data:/loki\n", "loki_data:/loki:ro\n", "loki cannot write to /loki: it is mounted read-only"),
    Mutation("writable volume without an entry", "contracts.writable", MONITORING, "        read_only: true\n        volume:\n", "        volume:\n", "images/node-exporter/contract.yml has no entry in writes for /host/var/lib/docker"),
    Mutation("read-only tmpfs", "contracts.writable", SECURITY, "/opt/kafka/config:uid=1000,gid=1000,mode=0755", "/opt/kafka/config:uid=1000,gid=1000,mode=0555", "kafka cannot write to /opt/kafka/config"),
    Mutation("read-only root without a tmpfs", "contracts.writable", SECURITY, "      - /var/run/postgresql:uid=999,gid=999,mode=0775,size=1m\n", "", "db cannot write to /var/run/postgresql: the root file system is read-only"),
    Mutation("wrapper that writes outside its tmpfs", "contracts.writable", f"{SCRIPTS}/redis-exporter-entrypoint.sh", ">/run/redis-exporter/passwords.json", ">/var/lib/passwords.json", "redis-exporter cannot write /var/lib/passwords.json: no volume or tmpfs at that path", "/var/lib"),
    # Volumes.
    Mutation("declared volume without a mount", "contracts.volumes", REDIS, "volumes: [/data]", "volumes: [/data, /modules]", "redis gets an anonymous volume at /modules"),
    Mutation("volume below the declared one", "contracts.volumes", MONITORING, "prometheus_data:/prometheus\n", "prometheus_data:/prometheus/data\n", "prometheus gets an anonymous volume at /prometheus"),
    Mutation("declared volume covered only in production", "contracts.volumes", BASE, "      - /etc/kafka/secrets:mode=0555,size=4k\n", "      - /etc/kafka/certificates:mode=0555,size=4k\n", "kafka gets an anonymous volume at /etc/kafka/secrets"),
    # Log files.
    Mutation("log files of the garbage collector", "contracts.logs", BASE, "KAFKA_GC_LOG_OPTS", "KAFKA_GC_LOGGING_OPTS", "kafka writes unbounded log files of the garbage collector"),
    Mutation("configuration of the log at a wrong path", "contracts.logs", BASE, "target: /mnt/shared/config", "target: /opt/kafka/shared", "kafka writes unbounded log files of the broker"),
    # Local images.
    Mutation("local image with another entry point", "dockerfiles.contract", REDIS, "entrypoint: [docker-entrypoint.sh]", "entrypoint: [entrypoint.sh]", "ENTRYPOINT is docker-entrypoint.sh, but entrypoint.sh in", "ENTRYPOINT"),
    Mutation("local image without a volume", "dockerfiles.contract", "images/jaeger/Dockerfile", "VOLUME /tmp\n", "", "VOLUME is missing, but /tmp in"),
    Mutation("local image with another user", "dockerfiles.contract", POSTGRES, 'config: {user: "999:999"}', 'config: {user: "70:70"}', "USER is 999:999, but 70:70 in", "USER"),
    Mutation("local image without the signal", "dockerfiles.contract", "images/postgres/Dockerfile", "STOPSIGNAL SIGINT\n", "", "STOPSIGNAL is SIGTERM, but SIGINT in"),
    Mutation("local image without a port", "dockerfiles.contract", "images/caddy/Dockerfile", "443/udp ", "", "EXPOSE lacks 443/udp"),
    Mutation("local image without a variable", "dockerfiles.contract", POSTGRES, "LANG: en_US.utf8", "LANG: C.UTF-8", "ENV LANG is not C.UTF-8"),
)
# fmt: on
