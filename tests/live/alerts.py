"""Alerts of a live stack: which fire, and a receiver that knows to the millisecond when it was told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import requests

from tests.live import webhook_receiver
from tests.live.stack import CHECKOUT, Stack, until

ALWAYS = "Watchdog"
"""The one alert of a healthy system."""

RUNBOOKS = "docs/alerts"
DASHBOARDS = "monitoring/grafana/dashboards"
HOSTNAME = "catcher"


class Told(NamedTuple):
    """One alert of one notification; ``at`` is the Unix time of its arrival."""

    at: float
    path: str
    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def about(self) -> tuple[str, str]:
        """Name and service."""
        return self.labels["alertname"], self.labels["service"]


@dataclass(frozen=True)
class Catcher:
    """A container beside Alertmanager that its channels ``webhook`` and ``deadmansswitch`` lead to.

    The application itself is a receiver too, but not while it or what it needs is away.
    """

    stack: Stack

    WEBHOOK = "/webhook"
    SWITCH = "/switch"
    CHANNELS = "app,webhook,deadmansswitch"

    @classmethod
    @contextmanager
    def running(cls, stack: Stack) -> Iterator[Catcher]:
        """Start it on a stack that is up and whose ALERT_RECEIVERS are `CHANNELS`."""
        for name, path in (("webhook_url", cls.WEBHOOK), ("deadmansswitch_url", cls.SWITCH)):
            file = stack.root / "secrets" / "alertmanager" / name
            file.write_text(f"http://{HOSTNAME}:{webhook_receiver.PORT}{path}\n")
            file.chmod(0o644)
        this = cls(stack)
        program = Path(webhook_receiver.__file__).read_text(encoding="utf-8")
        # The label makes it the project's, so that whoever removes a stack that was left behind removes it as well.
        stack.docker(
            "run", "--detach", "--name", this.name, f"--label=com.docker.compose.project={stack.name}",
            f"--network={stack.name}_monitoring-network", f"--network-alias={HOSTNAME}", "--entrypoint=python",
            stack.container("worker")["Config"]["Image"], "-c", program,
        )  # fmt: skip
        try:
            yield this
        finally:
            stack.docker("rm", "--force", this.name)

    @property
    def name(self) -> str:
        """The name of its container."""
        return f"{self.stack.name}-{HOSTNAME}"

    def told(self, since: float = 0, path: str = WEBHOOK) -> list[Told]:
        """What arrived on a channel after a Unix time, in that order."""
        notifications = map(json.loads, self.stack.docker("logs", self.name).splitlines())
        return [
            Told(each["arrived"], each["path"], alert["status"], alert["labels"], alert["annotations"])
            for each in notifications
            if each["path"] == path and each["arrived"] >= since
            for alert in each["alerts"]
        ]

    def wait(self, about: tuple[str, str], status: str, since: float, within: float) -> Told:
        """The first notice about an alert (name and service) after a Unix time, waited for."""

        def found() -> Told | None:
            return next((told for told in self.told(since) if (told.about, told.status) == (about, status)), None)

        try:
            return until(found, within, f"the receiver to be told that {about} is {status}")
        except AssertionError as error:
            raise AssertionError(f"{error}; now firing: {sorted(firing(self.stack))}") from None


def firing(stack: Stack) -> set[tuple[str, str]]:
    """Name and service of the alerts that fire in Prometheus; none while it does not answer."""
    try:
        body = requests.get(stack.url("/api/v1/alerts", "PROMETHEUS_PORT"), timeout=5).json()
    except requests.RequestException:
        return set()
    labels = [alert["labels"] for alert in body["data"]["alerts"] if alert["state"] == "firing"]
    return {(each["alertname"], each["service"]) for each in labels}


def quiet(stack: Stack, within: float = 420) -> None:
    """Wait until nothing fires but `ALWAYS`: rates over five minutes remember a fault for as long.

    What fires about the host is not waited for: the machine is not the stack's alone.
    """

    def over() -> bool:
        try:
            held = requests.get(stack.url("/api/v2/alerts", "ALERTMANAGER_PORT"), timeout=5).json()
        except requests.RequestException:
            return False
        known = {(each["labels"]["alertname"], each["labels"]["service"]) for each in held}
        return (ALWAYS, "prometheus") in known and not noise(known | firing(stack))

    try:
        until(over, within, "the alerts to be over")
    except AssertionError as error:
        raise AssertionError(f"{error}; still firing: {sorted(firing(stack))}") from None


def noise(fired: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of the alerts (name and service) those that a healthy stack on a machine that is not its own has not."""
    return sorted((name, service) for name, service in fired if name != ALWAYS and service != "host")


def fired_lately(stack: Stack, seconds: float) -> set[tuple[str, str]]:
    """Name and service of what has fired at any time of the last seconds, for however short a time."""
    query = f'last_over_time(ALERTS{{alertstate="firing"}}[{seconds:.0f}s])'
    answer = requests.get(stack.url("/api/v1/query", "PROMETHEUS_PORT"), params={"query": query}, timeout=10).json()
    return {(each["metric"]["alertname"], each["metric"]["service"]) for each in answer["data"]["result"]}


def require_complete(labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
    """Fail unless whoever is told knows what it is, how bad, where to look and what to do."""
    assert labels["severity"] in {"critical", "warning"}, labels
    assert labels["service"], labels
    assert {"summary", "description", "dashboard_url", "runbook_url"} <= annotations.keys(), annotations
    assert not re.search(r"\{\{|<no value>|%!", "".join(annotations.values())), annotations
    runbook = annotations["runbook_url"]
    assert runbook.endswith(f"/{labels['alertname']}.md"), runbook
    assert (CHECKOUT / RUNBOOKS / runbook.rpartition("/")[2]).is_file(), runbook
    dashboard = annotations["dashboard_url"]
    assert list((CHECKOUT / DASHBOARDS).glob(f"*/{dashboard.rpartition('/')[2]}.json")), dashboard
