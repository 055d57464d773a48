"""Monitors of Uptime Kuma, from its SQLite database (versions 1 and 2)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from toolkit.core.errors import ToolkitError
from toolkit.operate.targets.importing import checks, imported
from toolkit.operate.targets.importing.imported import Imported, NotCarriedOverError, Spec

Monitor = Mapping[str, Any]

_BLOCKING: Mapping[str, str] = {
    "upside_down": "a reversed result is not supported",
}
"""Columns that change the meaning of a probe: a monitor with one of them is not imported."""
_LOST: Mapping[str, str] = {
    "cache_bust": "the URL is requested unchanged",
    "description": "there is no such setting",
    "resend_interval": "Alertmanager repeats alerts (docs/alerting.md)",
    "domain_expiry_notification": "the expiry of domains is not checked",
}
_BODY_TYPES: Mapping[str, str] = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "xml": "text/xml; charset=utf-8",
}
_FAMILIES: Mapping[str, int] = {"ipv4": 4, "ipv6": 6}
_DEFAULT_REDIRECTS = 10
_TABLES: Mapping[str, str] = {
    "notification": "alerts are sent by Alertmanager (docs/alerting.md)",
    "maintenance": "maintenance windows are not imported",
    "status_page": "the status page shows every target",
    "heartbeat": "the history is not imported",
}


_SMTP: Mapping[str, Spec] = {"secure": {"tls": True}, "starttls": {"starttls": "smtp"}}
"""Settings by the security of a monitor of SMTP."""


def read(path: Path) -> Imported:
    """Import the monitors of a database, which is only read.

    Raises:
        ToolkitError: the file is not a database of Uptime Kuma.
    """
    if not path.is_file():
        raise ToolkitError(f"cannot read {path}", "no such file", "the database is kuma.db in the folder data")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return _read(connection)
    except sqlite3.Error as error:
        raise ToolkitError(f"cannot read {path}", str(error), "is it the SQLite database of Uptime Kuma?") from error


def _read(connection: sqlite3.Connection) -> Imported:
    monitors = [dict(row) for row in connection.execute("SELECT * FROM monitor ORDER BY id")]
    labels = _labels(connection)
    proxies = _proxies(connection)
    groups = {each["id"]: each for each in monitors if each["type"] == "group"}
    result = Imported()
    for table, why in _TABLES.items():
        if count := _count(connection, table):
            result.lose("", f"{count} rows of {table}", why)
    for monitor in monitors:
        if monitor["type"] == "group":
            result.lose(str(monitor["name"]), "the group", "its monitors get a tag with its name")
            continue
        name = result.name(str(monitor["name"] or ""))
        texts = [*labels.get(monitor["id"], ()), *_group_names(monitor, groups)]
        try:
            result.targets.append(_target(result, name, monitor, texts, proxies))
        except NotCarriedOverError as error:
            result.skip(name, f"the monitor ({monitor['type']})", str(error))
    return result


def _labels(connection: sqlite3.Connection) -> dict[int, list[str]]:
    """The tags of each monitor, with their values."""
    found: dict[int, list[str]] = {}
    if _count(connection, "monitor_tag"):
        query = "SELECT monitor_id, name, value FROM monitor_tag JOIN tag ON tag.id = tag_id ORDER BY monitor_tag.id"
        for monitor, name, value in connection.execute(query):
            found.setdefault(monitor, []).append(f"{name}:{value}" if value else str(name))
    return found


def _count(connection: sqlite3.Connection, table: str) -> int:
    """The number of rows of a table; 0 if this version has none."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) if known else 0  # noqa: S608 - ours


def _proxies(connection: sqlite3.Connection) -> dict[object, Monitor]:
    """The proxies by their ids."""
    rows = connection.execute("SELECT * FROM proxy") if _count(connection, "proxy") else ()
    return {row["id"]: dict(row) for row in rows}


def _group_names(monitor: Monitor, groups: Mapping[object, Monitor]) -> list[str]:
    names: list[str] = []
    parent = monitor.get("parent")
    while parent in groups and len(names) < len(groups):
        names.append(str(groups[parent]["name"]))
        parent = groups[parent].get("parent")
    return names


def _target(
    result: Imported, name: str, monitor: Monitor, texts: Sequence[str], proxies: Mapping[object, Monitor]
) -> dict[str, Any]:
    for column, why in _BLOCKING.items():
        if monitor.get(column):
            raise NotCarriedOverError(why)
    target: dict[str, Any] = {"name": name, "spec": _spec(result, name, monitor)}
    if target["spec"]["kind"] == "http":
        target["spec"] |= _proxy(proxies.get(monitor.get("proxy_id"), {}))
    target["interval_seconds"] = imported.interval(result, name, float(monitor.get("interval") or 60))
    if monitor.get("timeout") and target["spec"]["kind"] != "heartbeat":
        target["timeout_seconds"] = imported.timeout(result, name, float(monitor["timeout"]))
    target |= imported.in_a_row(result, name, int(monitor.get("maxretries") or 0) + 1)
    retry = monitor.get("retry_interval")
    if monitor.get("maxretries") and retry and retry != monitor.get("interval"):
        result.lose(name, f"retry interval of {retry} s", "a target has one interval")
    if tags := imported.tags(texts):
        target["tags"] = tags
    if not monitor.get("active", 1):
        target["enabled"] = False
    for column, why in _LOST.items():
        if monitor.get(column) and (column != "domain_expiry_notification" or target["spec"]["kind"] == "http"):
            result.lose(name, column, why)
    if monitor.get("conditions") not in (None, "", "[]"):
        result.lose(name, "conditions", "there are no such conditions")
    return target


def _spec(result: Imported, name: str, monitor: Monitor) -> Spec:
    match monitor["type"]:
        case "http" | "keyword" | "json-query":
            return _http(result, name, monitor)
        case "port" | "smtp":
            return {"kind": "tcp"} | _endpoint(monitor) | _dialogue(monitor)
        case "grpc-keyword":
            return _grpc(result, name, monitor)
        case "ping":
            return {"kind": "ping", "host": str(monitor.get("hostname") or "")}
        case "dns":
            record = str(monitor.get("dns_resolve_type") or "A")
            if record not in imported.RECORDS:
                raise NotCarriedOverError(f"records of the type {record} are not supported")
            spec = {"kind": "dns", "name": str(monitor.get("hostname") or ""), "record": record}
            server = str(monitor.get("dns_resolve_server") or "")
            return spec | imported.resolver(result, name, server, int(monitor.get("port") or imported.DNS_PORT))
        case "push":
            return imported.heartbeat_spec(result, name)
        case other:
            raise NotCarriedOverError(f"monitors of the type {other} are not supported")


def _endpoint(monitor: Monitor) -> Spec:
    return {"host": str(monitor.get("hostname") or ""), "port": int(monitor.get("port") or 0)}


def _dialogue(monitor: Monitor) -> Spec:
    if monitor["type"] == "port":
        return {}
    return _SMTP.get(str(monitor.get("smtp_security")), {"expect": "220"})


def _grpc(result: Imported, name: str, monitor: Monitor) -> Spec:
    """A call of the health check; there are no other ones."""
    service, method = str(monitor.get("grpc_service_name")), str(monitor.get("grpc_method"))
    protocol = str(monitor.get("grpc_protobuf"))
    if (
        service.rpartition(".")[2] != "Health"
        or method.lower() != "check"
        or "grpc.health.v1" not in service + protocol
    ):
        raise NotCarriedOverError("only the call grpc.health.v1.Health/Check is supported")
    if monitor.get("invert_keyword") or monitor.get("keyword") not in (None, "", "SERVING"):
        raise NotCarriedOverError("only the status SERVING is a success")
    try:
        body, metadata = (json.loads(monitor.get(column) or "{}") for column in ("grpc_body", "grpc_metadata"))
    except ValueError:
        body = metadata = None
    if not isinstance(body, dict) or not isinstance(metadata, dict):
        raise NotCarriedOverError("its body or its metadata is not valid JSON")
    spec: Spec = {"kind": "grpc"} | imported.endpoint(f"//{monitor.get('grpc_url')}")
    spec["tls"] = bool(monitor.get("grpc_enable_tls"))
    if body.get("service"):
        spec["service"] = str(body["service"])
    if metadata:
        spec["headers"] = result.headers(name, metadata)
    return spec


def _http(result: Imported, name: str, monitor: Monitor) -> Spec:
    method = str(monitor.get("method") or "GET")
    spec = imported.http_spec(result, name, str(monitor.get("url") or ""), method, _headers(monitor))
    _authenticate(result, name, monitor, spec)
    if monitor.get("body"):
        media_type = _BODY_TYPES.get(str(monitor.get("http_body_encoding") or "json"), "")
        imported.body(result, name, spec, str(monitor["body"]), media_type)
    statuses = _statuses(monitor)
    if statuses:
        spec["expected_status"] = statuses
    if monitor["type"] == "keyword":
        if not monitor.get("keyword"):
            raise NotCarriedOverError("it has no keyword")
        spec["body_excludes" if monitor.get("invert_keyword") else "body_contains"] = str(monitor["keyword"])
    if monitor["type"] == "json-query":
        spec["expected_json"] = [_query(monitor)]
    if monitor.get("expiry_notification") == 0:
        spec["certificate_days"] = 0
    if monitor.get("ignore_tls"):
        spec["verify_tls"] = False
        spec.pop("ca_certificate", None)
    if family := _FAMILIES.get(str(monitor.get("ip_family"))):
        spec["ip_version"] = family
    _limit_redirects(monitor, spec)
    return spec


def _limit_redirects(monitor: Monitor, spec: Spec) -> None:
    limit = monitor.get("maxredirects")
    expects_redirect = any(str(each).startswith("3") for each in spec.get("expected_status", ()))
    if limit == 0:
        spec["follow_redirects"] = False
    elif isinstance(limit, int) and limit != _DEFAULT_REDIRECTS and 0 < limit <= 20 and not expects_redirect:
        spec["max_redirects"] = limit


def _query(monitor: Monitor) -> str:
    """The condition of a monitor of the type json-query."""
    path = str(monitor.get("json_path") or "$").strip()
    path = path.removeprefix("$") if path.startswith("$") else f".{path}"
    operator = str(monitor.get("json_path_operator") or "==")
    if operator not in ("==", "!=", "<", "<=", ">", ">="):
        raise NotCarriedOverError(f"the comparison {operator} of JSON values is not supported")
    condition = checks.json_condition(path, operator, str(monitor.get("expected_value") or ""))
    if condition is None:
        raise NotCarriedOverError("its JSON query is more than a path and a comparison")
    return condition


def _proxy(proxy: Monitor) -> Spec:
    """The setting of a row of the table proxy, which is empty without one."""
    if not proxy or not proxy.get("active", 1):
        return {}
    if proxy.get("auth"):
        raise NotCarriedOverError("a proxy with a login is not supported")
    host = str(proxy["host"])
    host = f"[{host}]" if ":" in host else host
    return imported.proxy(f"{proxy['protocol']}://{host}:{proxy['port']}")


def _headers(monitor: Monitor) -> Mapping[str, Any]:
    try:
        found = json.loads(monitor.get("headers") or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NotCarriedOverError("its headers are not valid JSON")
    return found


def _authenticate(result: Imported, name: str, monitor: Monitor, spec: Spec) -> None:
    """Set the authentication; its credentials become secrets."""
    method = monitor.get("auth_method") or ("basic" if monitor.get("basic_auth_user") else "")
    match method:
        case "":
            pass
        case "basic":
            spec["username"] = str(monitor.get("basic_auth_user") or "")
            spec["password"] = result.secret(name, "password", "the password of the monitor")
        case "bearer":
            spec["bearer_token"] = result.secret(name, "token", "the token of the monitor")
        case "mtls":
            content = "the certificate and its key in PEM, of the monitor"
            spec["client_certificate"] = result.secret(name, "certificate", content)
            if monitor.get("tls_ca"):
                spec["ca_certificate"] = str(monitor["tls_ca"])
        case _:
            raise NotCarriedOverError(f"the authentication {method} is not supported")
    if method in ("basic", "bearer"):
        spec.get("headers", {}).pop("Authorization", None)


def _statuses(monitor: Monitor) -> list[int | str]:
    """The expected statuses; empty for all below 400."""
    try:
        ranges = [str(each) for each in json.loads(monitor.get("accepted_statuscodes_json") or '["200-299"]')]
        found = checks.statuses({code for each in ranges for code in _range(each) if code in checks.ALL_STATUSES})
    except (ValueError, TypeError):
        raise NotCarriedOverError("its accepted statuses are not valid") from None
    if len(found) > imported.MAX_STATUSES:
        raise NotCarriedOverError("it has too many different accepted statuses")
    return found


def _range(text: str) -> range:
    low, _, high = text.partition("-")
    return range(int(low), int(high or low) + 1)
