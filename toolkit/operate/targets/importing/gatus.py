"""Endpoints of Gatus, from its configuration file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from toolkit.core.errors import ToolkitError
from toolkit.operate.targets.importing import conditions, imported, services
from toolkit.operate.targets.importing.durations import seconds
from toolkit.operate.targets.importing.imported import Imported, NotCarriedOverError, Spec

Endpoint = Mapping[str, Any]

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
_EXTERNAL = frozenset({"name", "group", "token", "heartbeat", "enabled", "alerts"})
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
    "suites": "sequences of requests are not supported",
    "alerting": "alerts are sent by Alertmanager (docs/alerting.md)",
    "maintenance": "maintenance windows are not imported",
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
    for import_one, endpoint in of_kind:
        group, name = str(endpoint.get("group") or ""), str(endpoint.get("name") or "")
        shown = result.name(f"{group}/{name}" if group else name)
        try:
            result.targets.append(import_one(result, shown, group, endpoint))
        except NotCarriedOverError as error:
            result.skip(shown, "the endpoint", str(error))
    return result


def _target(result: Imported, name: str, group: str, endpoint: Endpoint) -> dict[str, Any]:
    for key, why in _UNSUPPORTED.items():
        if endpoint.get(key):
            raise NotCarriedOverError(why)
    spec = _spec(result, name, endpoint)
    target: dict[str, Any] = {"name": name, "spec": spec}
    target["interval_seconds"] = imported.interval(result, name, seconds(endpoint.get("interval") or "1m"))
    target |= _client(result, name, endpoint.get("client") or {}, spec)
    for condition in endpoint.get("conditions") or ():
        conditions.carry_over(result, name, str(condition), target)
    conditions.set_statuses(target)
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


def _client(result: Imported, name: str, client: Mapping[str, Any], spec: Spec) -> dict[str, float]:
    """Carry over the settings of a client; returns those of the target, and adds the others to the spec."""
    for key, value in client.items():
        if key in _CLIENT and value is not False:
            result.lose(name, f"client.{key}", _CLIENT[key])
        elif key not in _CLIENT and key not in _CARRIED_OVER:
            raise NotCarriedOverError(f"client.{key} is not supported")
    if spec["kind"] == "http":
        spec |= _connection(result, name, client)
    elif client.get("insecure") is True and _has_tls(spec):
        spec["verify_tls"] = False
    if spec["kind"] != "http" and client.get("network") in _FAMILIES:
        result.lose(name, "client.network", "the family of addresses can be chosen for HTTP only")
    timeout = client.get("timeout")
    return {"timeout_seconds": imported.timeout(result, name, seconds(timeout))} if timeout else {}


def _has_tls(spec: Spec) -> bool:
    return spec["kind"] == "tls" or bool(spec.get("tls") or spec.get("starttls"))


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
