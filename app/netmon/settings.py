"""Settings: read from the environment, validated together, never printed."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from netmon.client_address import TrustedProxies
from netmon.guard import Guard
from netmon.outbound import OutboundProxy, parse_exceptions, parse_login, proxy_url

TARGET_SECRETS_FOLDER = Path("/etc/target-secrets")
"""The folder of the secrets that headers of targets refer to, in the worker's container."""
LOG_LEVELS = ("debug", "info", "warning", "error")


_PROXY_URL, _PROXY_LOGIN, _PROXY_EXCEPTIONS = (f"PROBE_PROXY_{part}" for part in ("URL", "LOGIN", "EXCEPTIONS"))
_PROXY: Mapping[str, tuple[Callable[[str], object], str]] = {
    _PROXY_URL: (proxy_url, f"http://host:port, without a path or credentials: {_PROXY_LOGIN} names these"),
    _PROXY_LOGIN: (parse_login, "secret:NAME, where the file NAME in secrets/targets contains user:password"),
    _PROXY_EXCEPTIONS: (parse_exceptions, "a comma-separated list of domains, addresses and networks (192.0.2.0/24)"),
}
"""The settings of the proxy: how each is parsed and validated."""


class SettingsError(Exception):
    """The environment is incomplete or invalid; `problems` has one line per variable, without its value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings. URLs contain passwords and are therefore excluded from `repr`."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    rabbitmq_url: str = field(repr=False)
    kafka_brokers: tuple[str, ...]
    kafka_username: str | None
    kafka_password: str | None = field(repr=False)
    environment: str
    version: str
    log_level: str
    enable_metrics: bool
    port: int
    reload: bool
    probe_timeout_seconds: float
    worker_concurrency: int
    on_demand_probes_per_second: float
    client_requests_per_second: float
    """The limit of each client address; 0: none."""
    trusted_proxies: TrustedProxies
    results_retention_days: float
    status_page_alerts: bool
    guard: Guard
    prometheus_url: str
    alertmanager_url: str
    export_traces: bool
    api_token: str | None = field(repr=False)
    api_token_file: Path | None


def load(environ: Mapping[str, str], *, api: bool = False) -> Settings:
    """Read the settings from `environ`.

    Empty variables count as unset, since Compose passes `X: ${X:-}`.

    Args:
        environ: the environment.
        api: whether they are for the API, which requires a token for write access.

    Raises:
        SettingsError: names every variable that is missing or invalid.
    """
    reader = _Reader(environ)
    # Validated here, used by the SDK: the second one is for traces only and takes precedence.
    endpoints = [reader.http_url(f"OTEL_EXPORTER_OTLP_{part}ENDPOINT") for part in ("", "TRACES_")]
    kafka = reader.account("KAFKA")
    if (kafka.user is None) != (kafka.password is None):
        reader.problems.append("KAFKA_USER_FILE and KAFKA_PASSWORD_FILE must be set together: set both or neither")
    token_file = reader.token_file("API_TOKEN_FILE")
    token = None if token_file else reader.text("API_TOKEN", "") or None
    if api and not token_file and not token:
        reader.problems.append(
            "API_TOKEN_FILE is not set, nor is API_TOKEN: set one of them to the token for write access"
        )
    settings = Settings(
        database_url=reader.url(
            "DATABASE_URL", ("postgresql", "postgres"), reader.account("POSTGRES"), path_names="a database"
        ),
        redis_url=reader.url("REDIS_URL", ("redis", "rediss"), reader.account("REDIS")),
        rabbitmq_url=reader.url("RABBITMQ_URL", ("amqp", "amqps"), reader.account("RABBITMQ")),
        kafka_brokers=reader.brokers("KAFKA_BROKERS"),
        kafka_username=kafka.user,
        kafka_password=kafka.password,
        environment=reader.text("NODE_ENV", "production"),
        version=reader.text("APP_VERSION", "dev"),
        log_level=reader.choice("LOG_LEVEL", LOG_LEVELS, "info"),
        enable_metrics=reader.flag("ENABLE_METRICS", default=True),
        port=int(reader.number("PORT", 3000, low=1, high=65535)),
        reload=reader.flag("RELOAD", default=False),
        probe_timeout_seconds=reader.number("PROBE_TIMEOUT_SECONDS", 10, low=0.1, high=60),
        worker_concurrency=int(reader.number("WORKER_CONCURRENCY", 20, low=1, high=1000)),
        results_retention_days=reader.number("RESULTS_RETENTION_DAYS", 14, low=1, high=3650),
        on_demand_probes_per_second=reader.number("ON_DEMAND_PROBES_PER_SECOND", 50, low=0.1, high=10_000),
        client_requests_per_second=reader.number("CLIENT_REQUESTS_PER_SECOND", 0, low=0, high=10_000),
        trusted_proxies=reader.trusted_proxies("TRUSTED_PROXIES"),
        status_page_alerts=reader.flag("STATUS_PAGE_ALERTS", default=True),
        guard=replace(reader.guard("ALLOW_PRIVATE_TARGETS"), proxy=reader.proxy()),
        prometheus_url=reader.text("PROMETHEUS_URL", "http://prometheus:9090"),
        alertmanager_url=reader.text("ALERTMANAGER_URL", "http://alertmanager:9093"),
        export_traces=any(endpoints),
        api_token=token,
        api_token_file=token_file,
    )
    if reader.problems:
        raise SettingsError(reader.problems)
    return settings


@dataclass(frozen=True, slots=True)
class _Account:
    """The account of a service, from secret files; None without a file."""

    user: str | None
    password: str | None


class _Reader:
    """Reads variables and collects their problems, so that all of them can be reported together."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, name: str, default: str) -> str:
        return self._environ.get(name) or default

    def _required(self, name: str) -> str:
        value = self._environ.get(name, "")
        if not value:
            self.problems.append(f"{name} is not set")
        return value

    def http_url(self, name: str) -> str:
        """The URL of an HTTP server, or an empty string."""
        value = self.text(name, "")
        if not value:
            return ""
        try:
            parts = urlsplit(value)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid or "@" in value or re.search(r"\s", value):
            self.problems.append(f"{name} must be a URL http://host:port without credentials, or empty")
        return value

    def choice(self, name: str, known: tuple[str, ...], default: str) -> str:
        value = self.text(name, default).lower()
        if value not in known:
            self.problems.append(f"{name} must be one of {', '.join(known)}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.text(name, str(default)).lower()
        if value not in ("true", "false"):
            self.problems.append(f"{name} must be true or false")
        return value == "true"

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        try:
            value = float(self.text(name, str(default)))
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            self.problems.append(f"{name} must be a number from {low} to {high}")
            return default
        return value

    def guard(self, name: str) -> Guard:
        try:
            return Guard.parse(self.text(name, "false").strip())
        except ValueError:
            self.problems.append(f"{name} must be true, false or a comma-separated list of host:port")
            return Guard()

    def trusted_proxies(self, name: str) -> TrustedProxies:
        try:
            return TrustedProxies.parse(self.text(name, ""))
        except ValueError:
            self.problems.append(f"{name} must be a comma-separated list of host names, addresses and networks")
            return TrustedProxies()

    def proxy(self) -> OutboundProxy | None:
        """The proxy of HTTP targets; None if it is not set, or not valid."""
        values = {name: self.text(name, "").strip() for name in _PROXY}
        before = len(self.problems)
        for name, (parse, valid) in _PROXY.items():
            if values[name] and not values[_PROXY_URL]:
                self.problems.append(f"{name} is set without {_PROXY_URL}: set both or neither")
            elif values[name]:
                try:
                    parse(values[name])
                except ValueError:
                    self.problems.append(f"{name} must be {valid}")
        if not values[_PROXY_URL] or len(self.problems) > before:
            return None
        return OutboundProxy.parse(*values.values())

    def brokers(self, name: str) -> tuple[str, ...]:
        brokers = tuple(part.strip() for part in self._required(name).split(",") if part.strip())
        for broker in brokers:
            host, _, port = broker.rpartition(":")
            if not host or not port.isdecimal() or "/" in host:
                self.problems.append(f"{name} must be a comma-separated list of host:port")
                break
        return brokers

    def token_file(self, name: str) -> Path | None:
        """The path of a file with at least one token."""
        self._secret(name)
        path = self.text(name, "")
        return Path(path) if path else None

    def account(self, service: str) -> _Account:
        """The account in the files that `<service>_USER_FILE` and `<service>_PASSWORD_FILE` name."""
        return _Account(self._secret(f"{service}_USER_FILE"), self._secret(f"{service}_PASSWORD_FILE"))

    def url(self, name: str, schemes: tuple[str, ...], account: _Account, *, path_names: str = "") -> str:
        """The URL of a service; user and password of `account` replace those in the URL."""
        value = self._required(name)
        if not value:
            return ""
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:
            self.problems.append(f"{name} is not a valid URL (percent-encode special characters of the password)")
            return ""
        if parts.scheme not in schemes or not parts.hostname:
            self.problems.append(f"{name} must be a URL {schemes[0]}://user@host:port/…")
            return ""
        if path_names and not parts.path.strip("/"):
            self.problems.append(f"{name} must name {path_names}, as in {schemes[0]}://user@host:port/name")
            return ""
        user = unquote(parts.username or "") if account.user is None else account.user
        password = unquote(parts.password or "") if account.password is None else account.password
        credentials = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        netloc = f"{credentials}@" * bool(credentials) + host + (f":{port}" if port else "")
        return parts._replace(netloc=netloc).geturl()

    def _secret(self, name: str) -> str | None:
        path = self._environ.get(name)
        if not path:
            return None
        try:
            secret = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            self.problems.append(f"{name}: cannot read {path}: {reason}")
            return None
        if not secret.strip():
            self.problems.append(f"{name}: {path} is empty")
        return secret
