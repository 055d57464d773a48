"""Mutations of the repository's files, one line each: name, check, file, change, and the expected problem with its line.

``at`` is a part of the reported line; empty if the mutation removes the line.
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
    """A mistake: the first ``old`` in ``file`` becomes ``new``, and ``check`` must report ``problem``."""

    name: str
    check: str
    file: str
    old: str
    new: str
    problem: str
    at: str = ""


# fmt: off
MUTATIONS = (
    # Errors and warnings of Compose.
    Mutation("unknown key of a service", "layers.combinations", BASE, "    hostname: rabbitmq", "    hostnam: rabbitmq", "hostnam", "rabbitmq:"),
    Mutation("broken YAML", "layers.combinations", DEV, "services:", "services: [", "is not valid YAML"),
    Mutation("network that is not declared", "layers.combinations", BASE, "      - egress-network\n    depends_on", "      - egres-network\n    depends_on", "undefined network"),
    Mutation("volume that is not declared", "layers.combinations", BASE, "- redis_data:/data", "- redis:/data", "undefined volume"),
    Mutation("secret that is not declared", "layers.combinations", SECRETS, "      - redis_password\n", "      - redis_passwort\n", "undefined secret"),
    Mutation("dependency on an unknown service", "layers.combinations", BASE, "  kafka:\n    condition", "  kafak:\n    condition", "undefined service"),
    Mutation("dependency on an optional group", "layers.combinations", BASE, "&app-depends-on\n", "&app-depends-on\n  prometheus:\n    condition: service_started\n", "undefined service"),
    Mutation("variable without a default", "layers.combinations", BASE, "${LOG_LEVEL:-info}", "${LOG_LEVEL}", "LOG_LEVEL", "LOG_LEVEL"),
    Mutation("obsolete version", "layers.combinations", PROD, "services:", "version: \"3.8\"\nservices:", "version"),
    # Services.
    Mutation("no start_interval", "services.health", BASE, "  start_interval: 1s\n", "", "no start_interval"),
    Mutation("no start_period", "services.health", BASE, "  start_period: 60s\n", "", "no start_period"),
    Mutation("longer start period", "services.health", MONITORING_IMAGES, "      start_period: 60s\n", "      start_period: 90s\n", "victorialogs has a start_period other", "start_period"),
    Mutation("same interval of health checks", "services.intervals", MONITORING, "      interval: 29s\n", "      interval: 30s\n", "alertmanager and backup have the same interval, 30s"),
    Mutation("dependency on health without a health check", "services.dependencies", SECRETS, "  db:\n", "  db:\n    healthcheck:\n      disable: true\n", "waits for the health of db"),
    Mutation("log without the service's name", "services.logging", BASE, "    labels: com.docker.compose.project,com.docker.compose.service\n", "", "the log of app has no labels"),
    Mutation("more log files", "services.logging", MONITORING, '    max-file: "3"\n', '    max-file: "5"\n', "differs from x-logging"),
    # Images.
    Mutation("hard-coded registry", "images.registry", BASE, "${REGISTRY:-docker.io}/library/redis", "docker.io/library/redis", "REGISTRY", "library/redis"),
    Mutation("local image with another name", "images.registry", IMAGES, "image: netmon-local/redis", "image: redis", "not named netmon-local/", "image: redis"),
    Mutation("service that the local set forgets", "images.local", MONITORING_IMAGES, "  tempo:\n    profiles: !override [absent]\n", "", "tempo has neither a local image nor the profile absent", "grafana/tempo"),
    Mutation("image that runs as root", "supply.users", "app/Dockerfile", "USER 10001:10001", "USER root", "the image runs as root", "USER root"),
    Mutation("image without a user", "supply.users", "monitoring/kafka/Dockerfile", "USER 1000:1000\n", "", "the image runs as root", "FROM ${KAFKA_IMAGE}"),
    # Ports.
    Mutation("port in the base", "ports.published", BASE, "    networks:\n      - messaging-network\n    healthcheck", "    ports:\n      - \"15672:15672\"\n    networks:\n      - messaging-network\n    healthcheck", "may publish a port", "ports:"),
    Mutation("port in production", "ports.published", PROD, "  redis:\n", "  redis:\n    ports:\n      - \"${BIND_ADDRESS:-127.0.0.1}:${REDIS_PORT:-6379}:6379\"\n", "only proxy may publish a port", "ports:"),
    Mutation("proxy on every address", "ports.published", PROD, "${PROXY_BIND_ADDRESS:-127.0.0.1}:${PROXY_HTTP_PORT", "${PROXY_HTTP_PORT", "must be published as", "PROXY_HTTP_PORT"),
    Mutation("public proxy by default", "ports.published", PROD, "${PROXY_BIND_ADDRESS:-127.0.0.1}:${PROXY_HTTPS_PORT:-443}:8443/udp", "${PROXY_BIND_ADDRESS:-0.0.0.0}:${PROXY_HTTPS_PORT:-443}:8443/udp", "must be published as", "udp"),
    Mutation("published service without an address", "ports.addresses", MANIFEST, "    jaeger: Jaeger traces\n", "", "jaeger is published, but missing here", "addresses:"),
    Mutation("port on every address", "ports.published", DEV, "${BIND_ADDRESS:-127.0.0.1}:${APP_PORT", "${APP_PORT", "must be published as", "APP_PORT"),
    Mutation("public default address", "ports.published", DEV, "127.0.0.1}:${KAFKA_PORT", "0.0.0.0}:${KAFKA_PORT", "must be published as", "KAFKA_PORT"),
    Mutation("hard-coded port", "ports.published", DEV, "${PROMETHEUS_PORT:-9090}", "9090", "must be published as", "9090:9090"),
    Mutation("two services on one port", "ports.addresses", DEV, "${ALERTMANAGER_PORT:-9093}", "${ALERTMANAGER_PORT:-9090}", "9090 is already used by prometheus", "ALERTMANAGER_PORT"),
    # Mounts.
    Mutation("mount of a missing folder", "mounts.sources", BASE, "source: ./config/redis", "source: ./config/rediss", "rediss does not exist", "/etc/redis"),
    Mutation("mount of an ignored folder", "mounts.sources", BASE, "source: ./config/redis", "source: ./.netmon", "is not tracked by git", "/etc/redis"),
    Mutation("mount that the engine would create", "mounts.sources", BASE, "create_host_path: false", "create_host_path: true", "create_host_path", "/opt/netmon"),
    # Variables.
    Mutation("environment as a list", "environment.mappings", SECURITY, "  alertmanager:\n", "  alertmanager:\n    environment: [TZ=UTC]\n", "environment of alertmanager is not a mapping", "TZ=UTC"),
    Mutation("service that would use a proxy", "environment.proxies", MONITORING, "      <<: *no-proxy\n      # The keys of the channel sns", "      # The keys of the channel sns", "alertmanager lacks NO_PROXY"),
    Mutation("health check that would use a proxy", "environment.proxies", MONITORING, '"wget", "-Y", "off", "-q", "-T", "2", "-O", "/dev/null", "http://127.0.0.1:9093', '"wget", "-q", "-T", "2", "-O", "/dev/null", "http://127.0.0.1:9093', "the health check of alertmanager uses a proxy", "wget"),
    Mutation("required variable without a message", "environment.messages", BASE, "RABBITMQ_PASSWORD: ${RABBITMQ_PASSWORD:?run \"invoke setup\" first}", "RABBITMQ_PASSWORD: ${RABBITMQ_PASSWORD:?}", "has no error message", "RABBITMQ_PASSWORD"),
    Mutation("variable missing from the example", "environment.example", BASE, "${WORKER_REPLICAS:-1}", "${WORKERS:-1}", "WORKERS is missing from .env.example", "WORKERS"),
    Mutation("unused variable in the example", "environment.example", EXAMPLE, "WORKER_REPLICAS", "WORKER_REPLICA", "no compose file uses WORKER_REPLICA", "WORKER_REPLICA="),
    Mutation("wrong default in the example", "environment.example", EXAMPLE, "#GRAFANA_PORT=3001", "#GRAFANA_PORT=3000", "GRAFANA_PORT is 3000, but the default is 3001", "GRAFANA_PORT"),
    # Credentials.
    Mutation("secret missing from invoke.yaml", "credentials.definitions", MANIFEST, "    redis_password: {service: redis, user: admin}\n", "", "redis_password is missing"),
    Mutation("secret missing from the layer", "credentials.definitions", MANIFEST, "    redis_password: {", "    api_key: {service: redis, user: api}\n    redis_password: {", "has no secret api_key", "api_key"),
    Mutation("secret from another folder", "credentials.definitions", SECRETS, "./secrets/redis_password.txt", "./redis_password.txt", "is not read from ./secrets/redis_password.txt", "redis_password:"),
    Mutation("user file without a password", "credentials.accounts", MANIFEST, "{service: db, user_file: postgres_app_user}", "{service: db, user: netmon_a}", "no secret has postgres_app_user as its user_file", "postgres_app_user:"),
    Mutation("password of an unknown service", "credentials.accounts", MANIFEST, "{service: redis, user: admin}", "{service: reddis, user: admin}", "redis_password has the unknown service reddis", "redis_password:"),
    Mutation("password without a user", "credentials.accounts", MANIFEST, "{service: redis, user: admin}", "{service: redis}", "redis_password must have a user", "redis_password:"),
    Mutation("token with a user", "credentials.accounts", MANIFEST, "{service: app, token: true}", "{service: app, token: true, user: admin}", "api_token must have a user or a user_file, or be a token", "api_token:"),
    Mutation("secret without a user or token", "credentials.accounts", MANIFEST, "{service: app, token: true}", "{service: app}", "api_token must have a user", "api_token:"),
    Mutation("token in the environment of production", "credentials.exposure", SECRETS, '      API_TOKEN: ""\n', "", "app shows a password in environment.API_TOKEN"),
    Mutation("user_file that is not one", "credentials.accounts", MANIFEST, "user_file: postgres_app_user", "user_file: redis_password", "has no users", "postgres_app_password:"),
    Mutation("variable that setup does not write", "credentials.required_variables", BASE, "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?", "POSTGRES_PASSWORD: ${POSTGRES_PASSWORT:?", "invoke.yaml has no secret postgres_passwort", "POSTGRES_PASSWORT"),
    Mutation("mounted secret that is not used", "credentials.mounts", SECRETS, "      - postgres_monitoring_password\n\n  redis-exporter:", "      - postgres_monitoring_password\n      - redis_password\n\n  redis-exporter:", "postgres-exporter mounts redis_password, but does not use it"),
    Mutation("used secret that is not mounted", "credentials.mounts", SECRETS, "  - postgres_app_user\n", "", "worker uses postgres_app_user, but does not mount it"),
    Mutation("password left in production", "credentials.exposure", SECRETS, "      REDIS_PASSWORD: !reset null\n", "", "redis shows a password"),
    Mutation("password in a URL", "credentials.exposure", SECRETS, "postgresql://db", "postgresql://netmon:netmon@db", "app shows a password in environment.DATABASE_URL", "postgresql://"),
    Mutation("password in a command", "credentials.exposure", BASE, "command: [\"worker\"]", "command: [\"worker\", \"${REDIS_PASSWORD:?run invoke setup}\"]", "worker shows a password in command.1", "command"),
    Mutation("password in a compose file", "credentials.exposure", PROD, "&prod-environment\n", "&prod-environment\n  ADMIN_PASSWORD: letmein\n", "app has a password in its environment", "ADMIN_PASSWORD"),
    # Isolation.
    Mutation("fixed container name", "isolation.coupling", PROD, "  redis:\n", "  redis:\n    container_name: redis\n", "must not have container_name", "container_name"),
    # Networks and volumes.
    Mutation("service on the default network", "resources.networks", DEV, "  smoke:\n", "  smoke:\n    networks: !reset null\n", "smoke has no networks", "networks"),
    Mutation("unused network", "resources.networks", BASE, "networks:\n  #", "networks:\n  spare-network:\n    driver: bridge\n  #", "no service uses spare-network", "spare-network"),
    Mutation("unused volume", "resources.volumes", BASE, "volumes:\n  postgres_data:\n", "volumes:\n  postgres_data:\n  spare_data:\n", "no service uses spare_data", "spare_data"),
    # invoke.yaml.
    Mutation("unknown layer", "manifest.files", MANIFEST, "      - images/compose.yml", "      - image/compose.yml", "image/compose.yml is not tracked by git", "image/compose.yml"),
    Mutation("unused layer", "manifest.files", MANIFEST, "      - docker-compose.security.yml\n", "", "no profile and no group of invoke.yaml uses this layer"),
    Mutation("unknown group", "manifest.groups", MONITORING, "profiles: [monitoring]", "profiles: [observability]", "is in the group observability", "observability"),
    Mutation("group without a service", "manifest.groups", MANIFEST, "  groups:\n", "  groups:\n    tracing: {about: Traces}\n", "no service is in the group tracing", "tracing"),
    Mutation("address of an unknown service", "ports.addresses", MANIFEST, "    prometheus: Prometheus", "    prometeus: Prometheus", "no layer publishes prometeus", "prometeus"),
    Mutation("unknown secrets layer", "manifest.files", MANIFEST, "secrets_layer: docker-compose.secrets.yml", "secrets_layer: docker-compose.secret.yml", "docker-compose.secret.yml is not a layer of any profile", "secrets_layer"),
    Mutation("unknown publishing layer", "manifest.files", MANIFEST, "docker-compose.dev.yml: BIND", "docker-compose.devel.yml: BIND", "docker-compose.devel.yml is not a layer of any profile", "BIND_ADDRESS"),
    Mutation("timeout in words", "manifest.timeouts", MANIFEST, "smoke: 60", "smoke: soon", "soon is not a number of seconds", "smoke: soon"),
    # Style.
    Mutation("keys in another order", "style.key_order", BASE, "    restart: unless-stopped\n    # For the flush of the append-only file.\n    stop_grace_period: 30s\n", "    stop_grace_period: 30s\n    restart: unless-stopped\n", "restart must come before stop_grace_period", "restart"),
    Mutation("key missing from the order", "style.key_order", PROD, "  redis:\n", "  redis:\n    mac_address: 02:42:ac:11:00:02\n", "mac_address is missing from the order of keys", "mac_address"),
    Mutation("file without a header", "style.headers", ALERTMANAGER, "# Alertmanager: ", "route_: ", "has no header comment"),
)
LOCK_MUTATIONS = (
    Mutation("lock of another tag", "supply.locks", LOCK, "redis:8.10.2-alpine@", "redis:8.0.0-alpine@", "is locked, but docker-compose.yml names ${REGISTRY:-docker.io}/library/redis:8.10.2", "redis:8.0.0"),
    Mutation("lock without a digest", "supply.locks", LOCK, "redis:8.10.2-alpine@sha256:00", "redis:8.10.2-alpine@sha256:zz", "has no digest", "sha256:zz"),
    Mutation("lock of an unknown service", "supply.locks", LOCK, "  db:\n", "  database:\n", "services.database.image is not an image of docker-compose.yml", "image:"),
    Mutation("lock with another key", "supply.locks", LOCK, "  db:\n", "  db:\n    privileged: true\n", "services.db.privileged is not an image", "privileged"),
    Mutation("image missing from the lock", "supply.locks", BASE, "MAVEN_IMAGE: ", "JDK_IMAGE: ${REGISTRY:-docker.io}/library/jdk:21\n        MAVEN_IMAGE: ", "library/jdk:21 is missing from images.lock", "JDK_IMAGE"),
)
# fmt: on
