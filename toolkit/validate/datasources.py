"""Checks of Grafana's data sources: fixed uids, addresses within the stack, and valid references."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.grafana import OF_GROUPS, PROVISIONED, dashboard_files, datasources, values

NOT_THE_HOST = re.compile(r"^\w+://|[:/].*$")


def provisioning(checkout: Checkout) -> Iterator[Finding]:
    """Every data source has a unique uid, is read-only, points to a service of the stack, and links to known uids."""
    found = [*datasources(checkout, PROVISIONED), *datasources(checkout, OF_GROUPS)]
    services = {name for each in checkout.full_configurations for name in each.services}
    uids = [each.get("uid") for _, _, each in found]
    for source, number, each in found:
        uid, host = each.get("uid"), NOT_THE_HOST.sub("", each.get("url", ""))
        problems = {
            "uid": "has no uid" if not uid else "has a duplicate uid" if uids.count(uid) > 1 else "",
            "editable": "" if each.get("editable") is False else "is editable",
            "url": "" if host in services else f"points to {host}, which is not a service of the stack",
        }
        for key, problem in problems.items():
            message = problem and f"the data source {each['name']} {problem}"
            yield source.finding("datasources", number, key, problem=message)
        for name in ("datasourceUid", "alertmanagerUid"):
            for keys, other in values(each, name):
                missing = "" if other in uids else f"unknown data source {other}"
                yield source.finding("datasources", number, *keys, problem=missing)


def references(checkout: Checkout) -> Iterator[Finding]:
    """Dashboards refer to data sources by uid and type, and only to those provisioned with every set of groups."""
    known = {each.get("uid"): each["type"] for _, _, each in datasources(checkout, PROVISIONED)}
    for dashboard in dashboard_files(checkout).values():
        for keys, reference in values(dashboard.model, "datasource"):
            if not isinstance(reference, Mapping):
                problem = f"the data source {reference} is referred to by name instead of uid"
            elif known.get(reference.get("uid"), "") != reference.get("type"):
                problem = f"unknown data source {reference.get('uid')} of type {reference.get('type')}"
            else:
                problem = ""
            yield dashboard.at(*keys, problem=problem)
