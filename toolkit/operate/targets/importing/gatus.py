"""Endpoints of Gatus, from its configuration file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from toolkit.core.errors import ToolkitError
from toolkit.operate.targets.importing import imported
from toolkit.operate.targets.importing.imported import Imported, NotCarriedOverError, Spec

Endpoint = Mapping[str, Any]

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_KNOWN = frozenset(
    {
        "name",
        "group",
        "url",
        "method",
        "headers",
        "interval",
        "conditions",
        "enabled",
        "dns",
        "client",
        "alerts",
        "body",
    }
)
_UNSUPPORTED: Mapping[str, str] = {
    "ssh": "SSH is not supported",
    "graphql": "a request body is not supported",
    "body": "a request body is not supported",
}
_CLIENT: Mapping[str, str] = {
    "insecure": "certificates are always verified",
    "dns-resolver": "names are resolved by this host",
    "network": "the family of addresses cannot be chosen",
    "store-cookies": "cookies are not kept",
}
_CARRIED_OVER = frozenset({"timeout", "ignore-redirect", "proxy-url"})
_SCHEMES = "http, https, tcp, tls, starttls, grpc, grpcs, icmp"
_SERVICES: Mapping[str, Spec] = {
    "tcp": {"kind": "tcp"},
    "tls": {"kind": "tls"},
    "starttls": {"kind": "tcp", "starttls": "smtp"},
    "grpc": {"kind": "grpc", "tls": False},
    "grpcs": {"kind": "grpc", "tls": True},
}
_TALKING = ("tcp", "tls")
"""Schemes with which the body is what is sent on the connection."""
_SECTIONS: Mapping[str, str] = {
    "external-endpoints": "results cannot be pushed",
    "suites": "sequences of requests are not supported",
    "alerting": "alerts are sent by Alertmanager (docs/alerting.md)",
    "maintenance": "maintenance windows are not carried over",
    "remote": "other instances are not included",
    "announcements": "there are no announcements",
    "tunneling": "tunnels are not supported",
}


def read(content: bytes) -> Imported:
    """Import the endpoints of a configuration.

    Raises:
        ToolkitError: it is not valid YAML, or has no endpoints.
    """
    try:
        found = yaml.load(content.decode(), yaml.CSafeLoader)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ToolkitError("the file is not valid YAML", " ".join(str(error).split())) from error
    endpoints = found.get("endpoints") if isinstance(found, dict) else None
    if not isinstance(endpoints, list) or not all(isinstance(each, dict) for each in endpoints):
        raise ToolkitError("the file has no endpoints", "a list with the key endpoints is required")
    result = Imported()
    for section, why in _SECTIONS.items():
        if found.get(section):
            result.lose("", section, why)
    for endpoint in endpoints:
        group, name = str(endpoint.get("group") or ""), str(endpoint.get("name") or "")
        shown = result.name(f"{group}/{name}" if group else name)
        try:
            result.targets.append(_target(result, shown, group, endpoint))
        except NotCarriedOverError as error:
            result.skip(shown, "the endpoint", str(error))
    return result


def seconds(text: object) -> float:
    """A duration of Go, like ``1m30s``, in seconds.

    Raises:
        NotCarriedOverError: it is not a duration.
    """
    parts = _PART.findall(str(text))
    if not parts or "".join(number + unit for number, unit in parts) != str(text):
        raise NotCarriedOverError(f"{text!r} is not a duration")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _target(result: Imported, name: str, group: str, endpoint: Endpoint) -> dict[str, Any]:
    talks = str(endpoint.get("url")).partition("://")[0] in _TALKING
    for key, why in _UNSUPPORTED.items():
        if endpoint.get(key) and not (key == "body" and talks):
            raise NotCarriedOverError(why)
    spec = _spec(result, name, endpoint)
    target: dict[str, Any] = {"name": name, "spec": spec}
    target["interval_seconds"] = imported.interval(result, name, seconds(endpoint.get("interval") or "1m"))
    target |= _client(result, name, endpoint.get("client") or {}, spec)
    for condition in endpoint.get("conditions") or ():
        _condition(result, name, str(condition), target)
    if endpoint.get("alerts"):
        target |= _thresholds(result, name, endpoint["alerts"])
    if group and (tag := imported.tag(group)):
        target["tags"] = [tag]
    if endpoint.get("enabled") is False:
        target["enabled"] = False
    for key in sorted(endpoint.keys() - _KNOWN - _UNSUPPORTED.keys()):
        result.lose(name, str(key), "there is no such setting")
    return target


def _client(result: Imported, name: str, client: Mapping[str, Any], spec: Spec) -> dict[str, float]:
    """Carry over the settings of a client; returns those of the target, and adds the others to the spec."""
    for key, value in client.items():
        if key in _CLIENT and value not in (False, "ip"):
            result.lose(name, f"client.{key}", _CLIENT[key])
        elif key not in _CLIENT and key not in _CARRIED_OVER:
            raise NotCarriedOverError(f"client.{key} is not supported")
    if spec["kind"] == "http":
        if client.get("ignore-redirect"):
            spec["follow_redirects"] = False
        if client.get("proxy-url"):
            spec |= imported.proxy(str(client["proxy-url"]))
    timeout = client.get("timeout")
    return {"timeout_seconds": imported.timeout(result, name, seconds(timeout))} if timeout else {}


def _spec(result: Imported, name: str, endpoint: Endpoint) -> Spec:
    url = str(endpoint.get("url") or "")
    dns = endpoint.get("dns")
    if dns:
        record = str(dns.get("query-type"))
        if record not in imported.RECORDS:
            raise NotCarriedOverError(f"records of the type {record} are not supported")
        asked = {"kind": "dns", "name": str(dns.get("query-name", "")).rstrip("."), "record": record}
        return asked | imported.resolver(result, name, url)
    scheme, _, rest = url.partition("://")
    if scheme in ("http", "https"):
        return imported.http_spec(
            result, name, url, str(endpoint.get("method") or "GET"), endpoint.get("headers") or {}
        )
    if scheme == "icmp":
        return {"kind": "ping", "host": rest.strip("/")}
    if scheme not in _SERVICES:
        raise NotCarriedOverError(f"{scheme or 'an empty URL'}: only {_SCHEMES} and dns are supported")
    return _service(scheme, url, str(endpoint.get("body") or ""))


def _service(scheme: str, url: str, body: str) -> Spec:
    spec = _SERVICES[scheme] | imported.endpoint(url)
    if body and scheme == "tls":
        spec |= {"kind": "tcp", "tls": True}
    if body and scheme in _TALKING:
        spec["send"] = imported.escaped(body)
    return spec


def _thresholds(result: Imported, name: str, alerts: list[Mapping[str, Any]]) -> dict[str, int]:
    failures = {int(each.get("failure-threshold") or 3) for each in alerts}
    if len(failures) > 1:
        result.lose(name, "failure-threshold of each alert", f"there is one for the target: {min(failures)}")
    others = {key for each in alerts for key in each} - {"type", "failure-threshold", "enabled"}
    for key in sorted(others):
        result.lose(name, f"alerts.{key}", "alerts are sent by Alertmanager (docs/alerting.md)")
    return imported.in_a_row(result, name, min(failures))


def _condition(result: Imported, name: str, condition: str, target: dict[str, Any]) -> None:
    """Carry over a condition as a setting of the target, or record its loss."""
    match = re.fullmatch(r"\s*(\S.*?) (==|!=|<=|>=|<|>) (.*\S)\s*", condition)
    subject, operator, value = match.groups() if match else (condition, "", "")
    carry = _CONDITIONS.get(subject)
    why = carry(target, operator, value) if carry else None
    if why is None:
        result.lose(name, condition, "there is no such condition")
    elif why:
        result.lose(name, condition, why)


# Each returns why a condition is not carried over as it was, an empty text if it is, None if it is not at all.
def _status(target: dict[str, Any], operator: str, value: str) -> str | None:
    if target["spec"]["kind"] != "http":
        return None
    choices = re.fullmatch(r"any\((.*)\)", value)
    codes = [each.strip() for each in (choices.group(1).split(",") if choices else [value])]
    if operator == "==" and all(each.isdecimal() for each in codes) and len(codes) <= imported.MAX_STATUSES:
        target["spec"]["expected_status"] = [int(each) for each in codes]
        return ""
    if (operator, value) in (("<", "400"), ("<=", "399")):
        return ""
    return "a status below 400 is a success" if operator in ("<", "<=") else None


def _response_time(target: dict[str, Any], operator: str, value: str) -> str | None:
    if operator not in ("<", "<="):
        return None
    try:
        milliseconds = float(value) if value.replace(".", "", 1).isdecimal() else seconds(value) * 1000
    except NotCarriedOverError:
        return None
    if not 0 < milliseconds <= 60_000:
        return None
    target["slow_ms"] = milliseconds
    return imported.SLOW_NOTE


def _body(target: dict[str, Any], operator: str, value: str) -> str | None:
    if operator != "==" or value.startswith("any("):
        return None
    pattern = re.fullmatch(r"pat\((.*)\)", value)
    spec = target["spec"]
    if spec["kind"] == "dns":
        return _answer(spec, value, pattern.group(1) if pattern else None)
    setting = _TEXTS.get(spec["kind"])
    if (
        setting is None
        or spec.get("method") == "HEAD"
        or setting in spec
        or (setting == "expect" and "send" not in spec)
    ):
        return None
    text = re.fullmatch(r"\*([^*?\[\]\\]+)\*", pattern.group(1)) if pattern else re.fullmatch(r"(.*)", value)
    if text is None:
        return None
    spec[setting] = text.group(1) if setting == "body_contains" else imported.escaped(text.group(1))
    return "" if pattern else "a body that contains the text is a success"


_TEXTS: Mapping[str, str] = {"http": "body_contains", "tcp": "expect"}
"""The setting of each kind for the text in an answer."""


def _answer(spec: Spec, value: str, pattern: str | None) -> str | None:
    if pattern is not None:
        return None if pattern.strip("*.:") else ""
    spec["expected"] = [value]
    return ""


def _health(target: dict[str, Any], operator: str, value: str) -> str | None:
    return "" if target["spec"]["kind"] == "grpc" and (operator, value) == ("==", "SERVING") else None


def _certificate(target: dict[str, Any], operator: str, value: str) -> str | None:
    spec = target["spec"]
    with_tls = spec["kind"] in ("http", "tls") or spec.get("tls") or spec.get("starttls")
    if not with_tls or operator not in (">", ">="):
        return None
    try:
        days = math.ceil(seconds(value) / 86_400)
    except NotCarriedOverError:
        return None
    if days > 365:
        return None
    if spec["kind"] != "http":
        spec["certificate_fail_days"] = days
        return ""
    spec["certificate_days"] = days
    return imported.CERTIFICATE_NOTE


def _connected(_target: dict[str, Any], operator: str, value: str) -> str | None:
    return "" if (operator, value) == ("==", "true") else None


def _rcode(_target: dict[str, Any], operator: str, value: str) -> str | None:
    return "" if (operator, value) == ("==", "NOERROR") else None


_CONDITIONS: Mapping[str, Callable[[dict[str, Any], str, str], str | None]] = {
    "[STATUS]": _status,
    "[RESPONSE_TIME]": _response_time,
    "[BODY]": _body,
    "[BODY].status": _health,
    "[CERTIFICATE_EXPIRATION]": _certificate,
    "[CONNECTED]": _connected,
    "[DNS_RCODE]": _rcode,
}
