"""Endpoints of Gatus, from its configuration file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from toolkit.core.errors import ToolkitError
from toolkit.operate.targets.importing import checks, imported, services
from toolkit.operate.targets.importing.imported import Imported, NotCarriedOverError, Spec

Endpoint = Mapping[str, Any]

_ACCEPTED = "accepted statuses"
"""Where a target has the statuses that meet its conditions, until all of them are read."""

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
        "graphql",
    }
)
_UNSUPPORTED: Mapping[str, str] = {
    "ssh": "SSH is not supported",
}
_CLIENT: Mapping[str, str] = {
    "dns-resolver": "names are resolved by this host",
    "store-cookies": "cookies are not kept",
}
_CARRIED_OVER = frozenset({"timeout", "insecure", "ignore-redirect", "network", "proxy-url", "tls"})
_FAMILIES: Mapping[str, int] = {"ip4": 4, "ip6": 6}
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
    for key, why in _UNSUPPORTED.items():
        if endpoint.get(key):
            raise NotCarriedOverError(why)
    spec = _spec(result, name, endpoint)
    target: dict[str, Any] = {"name": name, "spec": spec}
    target["interval_seconds"] = imported.interval(result, name, seconds(endpoint.get("interval") or "1m"))
    target |= _client(result, name, endpoint.get("client") or {}, spec)
    for condition in endpoint.get("conditions") or ():
        _condition(result, name, str(condition), target)
    _set_statuses(target)
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
        if key in _CLIENT and value is not False:
            result.lose(name, f"client.{key}", _CLIENT[key])
        elif key not in _CLIENT and key not in _CARRIED_OVER:
            raise NotCarriedOverError(f"client.{key} is not supported")
    if spec["kind"] == "http":
        spec |= _connection(result, name, client)
    elif client.get("insecure") is True:
        result.lose(name, "client.insecure", "certificates are always verified, except for HTTP")
    if spec["kind"] != "http" and client.get("network") in _FAMILIES:
        result.lose(name, "client.network", "the family of addresses can be chosen for HTTP only")
    timeout = client.get("timeout")
    return {"timeout_seconds": imported.timeout(result, name, seconds(timeout))} if timeout else {}


def _connection(result: Imported, name: str, client: Mapping[str, Any]) -> Spec:
    """The settings of the connections of an HTTP target."""
    spec: Spec = {}
    if client.get("insecure") is True:
        spec["verify_tls"] = False
    if client.get("ignore-redirect"):
        spec["follow_redirects"] = False
    if family := _FAMILIES.get(str(client.get("network"))):
        spec["ip_version"] = family
    if client.get("proxy-url"):
        spec |= imported.proxy(str(client["proxy-url"]))
    if (client.get("tls") or {}).get("certificate-file"):
        content = "the certificate and its key in PEM, the files of client.tls"
        spec["client_certificate"] = result.secret(name, "certificate", content)
    return spec


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
    match scheme:
        case "http" | "https":
            method = str(endpoint.get("method") or "GET")
            spec = imported.http_spec(result, name, url, method, endpoint.get("headers") or {})
            body = str(endpoint.get("body") or "")
            if endpoint.get("graphql"):
                imported.body(result, name, spec, json.dumps({"query": body}), "application/json")
            elif body:
                imported.body(result, name, spec, body)
            return spec
        case "tcp" | "tls" | "starttls" | "grpc" | "grpcs":
            return services.spec(scheme, url, str(endpoint.get("body") or ""))
        case "icmp":
            return {"kind": "ping", "host": rest.strip("/")}
        case _:
            raise NotCarriedOverError(f"{scheme or 'an empty URL'}: only {services.SCHEMES} and dns are supported")


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
    if part := re.fullmatch(r"\[BODY\]([.\[].*)", subject):
        why = _json(target, part[1], operator, value)
    elif (part := re.fullmatch(r"has\(\[BODY\]([.\[].*)\)", subject)) and (operator, value) == ("==", "true"):
        why = _json(target, part[1], "", "")
    else:
        carry = _CONDITIONS.get(subject)
        why = carry(target, operator, value) if carry else None
    if why is None:
        result.lose(name, condition, "there is no such condition")
    elif why:
        result.lose(name, condition, why)


def _set_statuses(target: dict[str, Any]) -> None:
    """Set the statuses that meet all conditions."""
    accepted = target.pop(_ACCEPTED, None)
    if accepted is None:
        return
    found = checks.statuses(accepted)
    if not accepted or len(found) > imported.MAX_STATUSES:
        raise NotCarriedOverError("no status, or too many different ones, meet its conditions")
    if found:
        target["spec"]["expected_status"] = found


# Each returns why a condition is not carried over as it was, an empty text if it is, None if it is not at all.
def _status(target: dict[str, Any], operator: str, value: str) -> str | None:
    if target["spec"]["kind"] != "http":
        return None
    choices = re.fullmatch(r"any\((.*)\)", value)
    codes = [each.strip() for each in (choices.group(1).split(",") if choices else [value])]
    if not all(each.isdecimal() for each in codes) or (choices and operator not in ("==", "!=")):
        return None
    numbers = [int(each) for each in codes]
    passing = {
        "==": {each for each in numbers if each in checks.ALL_STATUSES},
        "!=": set(checks.ALL_STATUSES) - set(numbers),
        "<": set(range(100, min(numbers[0], 600))),
        "<=": set(range(100, min(numbers[0] + 1, 600))),
        ">": set(range(max(numbers[0] + 1, 100), 600)),
        ">=": set(range(max(numbers[0], 100), 600)),
    }[operator]
    target[_ACCEPTED] = target.get(_ACCEPTED, set(checks.ALL_STATUSES)) & passing
    return ""


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
    spec = target["spec"]
    if operator not in ("==", "!=") or value.startswith("any(") or spec.get("method") == "HEAD":
        return None
    pattern = re.fullmatch(r"pat\((.*)\)", value)
    match spec["kind"]:
        case "dns":
            return _answer(spec, value, pattern.group(1) if pattern else None) if operator == "==" else None
        case "tcp":
            return services.expected(spec, operator, value, pattern)
        case "http":
            return _text(spec, operator, value, pattern)
        case _:
            return None


def _text(spec: Spec, operator: str, value: str, pattern: re.Match[str] | None) -> str | None:
    contained = re.fullmatch(r"\*([^*?\[\]\\]+)\*", pattern.group(1)) if pattern else None
    if contained:
        setting, found = ("body_contains" if operator == "==" else "body_excludes"), contained.group(1)
    elif operator == "==":
        setting, found = "body_matches", checks.glob(pattern.group(1)) if pattern else checks.whole(value)
    else:
        return None
    if setting in spec or found is None:
        return None
    spec[setting] = found
    return ""


def _json(target: dict[str, Any], path: str, operator: str, value: str) -> str | None:
    spec = target["spec"]
    if spec["kind"] == "grpc" and (path, operator, value) == (".status", "==", "SERVING"):
        return ""
    if spec["kind"] != "http" or spec.get("method") == "HEAD" or re.match(r"(?:any|pat|has|len)\(", value):
        return None
    condition = checks.json_condition(path, operator, value)
    if condition is None or len(spec.get("expected_json", ())) == checks.MAX_CONDITIONS:
        return None
    spec.setdefault("expected_json", []).append(condition)
    return ""


def _answer(spec: Spec, value: str, pattern: str | None) -> str | None:
    if pattern is not None:
        return None if pattern.strip("*.:") else ""
    spec["expected"] = [value]
    return ""


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
    "[CERTIFICATE_EXPIRATION]": _certificate,
    "[CONNECTED]": _connected,
    "[DNS_RCODE]": _rcode,
}
