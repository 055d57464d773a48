"""Endpoints of Gatus, from its configuration file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

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
_EXTERNAL = frozenset({"name", "group", "token", "heartbeat", "enabled", "alerts"})
_UNSUPPORTED: Mapping[str, str] = {
    "ssh": "SSH is not supported",
    "graphql": "a request body is not supported",
    "body": "a request body is not supported",
}
_CLIENT: Mapping[str, str] = {
    "insecure": "certificates are always verified",
    "ignore-redirect": "redirects are followed unless a redirect status is expected",
    "dns-resolver": "names are resolved by this host",
    "network": "the family of addresses cannot be chosen",
    "store-cookies": "cookies are not kept",
}
_SECTIONS: Mapping[str, str] = {
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
    found = found if isinstance(found, dict) else {}
    external = found.get("external-endpoints") or []
    endpoints = found.get("endpoints") or ([] if external else None)
    for each in (endpoints, external):
        if not isinstance(each, list) or not all(isinstance(one, dict) for one in each):
            raise ToolkitError(
                "the file has no endpoints", "a list with the key endpoints or external-endpoints is required"
            )
    result = Imported()
    for section, why in _SECTIONS.items():
        if found.get(section):
            result.lose("", section, why)
    of_kind = [*((_target, each) for each in endpoints or ()), *((_external, each) for each in external)]
    for carry_over, endpoint in of_kind:
        group, name = str(endpoint.get("group") or ""), str(endpoint.get("name") or "")
        shown = result.name(f"{group}/{name}" if group else name)
        try:
            result.targets.append(carry_over(result, shown, group, endpoint))
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
    for key, why in _UNSUPPORTED.items():
        if endpoint.get(key):
            raise NotCarriedOverError(why)
    spec = _spec(result, name, endpoint)
    target: dict[str, Any] = {"name": name, "spec": spec}
    target["interval_seconds"] = imported.interval(result, name, seconds(endpoint.get("interval") or "1m"))
    client = endpoint.get("client") or {}
    if client.get("timeout"):
        target["timeout_seconds"] = imported.timeout(result, name, seconds(client["timeout"]))
    for key, value in client.items():
        if key in _CLIENT and value not in (False, "ip"):
            result.lose(name, f"client.{key}", _CLIENT[key])
        elif key not in _CLIENT and key != "timeout":
            raise NotCarriedOverError(f"client.{key} is not supported")
    for condition in endpoint.get("conditions") or ():
        _condition(result, name, str(condition), target)
    _common(result, name, group, endpoint, target)
    for key in sorted(endpoint.keys() - _KNOWN - _UNSUPPORTED.keys()):
        result.lose(name, str(key), "there is no such setting")
    return target


def _external(result: Imported, name: str, group: str, endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint whose results are reported: one with a heartbeat interval misses them, another one never does."""
    expected = (endpoint.get("heartbeat") or {}).get("interval")
    if not expected or seconds(expected) <= 0:
        raise NotCarriedOverError("without heartbeat.interval, silence is no failure; here it always is")
    target: dict[str, Any] = {"name": name, "spec": imported.heartbeat_spec(result, name)}
    target["interval_seconds"] = imported.interval(result, name, seconds(expected))
    target |= {"failures": 1, "window": 1}
    _common(result, name, group, endpoint, target)
    for key in sorted(endpoint.keys() - _EXTERNAL):
        result.lose(name, str(key), "there is no such setting")
    return target


def _common(result: Imported, name: str, group: str, endpoint: Endpoint, target: dict[str, Any]) -> None:
    """Carry over what endpoints of both kinds have."""
    if endpoint.get("alerts"):
        target |= _thresholds(result, name, endpoint["alerts"])
    if group and (tag := imported.tag(group)):
        target["tags"] = [tag]
    if endpoint.get("enabled") is False:
        target["enabled"] = False


def _spec(result: Imported, name: str, endpoint: Endpoint) -> Spec:
    url = str(endpoint.get("url") or "")
    dns = endpoint.get("dns")
    if dns:
        record = str(dns.get("query-type"))
        if record not in imported.RECORDS:
            raise NotCarriedOverError(f"records of the type {record} are not supported")
        result.lose(name, f"name server {url}", "the resolver of this host is queried")
        return {"kind": "dns", "name": str(dns.get("query-name", "")).rstrip("."), "record": record}
    scheme, _, rest = url.partition("://")
    match scheme:
        case "http" | "https":
            return imported.http_spec(
                result, name, url, str(endpoint.get("method") or "GET"), endpoint.get("headers") or {}
            )
        case "tcp":
            parts = urlsplit(url)
            try:
                port = parts.port
            except ValueError:
                port = None
            if not parts.hostname or not port:
                raise NotCarriedOverError(f"{url} has no host and port")
            return {"kind": "tcp", "host": parts.hostname, "port": port}
        case "icmp":
            return {"kind": "ping", "host": rest.strip("/")}
        case _:
            raise NotCarriedOverError(f"{scheme or 'an empty URL'}: only http, https, tcp, icmp and dns are supported")


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
    if spec["kind"] != "http" or spec.get("method") == "HEAD" or "body_contains" in spec:
        return None
    text = re.fullmatch(r"\*([^*?\[\]\\]+)\*", pattern.group(1)) if pattern else re.fullmatch(r"(.*)", value)
    if text is None:
        return None
    spec["body_contains"] = text.group(1)
    return "" if pattern else "a body that contains the text is a success"


def _answer(spec: Spec, value: str, pattern: str | None) -> str | None:
    if pattern is not None:
        return None if pattern.strip("*.:") else ""
    spec["expected"] = [value]
    return ""


def _certificate(target: dict[str, Any], operator: str, value: str) -> str | None:
    if target["spec"]["kind"] != "http" or operator not in (">", ">="):
        return None
    try:
        days = math.ceil(seconds(value) / 86_400)
    except NotCarriedOverError:
        return None
    if days > 365:
        return None
    target["spec"]["certificate_days"] = days
    return imported.CERTIFICATE_NOTE


def _connected(_target: dict[str, Any], operator: str, value: str) -> str | None:
    return "" if (operator, value) == ("==", "true") else None


def _rcode(_target: dict[str, Any], operator: str, value: str) -> str | None:
    return "" if (operator, value) == ("==", "NOERROR") else None


_CONDITIONS: Mapping[str, Callable[[dict[str, Any], str, str], str | None]] = {
    "[STATUS]": _status,
    "[RESPONSE_TIME]": _response_time,
    "[BODY]": _body,
    "[CERTIFICATE_EXPIRATION]": _certificate,
    "[CONNECTED]": _connected,
    "[DNS_RCODE]": _rcode,
}
