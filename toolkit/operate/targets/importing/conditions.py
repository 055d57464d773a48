"""Conditions of Gatus on the results of an endpoint, as settings of a target."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from toolkit.operate.targets.importing import checks, imported, services
from toolkit.operate.targets.importing.durations import seconds
from toolkit.operate.targets.importing.imported import Imported, NotCarriedOverError, Spec

_ACCEPTED = "accepted statuses"
"""Where a target has the statuses that meet its conditions, until all of them are read."""


def carry_over(result: Imported, name: str, condition: str, target: dict[str, Any]) -> None:
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


def set_statuses(target: dict[str, Any]) -> None:
    """Set the statuses that meet all conditions."""
    accepted = target.pop(_ACCEPTED, None)
    if accepted is None:
        return
    found = checks.statuses(accepted)
    if not accepted or len(found) > imported.MAX_STATUSES:
        raise NotCarriedOverError("no status, or too many different ones, meet its conditions")
    if found:
        target["spec"]["expected_status"] = found


# Each returns why a condition is not imported as it was, an empty text if it is, None if it is not at all.
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
