"""Rules on operation: image, limits, logging, published ports, restarts and health."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address

from toolkit.engine.health import HEALTH_URL
from toolkit.policy.rule import Service, Violation
from toolkit.policy.running import Container

PINNED = re.compile(r"^[\w./:-]*/?[\w.-]+(:(?!latest$)[\w.-]+)(@sha256:[0-9a-f]{64})?$")


def unpinned_image_static(service: Service) -> Iterator[Violation]:
    """Demands a tag other than ``latest``: otherwise two hosts run different versions of the same file."""
    if not PINNED.match(image := service.config.get("image", "")):
        yield Violation(f"has an image that is not pinned by a tag: {image or 'none'}", ("image",))


def unpinned_image_running(container: Container) -> Iterator[Violation]:
    """Demands that the container was created from a tagged image, not from an image id."""
    if not PINNED.match(image := container.engine["Config"]["Image"]):
        yield Violation(f"has an image that is not pinned by a tag: {image}")


def no_limit_static(key: str, words: str) -> Callable[[Service], Iterator[Violation]]:
    """The rule that demands a limit: without one, a faulty service starves every other one on the host.

    Args:
        key: The key in ``deploy.resources.limits``.
        words: The limit's name in the message.
    """

    def static(service: Service) -> Iterator[Violation]:
        if not service.limits.get(key):
            yield Violation(f"has no {words} limit", ("deploy", "resources", "limits", key))

    return static


def no_limit_running(key: str, words: str) -> Callable[[Container], Iterator[Violation]]:
    """The rule that demands a limit in the container's control groups; arguments as in `no_limit_static`."""

    def running(container: Container) -> Iterator[Violation]:
        if getattr(container.limits, key) is None:
            yield Violation(f"has no {words} limit")

    return running


def unbounded_log_static(service: Service) -> Iterator[Violation]:
    """Demands json-file logging with rotation: the collector reads it, and a log without a bound fills the disk."""
    found = service.config.get("logging", {})
    yield from _unbounded_log(found.get("driver", ""), found.get("options", {}))


def unbounded_log_running(container: Container) -> Iterator[Violation]:
    """Demands the same of the logging that the engine has set up."""
    found = container.host_config["LogConfig"]
    yield from _unbounded_log(found["Type"], found["Config"])


def _unbounded_log(driver: str, options: Mapping[str, str]) -> Iterator[Violation]:
    if driver != "json-file":
        yield Violation("does not log to json-file", ("logging", "driver"))
        return
    for key in ("max-size", "max-file"):
        if not options.get(key):
            yield Violation(f"has a log without {key}", ("logging", "options", key))


def published_ports_static(service: Service) -> Iterator[Violation]:
    """Demands no published port: with the security layer, only the proxy is reachable from outside."""
    for name, _ in _ports(service):
        yield Violation(f"publishes port {name}", ("ports",), name)


def published_ports_running(container: Container) -> Iterator[Violation]:
    """Demands that the engine has bound no port of the container."""
    for name in dict(_bindings(container)):
        yield Violation(f"publishes port {name}", of=name)


def public_ports_static(service: Service) -> Iterator[Violation]:
    """Demands loopback addresses for published ports: without the security layer nothing else protects them."""
    for name, address in _ports(service):
        if not _is_loopback(address):
            yield Violation(f"publishes port {name} to other machines", ("ports",), name)


def public_ports_running(container: Container) -> Iterator[Violation]:
    """Demands that the engine has bound ports to loopback addresses only."""
    for name, address in _bindings(container):
        if not _is_loopback(address):
            yield Violation(f"publishes port {name} on {address or 'every address'}", of=name)


def _ports(service: Service) -> Iterator[tuple[str, str]]:
    for port in service.config.get("ports", []):
        yield f"{port['target']}/{port.get('protocol', 'tcp')}", port.get("host_ip", "")


def _bindings(container: Container) -> Iterator[tuple[str, str]]:
    for name, bindings in (container.engine["NetworkSettings"]["Ports"] or {}).items():
        for binding in bindings or ():
            yield name, binding["HostIp"]


def _is_loopback(address: str) -> bool:
    return bool(address) and ip_address(address).is_loopback


def no_restart_policy_static(service: Service) -> Iterator[Violation]:
    """Demands a restart policy for every service but jobs: a crash must not need an operator."""
    if not service.job and service.config.get("restart", "no") == "no":
        yield Violation("has no restart policy", ("restart",))


def no_restart_policy_running(container: Container) -> Iterator[Violation]:
    """Demands that the engine restarts the container."""
    if container.host_config["RestartPolicy"]["Name"] in {"", "no"}:
        yield Violation("has no restart policy")


def missing_healthcheck_static(service: Service) -> Iterator[Violation]:
    """Demands a health check, of the container's own or over HTTP (`HEALTH_URL`), for every service but jobs.

    Waiting, dependencies and rolling updates rely on health, not on a running process.
    """
    check = service.config.get("healthcheck", {})
    none = check.get("disable") or check.get("test", ["NONE"]) in (["NONE"], [])
    if none and not service.job and HEALTH_URL not in service.config.get("labels", {}):
        yield Violation("has no health check", ("healthcheck",))


def missing_healthcheck_running(container: Container) -> Iterator[Violation]:
    """Demands the same of the running container."""
    check = container.engine["Config"].get("Healthcheck") or {}
    if check.get("Test", ["NONE"]) == ["NONE"] and HEALTH_URL not in container.labels:
        yield Violation("has no health check")
