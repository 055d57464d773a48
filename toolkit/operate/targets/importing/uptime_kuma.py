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
from toolkit.operate.targets.importing import imported
from toolkit.operate.targets.importing.imported import Imported, NotCarriedOverError, Spec

Monitor = Mapping[str, Any]

_BLOCKING: Mapping[str, str] = {
    "upside_down": "a reversed result is not supported",
    "proxy_id": "proxies are not supported",
    "body": "a request body is not supported",
}
"""Columns that change what a probe means: a monitor with one of them is not carried over."""
_LOST: Mapping[str, str] = {
    "ignore_tls": "certificates are always verified",
    "cache_bust": "the URL is requested as it is",
    "description": "there is no such setting",
    "resend_interval": "Alertmanager repeats alerts (docs/alerting.md)",
    "ip_family": "the family of addresses cannot be chosen",
    "domain_expiry_notification": "the expiry of domains is not checked",
}
_TABLES: Mapping[str, str] = {
    "notification": "alerts are sent by Alertmanager (docs/alerting.md)",
    "maintenance": "maintenance windows are not carried over",
    "status_page": "the status page shows every target",
    "heartbeat": "the history is not carried over",
}


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
            result.targets.append(_target(result, name, monitor, texts))
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


def _group_names(monitor: Monitor, groups: Mapping[object, Monitor]) -> list[str]:
    names: list[str] = []
    parent = monitor.get("parent")
    while parent in groups and len(names) < len(groups):
        names.append(str(groups[parent]["name"]))
        parent = groups[parent].get("parent")
    return names


def _target(result: Imported, name: str, monitor: Monitor, texts: Sequence[str]) -> dict[str, Any]:
    for column, why in _BLOCKING.items():
        if monitor.get(column):
            raise NotCarriedOverError(why)
    target: dict[str, Any] = {"name": name, "spec": _spec(result, name, monitor)}
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
        case "http" | "keyword":
            return _http(result, name, monitor)
        case "port":
            return {"kind": "tcp", "host": str(monitor.get("hostname") or ""), "port": int(monitor.get("port") or 0)}
        case "ping":
            return {"kind": "ping", "host": str(monitor.get("hostname") or "")}
        case "dns":
            record = str(monitor.get("dns_resolve_type") or "A")
            if record not in imported.RECORDS:
                raise NotCarriedOverError(f"records of the type {record} are not supported")
            if server := monitor.get("dns_resolve_server"):
                result.lose(name, f"name server {server}", "the resolver of this host is queried")
            return {"kind": "dns", "name": str(monitor.get("hostname") or ""), "record": record}
        case "push":
            return imported.heartbeat_spec(result, name)
        case other:
            raise NotCarriedOverError(f"monitors of the type {other} are not supported")


def _http(result: Imported, name: str, monitor: Monitor) -> Spec:
    method = str(monitor.get("method") or "GET")
    spec = imported.http_spec(result, name, str(monitor.get("url") or ""), method, _headers(monitor))
    authorization = _authorization(result, name, monitor)
    if authorization:
        spec["headers"] = {"Authorization": authorization, **spec.get("headers", {})}
    statuses = _statuses(result, name, monitor)
    if statuses:
        spec["expected_status"] = statuses
    if monitor["type"] == "keyword":
        if monitor.get("invert_keyword"):
            raise NotCarriedOverError("a text that the body must not contain is not supported")
        if not monitor.get("keyword"):
            raise NotCarriedOverError("it has no keyword")
        spec["body_contains"] = str(monitor["keyword"])
    if monitor.get("expiry_notification") == 0:
        spec["certificate_days"] = 0
    if monitor.get("maxredirects") == 0 and not any(300 <= status < 400 for status in statuses):
        result.lose(name, "no redirects", "redirects are followed unless a redirect status is expected")
    return spec


def _headers(monitor: Monitor) -> Mapping[str, Any]:
    try:
        found = json.loads(monitor.get("headers") or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NotCarriedOverError("its headers are not valid JSON")
    return found


def _authorization(result: Imported, name: str, monitor: Monitor) -> str:
    """A reference to a secret with the value of the header; empty without authentication."""
    method = monitor.get("auth_method") or ("basic" if monitor.get("basic_auth_user") else "")
    match method:
        case "":
            return ""
        case "basic":
            content = "Basic, a space, and the base64 form of user:password of the monitor"
        case "bearer":
            content = "Bearer, a space, and the token of the monitor"
        case _:
            raise NotCarriedOverError(f"the authentication {method} is not supported")
    return result.secret(name, "authorization", content)


def _statuses(result: Imported, name: str, monitor: Monitor) -> list[int]:
    """The expected statuses; empty for all below 400."""
    try:
        ranges = [str(each) for each in json.loads(monitor.get("accepted_statuscodes_json") or '["200-299"]')]
        statuses = sorted({code for each in ranges for code in _range(each)})
    except (ValueError, TypeError):
        raise NotCarriedOverError("its accepted statuses are not valid") from None
    if statuses == list(range(200, 400)):
        return []
    if len(statuses) > imported.MAX_STATUSES:
        result.lose(name, f"accepted statuses {', '.join(ranges)}", "statuses below 400 are accepted")
        return []
    return statuses


def _range(text: str) -> range:
    low, _, high = text.partition("-")
    return range(int(low), int(high or low) + 1)
