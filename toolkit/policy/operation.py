"""How a service is run: from which image, within which limits, reached from where, and looked after by whom."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address

from toolkit.engine.health import HEALTH_URL
from toolkit.policy.rule import Service, Violation
from toolkit.policy.running import Container

PINNED = re.compile(r"^[\w./:-]*/?[\w.-]+(:(?!latest$)[\w.-]+)(@sha256:[0-9a-f]{64})?$")


def unpinned(service: Service) -> Iterator[Violation]:
    if not PINNED.match(image := service.config.get("image", "")):
        yield Violation(f"has an image that is not pinned by a tag: {image or 'none'}", ("image",))


def unpinned_now(container: Container) -> Iterator[Violation]:
    if not PINNED.match(image := container.engine["Config"]["Image"]):
        yield Violation(f"has an image that is not pinned by a tag: {image}")


def limited(key: str, words: str) -> Callable[[Service], Iterator[Violation]]:
    """The rule that there is a limit of ``key`` (in ``deploy.resources.limits``)."""

    def written(service: Service) -> Iterator[Violation]:
        if not service.limits.get(key):
            yield Violation(f"has no limit of {words}", ("deploy", "resources", "limits", key))

    return written


def limited_now(key: str, words: str) -> Callable[[Container], Iterator[Violation]]:
    """The same for what the control groups grant."""

    def running(container: Container) -> Iterator[Violation]:
        if getattr(container.limits, key) is None:
            yield Violation(f"has no limit of {words}")

    return running


def log(service: Service) -> Iterator[Violation]:
    found = service.config.get("logging", {})
    yield from _log(found.get("driver", ""), found.get("options", {}))


def log_now(container: Container) -> Iterator[Violation]:
    found = container.host["LogConfig"]
    yield from _log(found["Type"], found["Config"])


def _log(driver: str, options: Mapping[str, str]) -> Iterator[Violation]:
    if driver != "json-file":
        yield Violation("does not log to json-file", ("logging", "driver"))
        return
    for key in ("max-size", "max-file"):
        if not options.get(key):
            yield Violation(f"has a log without {key}", ("logging", "options", key))


def published(service: Service) -> Iterator[Violation]:
    for name, _ in _ports(service):
        yield Violation(f"publishes its port {name}", ("ports",), name)


def published_now(container: Container) -> Iterator[Violation]:
    for name in dict(_bindings(container)):
        yield Violation(f"publishes its port {name}", of=name)


def public(service: Service) -> Iterator[Violation]:
    for name, address in _ports(service):
        if not _is_loopback(address):
            yield Violation(f"publishes its port {name} to other machines", ("ports",), name)


def public_now(container: Container) -> Iterator[Violation]:
    for name, address in _bindings(container):
        if not _is_loopback(address):
            yield Violation(f"publishes its port {name} on {address or 'every address'}", of=name)


def _ports(service: Service) -> Iterator[tuple[str, str]]:
    for port in service.config.get("ports", []):
        yield f"{port['target']}/{port.get('protocol', 'tcp')}", port.get("host_ip", "")


def _bindings(container: Container) -> Iterator[tuple[str, str]]:
    for name, bindings in (container.engine["NetworkSettings"]["Ports"] or {}).items():
        for binding in bindings or ():
            yield name, binding["HostIp"]


def _is_loopback(address: str) -> bool:
    return bool(address) and ip_address(address).is_loopback


def mortal(service: Service) -> Iterator[Violation]:
    if not service.job and service.config.get("restart", "no") == "no":
        yield Violation("is not started again when it ends", ("restart",))


def mortal_now(container: Container) -> Iterator[Violation]:
    if container.host["RestartPolicy"]["Name"] in {"", "no"}:
        yield Violation("is not started again when it ends")


def unasked(service: Service) -> Iterator[Violation]:
    check = service.config.get("healthcheck", {})
    none = check.get("disable") or check.get("test", ["NONE"]) in (["NONE"], [])
    if none and not service.job and HEALTH_URL not in service.config.get("labels", {}):
        yield Violation("has no health check", ("healthcheck",))


def unasked_now(container: Container) -> Iterator[Violation]:
    check = container.engine["Config"].get("Healthcheck") or {}
    if check.get("Test", ["NONE"]) == ["NONE"] and HEALTH_URL not in container.labels:
        yield Violation("has no health check")
