"""Seeded mistakes, one line each: what is wrong, the check that must see it, the file, the change, what is said, where.

``at`` is a part of the line that must be named; empty where the mistake is that something is missing altogether.
"""

from __future__ import annotations

from typing import NamedTuple

BASE, DEV, PROD = "docker-compose.yml", "docker-compose.dev.yml", "docker-compose.prod.yml"
SECRETS, SECURITY = "docker-compose.secrets.yml", "docker-compose.security.yml"
MONITORING = "docker-compose.monitoring.yml"
IMAGES, MONITORING_IMAGES = "images/compose.yml", "images/compose.monitoring.yml"
LOCK = "images.lock"
MANIFEST, EXAMPLE = "invoke.yaml", ".env.example"
PROMETHEUS, ALERTMANAGER = "monitoring/prometheus/prometheus.yml", "monitoring/alertmanager/alertmanager.yml"


class Mutation(NamedTuple):
    """One mistake: ``old`` in ``file`` becomes ``new``, where it stands first."""

    name: str
    check: str
    file: str
    old: str
    new: str
    says: str
    at: str = ""


# fmt: off
MUTATIONS = (
    # Compose refuses it, or warns.
    Mutation("unknown key of a service", "layers.combinations", BASE, "    hostname: rabbitmq", "    hostnam: rabbitmq", "hostnam", "rabbitmq:"),
    Mutation("broken YAML", "layers.combinations", DEV, "services:", "services: [", "is not valid YAML"),
    Mutation("network that is not declared", "layers.combinations", BASE, "      - egress-network\n    depends_on", "      - egres-network\n    depends_on", "undefined network"),
    Mutation("volume that is not declared", "layers.combinations", BASE, "- redis_data:/data", "- redis:/data", "undefined volume"),
    Mutation("secret that is not declared", "layers.combinations", SECRETS, "      - redis_password\n", "      - redis_passwort\n", "undefined secret"),
    Mutation("dependency on nothing", "layers.combinations", BASE, "  kafka:\n    condition", "  kafak:\n    condition", "undefined service"),
    Mutation("dependency on a group that can be off", "layers.combinations", BASE, "&app-depends-on\n", "&app-depends-on\n  prometheus:\n    condition: service_started\n", "undefined service"),
    Mutation("variable without a default", "layers.combinations", BASE, "${LOG_LEVEL:-info}", "${LOG_LEVEL}", "LOG_LEVEL", "LOG_LEVEL"),
    Mutation("obsolete version", "layers.combinations", PROD, "services:", "version: \"3.8\"\nservices:", "version"),
    # Services.
    Mutation("no start_interval", "services.health", BASE, "  start_interval: 1s\n", "", "no start_interval"),
    Mutation("no start_period", "services.health", BASE, "  start_period: 60s\n", "", "no start_period"),
    Mutation("start that may take longer", "services.health", MONITORING_IMAGES, "      start_period: 60s\n", "      start_period: 90s\n", "victorialogs has another start_period", "start_period"),
    Mutation("waits for health that nobody checks", "services.dependencies", SECRETS, "  db:\n", "  db:\n    healthcheck:\n      disable: true\n", "waits for the health of db"),
    Mutation("log without the service's name", "services.logging", BASE, "    labels: com.docker.compose.project,com.docker.compose.service\n", "", "the log of app has no labels"),
    Mutation("log that is kept longer", "services.logging", MONITORING, '    max-file: "3"\n', '    max-file: "5"\n', "is not that of x-logging"),
    # Images.
    Mutation("registry that cannot be replaced", "images.registry", BASE, "${REGISTRY:-docker.io}/library/redis", "docker.io/library/redis", "REGISTRY", "library/redis"),
    Mutation("local image with a foreign name", "images.registry", IMAGES, "image: netmon-local/redis", "image: redis", "not named netmon-local/", "image: redis"),
    Mutation("service that the local set forgets", "images.local", MONITORING_IMAGES, "  tempo:\n    profiles: !override [absent]\n", "", "tempo has neither a local image nor the profile absent", "grafana/tempo"),
    Mutation("image that runs as root", "supply.unprivileged", "app/Dockerfile", "USER 10001:10001", "USER root", "the image runs as root", "USER root"),
    Mutation("image without a user", "supply.unprivileged", "monitoring/kafka/Dockerfile", "USER 1000:1000\n", "", "the image runs as root", "FROM ${KAFKA_IMAGE}"),
    # Ports.
    Mutation("port in the base", "ports.published", BASE, "    networks:\n      - messaging-network\n    healthcheck", "    ports:\n      - \"15672:15672\"\n    networks:\n      - messaging-network\n    healthcheck", "may publish a port", "ports:"),
    Mutation("port in production", "ports.published", PROD, "  redis:\n", "  redis:\n    ports:\n      - \"${BIND_ADDRESS:-127.0.0.1}:${REDIS_PORT:-6379}:6379\"\n", "only proxy may publish a port", "ports:"),
    Mutation("proxy on every address", "ports.published", PROD, "${PROXY_BIND_ADDRESS:-127.0.0.1}:${PROXY_HTTP_PORT", "${PROXY_HTTP_PORT", "is published as", "PROXY_HTTP_PORT"),
    Mutation("proxy that is public by default", "ports.published", PROD, "${PROXY_BIND_ADDRESS:-127.0.0.1}:${PROXY_HTTPS_PORT:-443}:8443/udp", "${PROXY_BIND_ADDRESS:-0.0.0.0}:${PROXY_HTTPS_PORT:-443}:8443/udp", "is published as", "udp"),
    Mutation("published service without an address", "ports.addresses", MANIFEST, "    jaeger: Jaeger traces\n", "", "jaeger is published, and missing here", "addresses:"),
    Mutation("port on every address", "ports.published", DEV, "${BIND_ADDRESS:-127.0.0.1}:${APP_PORT", "${APP_PORT", "is published as", "APP_PORT"),
    Mutation("public default address", "ports.published", DEV, "127.0.0.1}:${KAFKA_PORT", "0.0.0.0}:${KAFKA_PORT", "is published as", "KAFKA_PORT"),
    Mutation("port that cannot be chosen", "ports.published", DEV, "${PROMETHEUS_PORT:-9090}", "9090", "is published as", "9090:9090"),
    Mutation("two services on one port", "ports.addresses", DEV, "${ALERTMANAGER_PORT:-9093}", "${ALERTMANAGER_PORT:-9090}", "9090 is taken by prometheus", "ALERTMANAGER_PORT"),
    # Mounts.
    Mutation("mount of a missing folder", "mounts.sources", BASE, "source: ./config/redis", "source: ./config/rediss", "rediss does not exist", "/etc/redis"),
    Mutation("mount of a folder that git ignores", "mounts.sources", BASE, "source: ./config/redis", "source: ./.netmon", "is not tracked by git", "/etc/redis"),
    Mutation("mount that the engine would make", "mounts.sources", BASE, "create_host_path: false", "create_host_path: true", "create_host_path", "/opt/netmon"),
    # Variables.
    Mutation("environment as a list", "environment.mappings", SECURITY, "  alertmanager:\n", "  alertmanager:\n    environment: [TZ=UTC]\n", "environment of alertmanager is not a mapping", "TZ=UTC"),
    Mutation("requirement without advice", "environment.messages", BASE, "RABBITMQ_PASSWORD: ${RABBITMQ_PASSWORD:?run \"invoke setup\" first}", "RABBITMQ_PASSWORD: ${RABBITMQ_PASSWORD:?}", "does not say what to do", "RABBITMQ_PASSWORD"),
    Mutation("variable that the example lacks", "environment.example", BASE, "${WORKER_REPLICAS:-1}", "${WORKERS:-1}", "WORKERS is missing in .env.example", "WORKERS"),
    Mutation("example of an unused variable", "environment.example", EXAMPLE, "WORKER_REPLICAS", "WORKER_REPLICA", "no compose file uses WORKER_REPLICA", "WORKER_REPLICA="),
    Mutation("default that the example has wrong", "environment.example", EXAMPLE, "#GRAFANA_PORT=3001", "#GRAFANA_PORT=3000", "GRAFANA_PORT is 3000 here, and 3001 by default", "GRAFANA_PORT"),
    # Credentials.
    Mutation("secret that is not in invoke.yaml", "credentials.declared", MANIFEST, "    redis_password: {service: redis, user: admin}\n", "", "redis_password is missing"),
    Mutation("secret that is not in the layer", "credentials.declared", MANIFEST, "    redis_password: {", "    api_key: {service: redis, user: api}\n    redis_password: {", "has no secret api_key", "api_key"),
    Mutation("secret from elsewhere", "credentials.declared", SECRETS, "./secrets/redis_password.txt", "./redis_password.txt", "is not read from ./secrets/redis_password.txt", "redis_password:"),
    Mutation("user of no password", "credentials.accounts", MANIFEST, "{service: db, user_file: postgres_app_user}", "{service: db, user: netmon_a}", "postgres_app_user names the user of no password", "postgres_app_user:"),
    Mutation("password of no service", "credentials.accounts", MANIFEST, "{service: redis, user: admin}", "{service: reddis, user: admin}", "redis_password is of no service", "redis_password:"),
    Mutation("password of nobody", "credentials.accounts", MANIFEST, "{service: redis, user: admin}", "{service: redis}", "redis_password must have a user", "redis_password:"),
    Mutation("token of somebody", "credentials.accounts", MANIFEST, "{service: app, token: true}", "{service: app, token: true, user: admin}", "api_token must have a user or a user_file, or be a token", "api_token:"),
    Mutation("token of nothing", "credentials.accounts", MANIFEST, "{service: app, token: true}", "{service: app}", "api_token must have a user", "api_token:"),
    Mutation("token in the environment of production", "credentials.hidden", SECRETS, '      API_TOKEN: ""\n', "", "app shows a password in environment.API_TOKEN"),
    Mutation("user from a file of none", "credentials.accounts", MANIFEST, "user_file: postgres_app_user", "user_file: redis_password", "has no users", "postgres_app_password:"),
    Mutation("variable that set-up does not write", "credentials.supplied", BASE, "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?", "POSTGRES_PASSWORD: ${POSTGRES_PASSWORT:?", "invoke.yaml has no secret postgres_passwort", "POSTGRES_PASSWORT"),
    Mutation("secret for whom it is not", "credentials.granted", SECRETS, "      - postgres_monitoring_password\n\n  redis-exporter:", "      - postgres_monitoring_password\n      - redis_password\n\n  redis-exporter:", "postgres-exporter has redis_password and is not told to read it"),
    Mutation("secret that is not given", "credentials.granted", SECRETS, "  - postgres_app_user\n", "", "worker is told to read postgres_app_user and does not have it"),
    Mutation("password left in production", "credentials.hidden", SECRETS, "      REDIS_PASSWORD: !reset null\n", "", "redis shows a password"),
    Mutation("password in a URL", "credentials.hidden", SECRETS, "postgresql://db", "postgresql://netmon:netmon@db", "app shows a password in environment.DATABASE_URL", "postgresql://"),
    Mutation("password in a command", "credentials.hidden", BASE, "command: [\"worker\"]", "command: [\"worker\", \"${REDIS_PASSWORD:?run invoke setup}\"]", "worker shows a password in command.1", "command"),
    Mutation("password written down", "credentials.hidden", PROD, "&prod-environment\n", "&prod-environment\n  ADMIN_PASSWORD: letmein\n", "app has a password in its environment", "ADMIN_PASSWORD"),
    # Isolation.
    Mutation("fixed name", "isolation.coupling", PROD, "  redis:\n", "  redis:\n    container_name: redis\n", "must not have container_name", "container_name"),
    # Networks and volumes.
    Mutation("service on the default network", "resources.networks", DEV, "  smoke:\n", "  smoke:\n    networks: !reset null\n", "smoke names no network", "networks"),
    Mutation("network that nobody joins", "resources.networks", BASE, "networks:\n  #", "networks:\n  spare-network:\n    driver: bridge\n  #", "no service uses spare-network", "spare-network"),
    Mutation("volume that nobody mounts", "resources.volumes", BASE, "volumes:\n  postgres_data:\n", "volumes:\n  postgres_data:\n  spare_data:\n", "no service uses spare_data", "spare_data"),
    # invoke.yaml.
    Mutation("layer that does not exist", "manifest.files", MANIFEST, "      - images/compose.yml", "      - image/compose.yml", "image/compose.yml is not tracked by git", "image/compose.yml"),
    Mutation("layer that no profile uses", "manifest.files", MANIFEST, "      - docker-compose.security.yml\n", "", "no profile and no group of invoke.yaml uses this layer"),
    Mutation("group that invoke.yaml does not know", "manifest.groups", MONITORING, "profiles: [monitoring]", "profiles: [observability]", "is in the group observability", "observability"),
    Mutation("group without a service", "manifest.groups", MANIFEST, "  groups:\n", "  groups:\n    tracing: {about: Traces}\n", "no service is in the group tracing", "tracing"),
    Mutation("address of an unknown service", "ports.addresses", MANIFEST, "    prometheus: Prometheus", "    prometeus: Prometheus", "no layer publishes prometeus", "prometeus"),
    Mutation("secrets layer that no profile has", "manifest.files", MANIFEST, "secrets_layer: docker-compose.secrets.yml", "secrets_layer: docker-compose.secret.yml", "docker-compose.secret.yml is the layer of no profile", "secrets_layer"),
    Mutation("publishing layer that no profile has", "manifest.files", MANIFEST, "docker-compose.dev.yml: BIND", "docker-compose.devel.yml: BIND", "docker-compose.devel.yml is the layer of no profile", "BIND_ADDRESS"),
    Mutation("time-out in words", "manifest.timeouts", MANIFEST, "smoke: 60", "smoke: soon", "soon is not a number of seconds", "smoke: soon"),
    # Style.
    Mutation("keys in another order", "style.key_order", BASE, "    restart: unless-stopped\n    # For the flush of the append-only file.\n    stop_grace_period: 30s\n", "    stop_grace_period: 30s\n    restart: unless-stopped\n", "restart stands before stop_grace_period", "restart"),
    Mutation("key that the order lacks", "style.key_order", PROD, "  redis:\n", "  redis:\n    mac_address: 02:42:ac:11:00:02\n", "does not know mac_address", "mac_address"),
    Mutation("file without a header", "style.headers", ALERTMANAGER, "# Alertmanager: ", "route_: ", "has no header comment"),
)
LOCK_MUTATIONS = (
    Mutation("lock of another tag", "supply.locked", LOCK, "redis:8.10.2-alpine@", "redis:8.0.0-alpine@", "is locked, but docker-compose.yml names ${REGISTRY:-docker.io}/library/redis:8.10.2", "redis:8.0.0"),
    Mutation("lock without a digest", "supply.locked", LOCK, "redis:8.10.2-alpine@sha256:00", "redis:8.10.2-alpine@sha256:zz", "has no digest", "sha256:zz"),
    Mutation("lock of a service that is gone", "supply.locked", LOCK, "  db:\n", "  database:\n", "services.database.image is no image that docker-compose.yml names", "image:"),
    Mutation("more than images in a lock", "supply.locked", LOCK, "  db:\n", "  db:\n    privileged: true\n", "services.db.privileged is no image", "privileged"),
    Mutation("image that is not locked", "supply.locked", BASE, "MAVEN_IMAGE: ", "JDK_IMAGE: ${REGISTRY:-docker.io}/library/jdk:21\n        MAVEN_IMAGE: ", "library/jdk:21 is missing in images.lock", "JDK_IMAGE"),
)
# fmt: on
