"""Grafana's data sources: fixed uids, addresses of the stack, and every reference to one leads to it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.grafana import OF_GROUPS, PROVISIONED, dashboard_files, datasources, values

NOT_THE_HOST = re.compile(r"^\w+://|[:/].*$")


def provisioned(checkout: Checkout) -> Iterator[Finding]:
    """Every data source has a uid of its own, cannot be edited, asks a service of the stack, and leads to others."""
    found = [*datasources(checkout, PROVISIONED), *datasources(checkout, OF_GROUPS)]
    services = {name for each in checkout.whole for name in each.services}
    uids = [each.get("uid") for _, _, each in found]
    for source, number, each in found:
        uid, host = each.get("uid"), NOT_THE_HOST.sub("", each.get("url", ""))
        problems = {
            "uid": "has no uid" if not uid else "has the uid of another one" if uids.count(uid) > 1 else "",
            "editable": "" if each.get("editable") is False else "can be edited",
            "url": "" if host in services else f"asks {host}, which is no service of the stack",
        }
        for key, problem in problems.items():
            message = problem and f"the data source {each['name']} {problem}"
            yield source.finding("datasources", number, key, problem=message)
        for name in ("datasourceUid", "alertmanagerUid"):
            for keys, other in values(each, name):
                missing = "" if other in uids else f"there is no data source {other}"
                yield source.finding("datasources", number, *keys, problem=missing)


def references(checkout: Checkout) -> Iterator[Finding]:
    """Dashboards refer to data sources by uid and type, and only to those that are there whatever groups are on."""
    known = {each.get("uid"): each["type"] for _, _, each in datasources(checkout, PROVISIONED)}
    for dashboard in dashboard_files(checkout).values():
        for keys, reference in values(dashboard.model, "datasource"):
            if not isinstance(reference, Mapping):
                problem = f"the data source {reference} is named, not referred to by its uid"
            elif known.get(reference.get("uid"), "") != reference.get("type"):
                problem = f"there is no data source {reference.get('uid')} of the type {reference.get('type')}"
            else:
                problem = ""
            yield dashboard.at(*keys, problem=problem)
